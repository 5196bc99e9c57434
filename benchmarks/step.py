"""Compare training steps with the released code's structure (reference.py), and RNN steps with nn.* in a bare loop.

    python benchmarks/step.py [WORK ...] [--seconds 20] [--device cuda] [--json] [--save benchmarks/results]

Both sides of a ratio do the same optimisation: the same initial weights, batches and updates, the published setting,
element dropout.  It runs one process and one thread; sides take turns in CPU time, with one ratio per round.  The
result is the median and the quartiles over rounds.  "without, as a factor": time of our step with one part replaced by
the released one, divided by that of our step; `decoding` also computes all positions, and is divided by `positions`.
Batching ragged data is another optimisation problem, so its throughput has separate rows, without a bound.

--device cuda: the same rows on a GPU, in wall time.  The batches are on the device before the clock starts, and the
clock synchronises with the device at both ends of a turn.  The bounds are those of a CPU, so ratios have none there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

import works
from harness.errors import DataError
from harness.training.optimizers import make_optimizer
from harness_models.recurrent import RecurrentBackbone
from measure import Rounds, Row, Table, at_least, clock_of, environment, take_turns
from reference import (
    Loss,
    ReferenceNetwork,
    ReferenceStep,
    cross_entropy,
    music_masked,
    music_trace,
    negative_log_likelihood,
    squared_error,
    tcn_like,
)
from works import CPU, HarnessStep, Work, over, ways

SECONDS = 20.0
NOTTINGHAM_EVERY = 11
"""One of this number of batches of an epoch is timed."""
WARM_UPS = 10
"""Calls of each side before the first turn on a GPU, in which libraries load and choose their kernels."""


def against_reference(
    make: Callable[[], Work], loss: Loss, must: float, aim: float, *, seconds: float, device: torch.device = CPU
) -> Row:
    """Compare a TCN's step, or epoch, with the reference's, from the same weights on the same batches."""
    work = make().on(device)
    network = tcn_like(work.network(), work.dropout, last=work.last).to(device)
    reference = ReferenceStep(network, loss, work.optimisation)
    steps: dict[str, Callable[..., object]] = {"reference": reference, **ways(work)}
    rounds = _turns({name: over(step, work.batches) for name, step in steps.items()}, seconds, device)
    ratio = rounds.ratio("reference", "ours")
    bound, holds = bound_on(device, ratio.median, must, aim)
    return Row(work.name, ratio, bound, holds, _medians(rounds, "reference", "ours"), len(rounds), _parts(rounds))


def _turns(sides: Mapping[str, Callable[[], object]], seconds: float, device: torch.device) -> Rounds:
    _, clock = clock_of(device.type)
    return take_turns(sides, seconds=seconds, clock=clock, warm_ups=0 if device.type == "cpu" else WARM_UPS)


def bound_on(device: torch.device, value: float, must: float, aim: float) -> tuple[str, bool]:
    """Return the bound and whether it holds; only the CPU has a bound."""
    return at_least(value, must, aim) if device.type == "cpu" else ("none", True)


def _medians(rounds: Rounds, *sides: str) -> dict[str, float]:
    return {side: rounds.of(side).median for side in sides}


def _parts(rounds: Rounds) -> dict[str, float]:
    """Return the factor of each part, in a step that has all other parts."""
    against = {"optimiser": "ours", "dropout": "ours", "positions": "ours", "decoding": "positions"}
    return {part: rounds.ratio(part, other).median for part, other in against.items() if part in rounds.seconds}


def against_torch(make: Callable[[], Work], kind: str, *, seconds: float, device: torch.device = CPU) -> Row:
    """Compare an RNN's step with PyTorch's module of these sizes, both with the same optimiser."""
    work = make().on(device)
    network = work.network(kind)
    backbone = cast(RecurrentBackbone, network.backbone)
    bare = ReferenceNetwork(network, BareStack(backbone), last=work.last).to(device)
    optimisation = work.optimisation
    steps: dict[str, Callable[..., object]] = {
        "nn": ReferenceStep(bare, LOSSES[work.name], optimisation, make_optimizer(cast(Any, bare), optimisation)),
        "ours": HarnessStep(network, work.task, optimisation),
    }
    rounds = _turns({name: over(step, work.batches) for name, step in steps.items()}, seconds, device)
    ratio = rounds.ratio("nn", "ours")
    bound, holds = bound_on(device, ratio.median, 0.97, 1)
    sizes = " x ".join(str(cast(nn.RNNBase, layer).hidden_size) for layer in backbone.layers)
    return Row(
        f"{kind}-{work.name}", ratio, bound, holds, _medians(rounds, "nn", "ours"), len(rounds), note=f"widths {sizes}"
    )


class BareStack(nn.Module):
    """`nn.LSTM`, `nn.GRU` or `nn.RNN` with the widths of a stack, as one module if the widths are equal.

    Input and output are (batch, channels, time), as the reference's decoder reads them.
    """

    def __init__(self, like: RecurrentBackbone) -> None:
        super().__init__()
        layers = [cast(nn.RNNBase, layer) for layer in like.layers]
        widths = {layer.hidden_size for layer in layers}
        kind = cast(Any, type(layers[0]))
        if len(widths) == 1:
            stacks = [kind(layers[0].input_size, layers[0].hidden_size, num_layers=len(layers), batch_first=True)]
        else:
            stacks = [kind(layer.input_size, layer.hidden_size, batch_first=True) for layer in layers]
        self.stacks = nn.ModuleList(stacks)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        for stack in self.stacks:
            y, _ = stack(y)
        return y.transpose(1, 2)


def throughput(name: Any, every: int, *, seconds: float, device: torch.device = CPU) -> Row:
    """Compare an epoch of the reference, one piece at a time, with ours at batch 16: another optimisation problem."""
    batched = works.music(name, 16, every).on(device)
    single = works.one_by_one(batched)
    network = tcn_like(single.network(), single.dropout, last=False).to(device)
    reference = ReferenceStep(network, music_trace, single.optimisation)
    ours = HarnessStep(batched.network(), batched.task, batched.optimisation)
    sides = {"reference": over(reference, single.batches), "ours": over(ours, batched.batches)}
    rounds = _turns(sides, seconds, device)
    return Row(
        f"{name}-throughput",
        rounds.ratio("reference", "ours"),
        "none",
        True,
        _medians(rounds, "reference", "ours"),
        len(rounds),
        note=f"{len(single.batches)} updates against {len(batched.batches)}; frames padded {_padding(batched):.3f}",
    )


def _padding(work: Work) -> float:
    """Return the ratio of padded to real frames."""
    padded = sum(batch.targets.shape[0] * batch.targets.shape[1] for batch in work.batches)
    real = sum(
        batch.targets.shape[0] * batch.targets.shape[1] if batch.lengths is None else int(batch.lengths.sum())
        for batch in work.batches
    )
    return padded / real


JSB, JSB_16 = partial(works.music, "jsb", 1), partial(works.music, "jsb", 16)
NOTTINGHAM = partial(works.music, "nottingham", 1, NOTTINGHAM_EVERY)
NOTTINGHAM_16 = partial(works.music, "nottingham", 16, NOTTINGHAM_EVERY)
LOSSES: Mapping[str, Loss] = {
    "adding": squared_error,
    "mnist": negative_log_likelihood,
    "copy": cross_entropy,
    "jsb-1": music_trace,
    "jsb-16": music_masked,
    "nottingham-1": music_trace,
    "nottingham-16": music_masked,
    "word": cross_entropy,
    "char": cross_entropy,
}
TCN: Mapping[str, tuple[Callable[[], Work], float, float]] = {
    "adding": (works.adding, 8, 11),
    "mnist": (works.mnist, 8, 11),
    "copy": (works.copy_memory, 1.8, 2.3),
    "jsb-1": (JSB, 1.2, 1.4),
    "nottingham-1": (NOTTINGHAM, 1.05, 1.2),
    "jsb-16": (JSB_16, 1.2, 1.8),
    "nottingham-16": (NOTTINGHAM_16, 1.2, 1.8),
    "word": (works.word, 1.3, 1.5),
    "char": (works.char, 1.4, 1.6),
}
"""Work → its constructor, the required ratio to the reference, and the target ratio."""
RNN: Mapping[str, Callable[[], Work]] = {
    "adding": works.adding,
    "mnist": works.mnist,
    "copy": works.copy_memory,
    "jsb-16": JSB_16,
    "nottingham-16": NOTTINGHAM_16,
    "word": works.word,
    "char": works.char,
}


def benchmarks() -> dict[str, Callable[..., Row]]:
    """Return every row by its name; each takes `seconds` and `device`."""
    rows: dict[str, Callable[..., Row]] = {}
    for name, (make, must, aim) in TCN.items():
        rows[name] = partial(against_reference, make, LOSSES[name], must, aim)
    rows["jsb-throughput"] = partial(throughput, "jsb", 1)
    rows["nottingham-throughput"] = partial(throughput, "nottingham", NOTTINGHAM_EVERY)
    for kind in ("lstm", "gru", "rnn"):
        for name, make in RNN.items():
            rows[f"{kind}-{name}"] = partial(against_torch, make, kind)
    return rows


def _facts(device: torch.device) -> dict[str, str]:
    """Return machine, versions and clock."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return environment("torch", "numpy") | gpu | {"clock": clock_of(device.type)[0]}


def main() -> int:
    known = benchmarks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(known)}; all unless given")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="approximate seconds per row: CPU time, or wall time on a GPU"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where the rows are measured")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--save", type=Path, metavar="FOLDER", help="also write step.json and step.md there; on a GPU step-cuda.*"
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.works) - set(known))
    if unknown:
        parser.error(f"no work {', '.join(unknown)}; there are {', '.join(known)}")
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device; use --device cpu")
    table = Table("step" if device == CPU else f"step-{device.type}", _facts(device), arguments.save)
    holds = True
    for name in arguments.works or known:
        try:
            row = known[name](seconds=arguments.seconds, device=device)
        except DataError as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
            continue
        table.add(row)
        holds &= row.holds
    table.show(as_json=arguments.json)
    return int(not holds)


if __name__ == "__main__":
    raise SystemExit(main())
