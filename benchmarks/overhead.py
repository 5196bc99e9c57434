"""Measure the overhead of the harness around the training step: loop, start-up, planning, a study of short trials.

    python benchmarks/overhead.py [WORK ...] [--json] [--save benchmarks/results]

loop-*: time of the training loop without evaluation, divided by that of a bare loop that slices its batches and makes
the same update; CPU time, one process, one thread, in turns, one ratio per round.  help, version, plan: wall time of
new processes, and their CPU time, which does not depend on other load; help and version minus the time of `python -c
pass`, in turns.  study: wall time of forty trials of five seconds, minus their training time divided by the number of
cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

import works
from harness.api.dataset import Arrays, Batch, Dataset, Ragged, Stream
from harness.data.files import locate
from harness.ledger.journal import read_study
from harness.records import Training
from harness.training.run import TrainingData, TrainingRun
from harness_tasks.adding import Adding
from measure import ROOT, Row, Spread, Table, at_most, environment, take_turns
from works import SEEDS, HarnessStep, Work

SECONDS = 20.0
PYTHON = sys.executable
HARNESS = str(Path(PYTHON).with_name("harness"))
STUDY = """
name = "short"
models = ["tcn", "gru"]

[[tasks]]
name = "adding"
length = 100
sequences = 5000
parameters = 10000

[budget]
trials = 17
repetitions = 3

[training]
updates = 1_000_000
seconds = 5
batch_size = 32
evaluations = 1
"""
STUDY_TRIALS = 40


class Unevaluated(TrainingRun):
    """A run that stops before its first evaluation."""

    def evaluate(self) -> None:
        self.outcome = "complete"

    def train_until_evaluation(self) -> None:
        """Train for the number of updates between two evaluations."""
        self.outcome = None
        self.advance(float("inf"))


def loop(make: Callable[[], Work], updates: int, *, seconds: float) -> Row:
    """Compare the harness's loop with a bare one; each trains its own network on the same data."""
    work = make()
    data = _training_data(work)
    batch_size = work.batches[0].targets.shape[0]
    run = Unevaluated(
        work.network(),
        work.task,
        training=Training(updates=10**9, batch_size=batch_size, evaluate_every=updates),
        optimisation=work.optimisation,
        data=TrainingData(data, data),
        seeds=SEEDS,
    )
    step = HarnessStep(work.network(), work.task, work.optimisation)
    batches = cycle(_sliced(data, batch_size))

    def bare() -> None:
        for _ in range(updates):
            step(next(batches)())

    rounds = take_turns({"harness": run.train_until_evaluation, "bare": bare}, seconds=seconds)
    ratio = rounds.ratio("harness", "bare")
    bound, holds = at_most(ratio.median, 1.03, 1.01)
    medians = {side: rounds.of(side).median / updates for side in ("harness", "bare")}
    return Row(f"loop-{work.name}", ratio, bound, holds, medians, len(rounds), note="seconds per update")


def _training_data(work: Work) -> Dataset:
    return work.task.load("train", SEEDS, {file.name: locate(file) for file in work.task.files()})


def _sliced(data: Dataset, batch_size: int) -> Sequence[Callable[[], Batch]]:
    """Return functions that cut one batch each, as a script does."""
    if isinstance(data, Stream):
        return _windows(data, batch_size)
    if isinstance(data, Ragged):
        spans = [(int(start), int(start + length)) for start, length in zip(data.starts, data.lengths, strict=True)]
        return [partial(_piece, data.inputs, data.targets, first, last) for first, last in spans]
    return [partial(_rows, data, first, batch_size) for first in range(0, len(data), batch_size)]


def _rows(data: Arrays, first: int, count: int) -> Batch:
    return Batch(data.inputs[first : first + count], data.targets[first : first + count])


def _piece(inputs: Tensor, targets: Tensor, first: int, last: int) -> Batch:
    return Batch(inputs[None, first:last], targets[None, first:last])


def _windows(data: Stream, rows: int) -> Sequence[Callable[[], Batch]]:
    history = data.history or 0
    length = len(data) // rows
    tokens = data.tokens[: rows * length].long().view(rows, length)
    starts = range(0, length - history - data.scored - 1, data.scored)
    return [partial(_window, tokens, start, history, data.scored) for start in starts]


def _window(tokens: Tensor, start: int, history: int, scored: int) -> Batch:
    stop = start + history + scored
    return Batch(tokens[:, start:stop], tokens[:, start + history + 1 : stop + 1], scored=scored)


def start_up(argument: str, *, seconds: float) -> Row:
    """Measure the time of `harness ARGUMENT` beyond that of an empty Python program."""
    sides = {
        "harness": partial(_command, HARNESS, argument),
        "python": partial(_command, PYTHON, "-c", "pass"),
    }
    wall, cpu = (take_turns(sides, seconds=seconds / 2, clock=clock) for clock in (time.monotonic, _cpu_of_children))
    difference = Spread.of([a - b for a, b in zip(wall.seconds["harness"], wall.seconds["python"], strict=True)])
    bound, holds = at_most(difference.median, 0.2, 0.12)
    medians = {"wall": difference.median, "cpu": cpu.of("harness").median - cpu.of("python").median}
    return Row(argument.strip("-"), difference, bound, holds, medians, len(wall), note="seconds over python -c pass")


def planning(*, seconds: float) -> Row:
    """Measure `harness plan studies/fair.toml`, which solves every cell."""
    sides = {"plan": partial(_command, HARNESS, "plan", str(ROOT / "studies" / "fair.toml"))}
    wall, cpu = (take_turns(sides, seconds=seconds / 2, clock=clock) for clock in (time.monotonic, _cpu_of_children))
    spent = wall.of("plan")
    bound, holds = at_most(spent.median, 15, 5)
    return Row("plan", spent, bound, holds, {"wall": spent.median, "cpu": cpu.of("plan").median}, len(wall))


def study(*, seconds: float) -> Row:  # has no time limit
    """Measure forty trials on the cores of this machine, from an empty folder to the table."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "short.toml").write_text(STUDY)
        begun = time.monotonic()
        _command(HARNESS, "run", "short.toml", folder=folder)
        wall = time.monotonic() - begun
        results = [entry.result for entry in read_study(folder / "runs" / "short").entries() if entry.result]
    training = sum(result.train_seconds for result in results)
    around = wall - training / cores
    bound, holds = at_most(around, 15 + 0.2 * len(results), 10 + 0.1 * len(results))
    note = f"{len(results)} trials, {cores} cores, load {load:.1f} at the start"
    return Row(
        "study", Spread(around, around, around), bound, holds, {"wall": wall, "training": training}, 1, note=note
    )


def _command(*words: str, folder: Path | None = None) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _adding() -> Work:
    return replace(works.adding(), task=Adding(length=600, sequences=6400))


BENCHMARKS: Mapping[str, Callable[..., Row]] = {
    "loop-adding": partial(loop, _adding, 10),
    "loop-jsb-1": partial(loop, partial(works.music, "jsb", 1), 229),
    "loop-word": partial(loop, works.word, 2),
    "help": partial(start_up, "--help"),
    "version": partial(start_up, "--version"),
    "plan": planning,
    "study": study,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(BENCHMARKS)}; all unless given")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="approximate seconds per row")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="also write overhead.json and overhead.md there")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.works) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no work {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    torch.set_num_threads(1)
    table = Table("overhead", environment("torch", "ray", "mlflow"), arguments.save)
    holds = True
    for name in arguments.works or BENCHMARKS:
        row = BENCHMARKS[name](seconds=arguments.seconds)
        table.add(row)
        holds &= row.holds
    table.show(as_json=arguments.json)
    return int(not holds)


if __name__ == "__main__":
    raise SystemExit(main())
