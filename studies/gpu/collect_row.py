"""Write the trials that `train_row.py` trained into a study's folder, as if `harness run` had trained them there.

    python studies/gpu/collect_row.py row.json results --runs runs
    harness sync paper-ptb-word

`harness sync`, `harness report --from runs` and `harness export` then read the study.  Weights are not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import optuna
from row import Row, read_row

from harness.errors import HarnessError, LedgerError
from harness.ledger.folder import MANIFEST, STUDY_FILE, read_manifest, write_atomically
from harness.ledger.ledger import Ledger
from harness.records import Point, Trial, TrialResult


def collect(row: Row, results: Path, runs: Path) -> tuple[Path, int]:
    """Return the folder of the study and the number of its trials that have ended.

    Raises LedgerError if the folder exists, or if no result belongs to the row.
    """
    folder = runs / row.manifest.study
    if read_manifest(folder) is not None:
        raise LedgerError(f"{folder}: holds a study; give another folder with --runs")
    records = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    trained = [record for record in records if Trial.model_validate(record["trial"]) in row.trials]
    if not trained:
        raise LedgerError(f"{results}: holds no trial of study {row.manifest.study_id}; give its folder")
    manifest = row.manifest.model_copy(update={name: trained[0][name] for name in ("machine", "versions")})
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder, manifest)
    for record in trained:
        _add(ledger, record)
    write_atomically(folder / STUDY_FILE, row.study)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1))
    return folder, sum(record["result"] is not None for record in trained)


def _add(ledger: Ledger, record: dict[str, Any]) -> None:
    trial = Trial.model_validate(record["trial"])
    ledger.begin(trial)
    for point in record["points"]:
        ledger.report(trial.key, Point.model_validate(point))
    if record["result"] is not None:
        result = TrialResult.model_validate(record["result"])
        ledger.finish(trial.key, result.model_copy(update={"weights": None, "weights_sha256": None}))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", type=Path, help="file that plan_row.py wrote")
    parser.add_argument("results", type=Path, help="folder that train_row.py wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of the studies")
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        folder, ended = collect(read_row(given.row), given.results, given.runs)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{folder}: {ended} trials have ended")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
