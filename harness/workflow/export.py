"""Export a study as Parquet files that a repository can hold, and from which its report is made again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.errors import LedgerError
from harness.ledger.exported import CURVES, RESULT_RECORD, SCORES, SUMS, TRIAL_RECORD, TRIALS, sums_of
from harness.ledger.folder import MANIFEST, STUDY_FILE, read_manifest, write_atomically
from harness.ledger.journal import Snapshot
from harness.workflow.results import results_of


def export(snapshot: Snapshot, to: Path) -> Path:
    """Write a study to `to/<name of the study>` and return that folder.  An earlier export of it is replaced.

    trials.parquet, scores.parquet and curves.parquet hold the frames of `harness.Results`.  The trials have two more
    columns with the ledger's records as JSON, so that nothing of a report is lost.  manifest.json and study.toml are
    those of the study: machine, versions, commit, data digests, settings.  SHA256SUMS has the digests of these files.

    Raises LedgerError if the folder holds another study or cannot be written.
    """
    folder = to / snapshot.manifest.study
    earlier = read_manifest(folder)
    if earlier is not None and earlier.study_id != snapshot.manifest.study_id:
        raise LedgerError(
            f"{folder}: holds study {earlier.study_id} of the same name; remove it, or export to another folder"
        )
    results = results_of(snapshot)
    tables = {TRIALS: _with_records(results.trials, snapshot), SCORES: results.scores, CURVES: results.curves}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMS).unlink(missing_ok=True)
        for name, table in tables.items():
            table.to_parquet(folder / name, index=False, compression="zstd")
        study_file = snapshot.folder / STUDY_FILE
        if study_file.exists():
            write_atomically(folder / STUDY_FILE, study_file.read_text())
    except OSError as error:
        raise LedgerError(f"{folder}: cannot be written ({error.strerror})") from error
    write_atomically(folder / MANIFEST, snapshot.manifest.model_dump_json(indent=1) + "\n")
    write_atomically(folder / SUMS, sums_of(folder))
    return folder


def _with_records(trials: pd.DataFrame, snapshot: Snapshot) -> pd.DataFrame:
    """Return the trials in the order of the ledger, with their records."""
    entries = snapshot.entries()
    ordered = trials.set_index("key", drop=False).loc[[entry.trial.key for entry in entries]].reset_index(drop=True)
    records = {
        TRIAL_RECORD: [entry.trial.model_dump_json() for entry in entries],
        RESULT_RECORD: [entry.result.model_dump_json() if entry.result is not None else None for entry in entries],
    }
    return ordered.assign(**{name: pd.Series(values, dtype="string") for name, values in records.items()})
