"""Measure updates per second of stacked trainings: 1, 4, 16 and 64 models as one, with and without CUDA graphs.

    python benchmarks/stacked.py [MODEL ...] [--members 1,4,16,64] [--length 600] [--seconds 5] [--device cuda] [--json]

The task is the adding problem at the sizes of the paper's Tables 2 and 3 (70K parameters), batch 32, Adam, no clipping.
`alone` is the usual loop for one model, which on a GPU runs cuDNN's recurrent kernels.  The gain of a row is its
updates per second, summed over its models, divided by those of `alone`.  Time is wall clock, with the device
synchronised at both ends; the first updates are not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from harness.execution.environment import environment_versions, machine
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry
from harness.records import Optimisation, ParamValue, Training
from harness.seeds import Seeds
from harness.training.network import build_network
from harness.training.run import TrainingData, TrainingRun
from harness.training.vectorized import VectorizedRuns
from measure import Clock, wall_clock

WORKS: dict[str, tuple[tuple[int, ...], dict[str, ParamValue]]] = {
    "tcn": ((24,) * 8, {"kernel_size": 8, "levels": 8}),
    "lstm": ((130,), {"layers": 1}),
    "gru": ((150,), {"layers": 1}),
    "rnn": ((262,), {"layers": 1}),
}
"""Widths and parameters, about 70,000 weights each."""
WARM_UPS = 10
"""Updates before the clock starts, in which libraries choose their kernels and graphs are recorded."""
NEVER = 1 << 40


@dataclass(frozen=True)
class Row:
    model: str
    members: int
    way: str
    """alone, stacked or graphs."""
    updates_per_second: float
    gain: float
    """Updates per second of all members, divided by those of one alone."""
    peak_gib: float | None
    """Peak memory allocated on the GPU."""


def make_run(registry: Registry, model: str, length: int, repetition: int, device: torch.device) -> TrainingRun:
    """Return a training of the adding problem that is never evaluated."""
    task = registry.make_task("adding", {"length": length})
    seeds = Seeds.of(0, repetition + 1)
    torch.manual_seed(seeds.init)
    widths, params = WORKS[model]
    data = task.load("validation", seeds, {})
    return TrainingRun(
        build_network(registry.model(model).value, task.signature(), widths, dict(params)).to(device),
        task,
        training=Training(updates=NEVER, batch_size=32, evaluate_every=NEVER),
        optimisation=Optimisation(learning_rate=2e-3),
        data=TrainingData(data, data),
        seeds=seeds,
    )


def updates_per_second(run: TrainingRun, advance: Callable[[float], None], seconds: float, clock: Clock) -> float:
    for _ in range(WARM_UPS):
        advance(0)
    before = run.update
    begun = clock()
    advance(seconds)
    return (run.update - before) / (clock() - begun)


def rows(
    registry: Registry, model: str, members: Sequence[int], *, length: int, seconds: float, device: torch.device
) -> Iterator[Row]:
    clock = wall_clock(device.type)
    first = make_run(registry, model, length, 0, device)
    _forget_peak(device)
    alone = updates_per_second(first, first.advance, seconds, clock)
    yield Row(model, 1, "alone", alone, 1.0, _peak_gib(device))
    for count in members:
        for way in ("stacked", "graphs") if device.type == "cuda" else ("stacked",):
            runs = [make_run(registry, model, length, repetition, device) for repetition in range(count)]
            _forget_peak(device)
            stack = VectorizedRuns(runs, graphs=way == "graphs")
            rate = updates_per_second(runs[0], stack.advance, seconds, clock)
            yield Row(model, count, way, rate, count * rate / alone, _peak_gib(device))


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_gib(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    registry = load_plugins().registry
    members = [int(count) for count in options.members.split(",")]
    device = torch.device(options.device)
    measured: list[Row] = []
    for model in options.models or WORKS:
        for row in rows(registry, model, members, length=options.length, seconds=options.seconds, device=device):
            print(f"{row.model} {row.members} {row.way}: {row.updates_per_second:.3g}", file=sys.stderr, flush=True)
            measured.append(row)
    facts = {**machine(), **environment_versions(), "length": str(options.length), "device": options.device}
    if options.json:
        json.dump({"environment": facts, "rows": [asdict(row) for row in measured]}, sys.stdout, indent=1)
        return
    print("; ".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n")
    print("| model | members | way | updates per second | gain | peak GiB |\n| :-- | --: | :-- | --: | --: | --: |")
    for row in measured:
        peak = "" if row.peak_gib is None else f"{row.peak_gib:.2f}"
        print(f"| {row.model} | {row.members} | {row.way} | {row.updates_per_second:.3g} | {row.gain:.2f} | {peak} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(WORKS)}; all unless given")
    parser.add_argument("--members", default="1,4,16,64", help="models per stack")
    parser.add_argument("--length", type=int, default=600, help="steps of a sequence")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds per row")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
