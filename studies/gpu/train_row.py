"""Train the trials that `plan_row.py` planned in this process, without Ray, MLflow and Optuna.

    python studies/gpu/train_row.py row.json --minutes 15 --device cuda --out results

Each trial writes one JSON file to the folder, with its trial, curve and result, the machine and the versions.  The file
is rewritten after each evaluation, so an interrupted trial keeps its curve.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna_stand_in  # noqa: F401  # before what imports Optuna
import torch
from row import Row, read_row

from harness.data.files import verify_all
from harness.errors import HarnessError, StudyError
from harness.execution.environment import environment_versions, machine
from harness.execution.trial import Worker
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry
from harness.records import Point, Trial, TrialResult
from harness.training.run import TrainingRun

SLICE_SECONDS = 1.0
"""Training time between two checks of the clock."""


@dataclass
class Rate:
    """Updates per second of training only: slices with an evaluation and the first slice are not counted."""

    device: str
    updates: int = 0
    seconds: float = 0.0
    _slices: int = 0

    def time(self, run: TrainingRun, seconds: float) -> None:
        """Advance a run by about this many seconds."""
        updates, points, begun = run.update, len(run.points), self._now()
        run.advance(seconds)
        elapsed = self._now() - begun
        self._slices += 1
        if self._slices > 1 and len(run.points) == points and run.outcome is None:
            self.updates += run.update - updates
            self.seconds += elapsed

    def _now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @property
    def per_second(self) -> float | None:
        return self.updates / self.seconds if self.seconds else None


@dataclass
class Record:
    """The data written for one trial."""

    trial: Trial
    path: Path
    device: str
    points: list[Point] = field(default_factory=list)
    result: TrialResult | None = None
    updates: int = 0
    stopped: bool = False
    rate: float | None = None
    """Updates per second, without evaluations."""

    def write(self) -> None:
        whole: dict[str, Any] = {
            "trial": self.trial.model_dump(mode="json"),
            "points": [point.model_dump(mode="json") for point in self.points],
            "result": None if self.result is None else self.result.model_dump(mode="json"),
            "updates": {"done": self.updates, "of": self.trial.training.updates},
            "stopped": self.stopped,
            "updates_per_second": self.rate,
            "device": torch.cuda.get_device_name() if self.device == "cuda" else "cpu",
            "tf32": {"cudnn": torch.backends.cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32},
            "machine": machine(),
            "versions": environment_versions(),
        }
        unfinished = self.path.with_suffix(".writing")
        unfinished.write_text(json.dumps(whole, indent=1) + "\n")
        unfinished.replace(self.path)


def train_trial(registry: Registry, trial: Trial, path: Path, *, device: str, until: float) -> Record:
    """Train a trial to its end, or to the first evaluation after `until`, a time of `time.monotonic`."""
    record, rate = Record(trial, path, device), Rate(device)

    def train(run: TrainingRun) -> None:
        late = time.monotonic() >= until
        before = len(run.points)
        rate.time(run, 0.0 if late else SLICE_SECONDS)  # 0: one update, so that it stops right after an evaluation
        if late and len(run.points) > before and run.outcome is None:
            run.outcome = "complete"
            record.stopped = True

    with tempfile.TemporaryDirectory(prefix="seqharness-") as folder:
        active = Worker(Path(folder), registry).start(trial, 1)
        while record.result is None:
            progress = active.follow(train)
            record.points += progress.points
            record.result = progress.result
            record.updates = 0 if active.run is None else active.run.update
            record.rate = rate.per_second
            for point in progress.points:
                _say(_point_text(point))
            for note in progress.notes:
                _say(note)
            if progress.points or progress.result is not None:
                record.write()
    return record


def _point_text(point: Point) -> str:
    scores = ", ".join(f"{name} {value:.5g}" for name, value in point.metrics.items())
    return (
        f"update {point.update}, epoch {point.epoch:.2f}, {point.seconds:.1f} s: "
        f"train loss {point.train_loss:.5g}, validation {scores}, learning rate {point.learning_rate:g}"
    )


def _end_text(record: Record) -> str:
    result = record.result
    assert result is not None
    done = f"{record.updates} of {record.trial.training.updates} updates"
    if result.outcome != "complete":
        return f"{result.outcome} after {done}: {result.reason}"
    rate = f"{record.updates / max(result.train_seconds, 1e-9):.1f} updates/s with evaluations"
    without = "" if record.rate is None else f", {record.rate:.1f} without"
    scores = "; ".join(
        f"{split} " + ", ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        for split, metrics in result.metrics.items()
    )
    end = "stopped by --minutes" if record.stopped else "complete"
    return f"{end} after {done} in {result.train_seconds:.1f} s, {rate}{without}; {scores}"


def _say(text: str) -> None:
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        row, registry = read_row(options.row), load_plugins().registry
        planned = "cuda" if row.trials[0].resources.gpu else "cpu"
        if planned != options.device:
            raise StudyError(
                f"{options.row} is planned for --device {planned}, not {options.device}; "
                f"plan it again: plan_row.py --device {options.device}"
            )
        task = row.trials[0].task
        verify_all(registry.make_task(task.name, task.options).files())
        return _train_all(registry, row, options.out, device=options.device, until=until)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2


def _train_all(registry: Registry, row: Row, out: Path, *, device: str, until: float) -> int:
    _say("; ".join(f"{name}: {value}" for name, value in {**machine(), **environment_versions()}.items()))
    failed = False
    for number, trial in enumerate(row.trials):
        place = f"seed {number + 1} of {len(row.trials)}"
        if number and time.monotonic() >= until:
            _say(f"{place}: not started, because --minutes are over")
            continue
        _say(f"{trial.cell}, {place}: {trial.parameters:,} parameters, {trial.training.updates} updates")
        path = out / f"{trial.cell.task}-{trial.cell.model}-{trial.repetition}.json"
        record = train_trial(registry, trial, path, device=device, until=until)
        _say(_end_text(record))
        failed |= record.result is None or record.result.outcome != "complete"
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", type=Path, help="file that plan_row.py wrote")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop at the first evaluation after this time"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the JSON files are written")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
