"""Write the trials that `train_row.py` trained into a study's folder, as if `harness run` had trained them there.

    python studies/gpu/collect_row.py row.json results --runs runs
    harness sync paper-ptb-word

`harness sync`, `harness report --from runs` and `harness export` then read the study.  Weights are not kept.  A trial
that `--minutes` stopped has its evaluations there and no result, since it is not the trial that the study planned.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import optuna
from row import Row, read_row

from harness.errors import HarnessError, LedgerError
from harness.ledger.folder import MANIFEST, STUDY_FILE, read_manifest, write_atomically
from harness.ledger.ledger import Ledger
from harness.records import Point, Trial, TrialResult


@dataclass(frozen=True)
class TrainedTrial:
    """What `train_row.py` wrote for one trial."""

    path: Path
    trial: Trial
    points: tuple[Point, ...]
    result: TrialResult | None
    """None if the trial has not ended, or was stopped before its last update."""
    stopped: bool
    machine: dict[str, str]
    versions: dict[str, str]


def collect(row: Row, results: Path, runs: Path) -> tuple[Path, list[TrainedTrial]]:
    """Return the folder of the study and its trials.

    Raises LedgerError if the folder exists, if no result belongs to the row, or if a file is damaged or there twice.
    """
    folder = runs / row.manifest.study
    if read_manifest(folder) is not None:
        raise LedgerError(f"{folder}: holds a study; give another folder with --runs")
    found = [_read(path) for path in sorted(results.glob("*.json"))]
    trained = [one for one in found if one.trial in row.trials]
    if not trained:
        raise LedgerError(f"{results}: holds no trial of study {row.manifest.study_id}; give its folder")
    paths: dict[str, Path] = {}
    for one in trained:
        if paths.setdefault(one.trial.key, one.path) != one.path:
            raise LedgerError(f"{paths[one.trial.key]} and {one.path} both hold {one.trial.key}; remove one of them")
    manifest = row.manifest.model_copy(update={"machine": trained[0].machine, "versions": trained[0].versions})
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder, manifest)
    for one in trained:
        _add(ledger, one)
    write_atomically(folder / STUDY_FILE, row.study)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1))
    return folder, trained


def _read(path: Path) -> TrainedTrial:
    try:
        record = json.loads(path.read_text())
        result, stopped = record["result"], bool(record["stopped"])
        return TrainedTrial(
            path=path,
            trial=Trial.model_validate(record["trial"]),
            points=tuple(map(Point.model_validate, record["points"])),
            result=None if result is None or stopped else TrialResult.model_validate(result),
            stopped=stopped,
            machine=record["machine"],
            versions=record["versions"],
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise LedgerError(f"{path}: is no result of train_row.py ({reason}); copy it again, or remove it") from error


def _add(ledger: Ledger, trained: TrainedTrial) -> None:
    ledger.begin(trained.trial)
    for point in trained.points:
        ledger.report(trained.trial.key, point)
    if trained.result is not None:
        ledger.finish(trained.trial.key, trained.result.model_copy(update={"weights": None, "weights_sha256": None}))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", type=Path, help="file that plan_row.py wrote")
    parser.add_argument("results", type=Path, help="folder that train_row.py wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of the studies")
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        folder, trained = collect(read_row(given.row), given.results, given.runs)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{folder}: {sum(one.result is not None for one in trained)} trials have ended")
    for one in trained:
        if one.stopped:
            print(
                f"{one.path}: was stopped by --minutes, so it has no result; plan fewer updates: -s training.updates=N"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
