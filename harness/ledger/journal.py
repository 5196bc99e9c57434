"""The journal on disk: its entries, its complete lines, and snapshots of a study."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from harness.errors import LedgerError
from harness.ledger.folder import JOURNAL, as_ledger_error, read_manifest
from harness.records import Manifest, Point, Trial, TrialResult


@dataclass(frozen=True)
class TrialEntry:
    """One trial as the ledger knows it."""

    trial: Trial
    attempt: int
    """How often it was started, counted from 1."""
    points: tuple[Point, ...] = ()
    result: TrialResult | None = None
    """None until it has ended."""


@dataclass(frozen=True)
class Snapshot:
    """A study's folder at the time it was read."""

    folder: Path
    manifest: Manifest
    trials: tuple[TrialEntry, ...]

    def entries(self) -> tuple[TrialEntry, ...]:
        return self.trials


def read_study(folder: Path) -> Snapshot:
    """Return what a folder holds, without writing to it. A running study may be read."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise LedgerError(f"{folder}: holds no study; `harness run` writes one here")
    journal = folder / JOURNAL
    if not journal.exists():
        return Snapshot(folder, manifest, ())
    with as_ledger_error(folder), as_unreadable(folder):
        entries, _, _ = read_storage(JournalStorage(_WholeLines(str(journal))))
    return Snapshot(folder, manifest, tuple(entries.values()))


class _WholeLines(JournalFileBackend):
    """A journal that may only be read."""

    def append_logs(self, logs: list[dict[str, object]]) -> None:
        raise LedgerError("this journal was opened for reading")


def read_storage(storage: JournalStorage) -> tuple[dict[str, TrialEntry], dict[str, int], dict[str, int]]:
    """Entries by key in the order of their ids, trial ids by key, Optuna studies by name."""
    studies = {study.study_name: study._study_id for study in storage.get_all_studies()}
    trials = [trial for study in studies.values() for trial in storage.get_all_trials(study, deepcopy=False)]
    entries: dict[str, TrialEntry] = {}
    ids: dict[str, int] = {}
    for frozen in sorted(trials, key=lambda frozen: frozen._trial_id):
        entry = _entry(frozen)
        entries[entry.trial.key] = entry
        ids[entry.trial.key] = frozen._trial_id
    return entries, ids, studies


def _entry(frozen: FrozenTrial) -> TrialEntry:
    attributes = frozen.user_attrs
    points = sorted(name for name in attributes if name.startswith("point/"))
    result = attributes.get("result") if frozen.state.is_finished() else None
    return TrialEntry(
        trial=Trial.model_validate(attributes["trial"]),
        attempt=attributes.get("attempt", 0),
        points=tuple(Point.model_validate(attributes[name]) for name in points),
        result=TrialResult.model_validate(result) if result else None,
    )


@contextlib.contextmanager
def as_unreadable(folder: Path) -> Iterator[None]:
    """Turn what Optuna and the records raise for an invalid journal into a LedgerError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise LedgerError(
            f"{folder / JOURNAL}: is not a readable journal ({what}); use --fresh to start over"
        ) from error
