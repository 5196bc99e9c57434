"""Read a study that was exported: trials and curves as Parquet files beside its manifest, instead of a journal."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import LedgerError
from harness.ledger.folder import JOURNAL, MANIFEST, STUDY_FILE, read_manifest
from harness.ledger.journal import Snapshot, TrialEntry, read_study
from harness.records import Manifest, Point, Trial, TrialResult

if TYPE_CHECKING:
    import pandas as pd

TRIALS = "trials.parquet"
SCORES = "scores.parquet"
CURVES = "curves.parquet"
SUMS = "SHA256SUMS"
"""Digests of the other files, as `sha256sum -c SHA256SUMS` checks them; exports of earlier versions have none."""
FILES = (CURVES, MANIFEST, SCORES, STUDY_FILE, TRIALS)
TRIAL_RECORD = "trial_record"
RESULT_RECORD = "result_record"
"""Columns of `TRIALS` beside those of the public frame: the records of the ledger as JSON."""
METRIC_PREFIX = "validation/"


def read_folder(folder: Path) -> Snapshot:
    """Return the study in a folder, from its journal or as it was exported.

    An exported study lacks the time of day of each evaluation, and the trained weights.  Raises LedgerError if the
    folder holds no study or cannot be read, or if a file differs from its digest.
    """
    if (folder / JOURNAL).exists() or not any((folder / name).exists() for name in (TRIALS, SCORES, CURVES, SUMS)):
        return read_study(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise LedgerError(f"{folder}: an export without {MANIFEST}; export the study again with `harness export`")
    try:
        _check_sums(folder)
        entries = tuple(_entries(_table(folder / TRIALS), _table(folder / CURVES)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise LedgerError(
            f"{folder}: is not a readable export ({reason}); export the study again with `harness export`"
        ) from error
    fault = next(_faults(manifest, entries), None)
    if fault is not None:
        raise LedgerError(f"{folder / TRIALS}: {fault}; export the study again with `harness export`")
    return Snapshot(folder, manifest, entries)


def sums_of(folder: Path) -> str:
    """Return the digests of the files of an export, one line each, in the format of sha256sum."""
    return "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items())


def _digests(folder: Path) -> dict[str, str]:
    """Return file → digest.  Line ends of text files do not count, since git may convert them."""
    contents = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    for name in contents.keys() & {MANIFEST, STUDY_FILE}:
        contents[name] = contents[name].replace(b"\r\n", b"\n")
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _check_sums(folder: Path) -> None:
    """Raise LedgerError if a file of an export is missing or differs from its digest."""
    if not (folder / SUMS).exists():
        return
    lines = (line.partition("  ") for line in (folder / SUMS).read_text().splitlines())
    stated, held = {name: digest for digest, _, name in lines}, _digests(folder)
    for name in FILES:
        if stated.get(name) != held.get(name):
            what = f"differs from its digest in {SUMS}" if name in held else f"is missing, but {SUMS} has it"
            raise LedgerError(
                f"{folder / name}: {what}; restore the file, or export the study again with `harness export`"
            )


def _faults(manifest: Manifest, entries: Sequence[TrialEntry]) -> Iterator[str]:
    """Yield what in the trials contradicts the manifest."""
    metrics = {facts.cell: facts.metric.name for facts in manifest.cells}
    for key, count in Counter(entry.trial.key for entry in entries).items():
        if count > 1:
            yield f"holds trial {key} {count} times"
    for entry in entries:
        trial = entry.trial
        if trial.study != manifest.study_id:
            yield f"holds trials of study {trial.study}, but manifest.json beside it is that of {manifest.study_id}"
        elif trial.cell not in metrics:
            yield f"holds trial {trial.key}, but manifest.json beside it has no such cell"
        elif any(metrics[trial.cell] not in point.metrics for point in entry.points):
            yield f"{CURVES} beside it lacks {metrics[trial.cell]} of trial {trial.key}"


def study_folders(path: Path) -> list[Path]:
    """Return the folders of studies at a path: itself, the folder of one of its files, or the folders inside it.

    Raises LedgerError if there is none.
    """
    if path.is_file():
        path = path.parent
    inside = sorted(path.iterdir()) if path.is_dir() else []
    studies = [folder for folder in (path, *inside) if folder.is_dir() and read_manifest(folder) is not None]
    if not studies:
        raise LedgerError(f"{path}: holds no study; give the folder of a study, or a folder of such folders")
    return studies[:1] if studies[0] == path else studies


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd  # takes half a second to import

    return pd.read_parquet(path)


def _entries(trials: pd.DataFrame, curves: pd.DataFrame) -> Iterator[TrialEntry]:
    points = {str(key): tuple(_points(curve)) for key, curve in curves.groupby("key", sort=False)}
    for line in trials[[TRIAL_RECORD, RESULT_RECORD, "attempt", "key"]].to_dict("records"):
        yield TrialEntry(
            trial=Trial.model_validate_json(line[TRIAL_RECORD]),
            attempt=int(line["attempt"]),
            points=points.get(line["key"], ()),
            result=TrialResult.model_validate_json(line[RESULT_RECORD]) if line[RESULT_RECORD] else None,
        )


def _points(curve: pd.DataFrame) -> Iterator[Point]:
    """Yield the evaluations of one trial.  curve: its rows in long format, by update."""
    for update, rows in curve.groupby("update", sort=True):
        values = dict(zip(rows["quantity"], rows["value"].astype("float64"), strict=True))
        metrics = {name.removeprefix(METRIC_PREFIX): value for name, value in values.items() if "/" in name}
        others: dict[str, Any] = {name: value for name, value in values.items() if "/" not in name}
        yield Point(
            update=int(str(update)),
            epoch=float(rows["epoch"].iloc[0]),
            seconds=float(rows["seconds"].iloc[0]),
            time=math.nan,
            metrics=metrics,
            **others,
        )
