"""Train one cell of the paper protocol in this process, without Ray and without MLflow.

    python studies/gpu/train_row.py --task ptb-word --model tcn --seeds 3 --minutes 30 --device cuda --out results

The trials are those of `harness run studies/paper/TASK.toml`: the same settings, seeds, updates and evaluations.  Each
writes one JSON file to the folder, with its trial, curve and result, the machine and the versions.  The file is
rewritten after each evaluation, so an interrupted trial keeps its curve.
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

import torch

from harness.data.files import verify_all
from harness.errors import HarnessError
from harness.execution.environment import environment_versions, machine
from harness.execution.trial import Worker
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry
from harness.records import Point, Resources, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.cell_plan import CellPlan
from harness.study.file import read_study_file
from harness.study.plan import make_plan
from harness.training.run import TrainingRun

STUDIES = Path(__file__).parent.parent / "paper"
SLICE_SECONDS = 1.0
"""Training time between two checks of the clock."""
NEVER = 1e8
"""Seconds between checkpoints, so long that none is written: this script does not resume trials."""


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
        self.path.write_text(json.dumps(whole, indent=1) + "\n")


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


def plan_of(registry: Registry, task: str, model: str, overrides: list[str], *, seeds: int, device: str) -> CellState:
    """Return the paper study's cell of one model; this script changes only its device."""
    given = [*overrides, f"budget.repetitions={seeds}"]
    study = read_study_file(STUDIES / f"{task}.toml", given, models=[model])
    study = study.model_copy(
        update={"resources": Resources(gpu=1 if device == "cuda" else 0, checkpoint_seconds=NEVER)}
    )
    plan: CellPlan = make_plan(study, registry).cells[0]
    proposer = Proposer(plan, seed=study.search.seed, sampler=study.search.sampler)
    return CellState(proposer, study_id=study.name)


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
    try:
        registry = load_plugins().registry
        state = plan_of(
            registry, options.task, options.model, options.overrides, seeds=options.seeds, device=options.device
        )
        verify_all(state.plan.task.files())
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    return _train_all(registry, state, options.seeds, options.out, device=options.device, until=until)


def _train_all(registry: Registry, state: CellState, seeds: int, out: Path, *, device: str, until: float) -> int:
    _say("; ".join(f"{name}: {value}" for name, value in {**machine(), **environment_versions()}.items()))
    failed = False
    for repetition in range(seeds):
        if repetition and time.monotonic() >= until:
            _say(f"seed {repetition + 1} of {seeds}: not started, because --minutes are over")
            continue
        trial = state.final_trial(repetition)
        state.remember(trial)
        size = f"{trial.parameters:,} parameters, {trial.training.updates} updates"
        _say(f"{trial.cell}, seed {repetition + 1} of {seeds}: {size}")
        path = out / f"{trial.cell.task}-{trial.cell.model}-{repetition}.json"
        try:
            record = train_trial(registry, trial, path, device=device, until=until)
        except HarnessError as error:
            print(error, file=sys.stderr)
            return 2
        _say(_end_text(record))
        failed |= record.result is None or record.result.outcome != "complete"
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="ptb-word", help="a file of studies/paper, without .toml")
    parser.add_argument("--model", required=True, help="a model with a published setting: tcn or lstm")
    parser.add_argument("--seeds", type=_at_least_one, default=1, help="trials, trained one after another")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop at the first evaluation after this time"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the JSON files are written")
    parser.add_argument(
        "-s", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="as in harness run"
    )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
