"""Reading the journal of a study: its trials, and a snapshot of the whole study."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from harness.errors import LedgerError
from harness.ledger.checksums import verified
from harness.ledger.folder import JOURNAL, MANIFEST, as_ledger_error, read_manifest
from harness.records import LeftOut, Manifest, Point, Trial, TrialResult


@dataclass(frozen=True)
class TrialEntry:
    """One trial in the ledger."""

    trial: Trial
    attempt: int
    """Number of the latest attempt, from 1."""
    points: tuple[Point, ...] = ()
    result: TrialResult | None = None
    """None until the trial has ended."""
    rungs: tuple[TrialResult, ...] = ()
    """Successive halving: what the trial had measured at the end of each rung that it has reached."""


@dataclass(frozen=True)
class Snapshot:
    """The content of a study's folder at the time of reading."""

    folder: Path
    manifest: Manifest
    trials: tuple[TrialEntry, ...]

    def entries(self) -> tuple[TrialEntry, ...]:
        return self.trials


def read_study(folder: Path) -> Snapshot:
    """Return the content of a study's folder, without writing to it; the study may be running.

    Raises LedgerError if the folder holds no study, cannot be read, or was damaged.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise LedgerError(f"{folder}: holds no study; create one with `harness run`")
    check_journal_present(folder)
    journal = folder / JOURNAL
    with as_ledger_error(folder), as_unreadable(folder), without_garbage_collection():
        verified(journal)
        entries, _, _ = read_storage(JournalStorage(_ReadOnlyBackend(str(journal))))
    check_study(folder, manifest, entries.values())
    return Snapshot(folder, *described(manifest, tuple(entries.values())))


def check_journal_present(folder: Path) -> None:
    """Raise LedgerError if the journal of a study is missing: it is created before the manifest."""
    if not (folder / JOURNAL).exists():
        raise LedgerError(
            f"{folder / JOURNAL}: is missing, but {MANIFEST} beside it describes a study; restore the file from a "
            "copy, or use --fresh"
        )


def check_study(folder: Path, manifest: Manifest, entries: Iterable[TrialEntry]) -> None:
    """Raise LedgerError if the journal holds a trial of another study than the manifest."""
    for entry in entries:
        if entry.trial.study != manifest.study_id:
            raise LedgerError(
                f"{folder / JOURNAL}: holds trials of study {entry.trial.study}, but {MANIFEST} beside it is that of "
                f"{manifest.study_id}; restore the file that belongs to the other, or use --fresh"
            )


def described(manifest: Manifest, entries: Sequence[TrialEntry]) -> tuple[Manifest, tuple[TrialEntry, ...]]:
    """Return the manifest with each cell either described or left out, and the trials of the cells that it describes.

    A cell that is both is described if it has trials.  A cell that is neither, but has trials, is left out, and the
    reason says how to restore it: earlier versions of `harness run --skip-missing` removed such cells.
    """
    trained = Counter(entry.trial.cell for entry in entries)
    left_out = {left.cell: left for left in manifest.left_out}
    cells = tuple(facts for facts in manifest.cells if facts.cell in trained or facts.cell not in left_out)
    known = {facts.cell for facts in cells}
    lost = {cell: LeftOut(cell=cell, reason=_lost(count)) for cell, count in trained.items() if cell not in known}
    left_out = {cell: left for cell, left in (left_out | lost).items() if cell not in known}
    return (
        manifest.model_copy(update={"cells": cells, "left_out": tuple(left_out.values())}),
        tuple(entry for entry in entries if entry.trial.cell in known),
    )


def _lost(trials: int) -> str:
    return (
        f"trials that are not shown: {trials}, because {MANIFEST} lacks the cell; to restore it, run the study with "
        "the data files of the cell and without --skip-missing"
    )


class _ReadOnlyBackend(JournalFileBackend):
    """A journal that may only be read."""

    def append_logs(self, logs: list[dict[str, object]]) -> None:
        raise LedgerError("this journal was opened for reading")


def read_storage(storage: JournalStorage) -> tuple[dict[str, TrialEntry], dict[str, int], dict[str, int]]:
    """Return the entries by trial key in the order of their ids, trial ids by key, and Optuna study ids by name."""
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
    point_names = sorted(name for name in attributes if name.startswith("point/"))
    rung_names = sorted(name for name in attributes if name.startswith("rung/"))
    result = attributes.get("result") if frozen.state.is_finished() else None
    return TrialEntry(
        trial=Trial.model_validate(attributes["trial"]),
        attempt=attributes.get("attempt", 0),
        points=tuple(Point.model_validate(attributes[name]) for name in point_names),
        result=TrialResult.model_validate(result) if result else None,
        rungs=tuple(TrialResult.model_validate(attributes[name]) for name in rung_names),
    )


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pause garbage collection while many records are read.

    All of them are kept, so that a collection frees nothing; the more there are, the longer it takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def as_unreadable(folder: Path) -> Iterator[None]:
    """Convert to LedgerError what Optuna and the records raise if the journal has other content."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise LedgerError(
            f"{folder / JOURNAL}: is not a readable journal ({reason}); use --fresh to start over"
        ) from error
