"""The ledger of a study: every trial with its curve and result, from which a run resumes.

It has one Optuna study for each cell and phase, in one append-only journal.  The record of a trial is written when
the trial starts; each point of its curve and its result are written once.  Trials are proposed elsewhere, so Optuna's
storage is used directly, without its samplers.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from harness.errors import LedgerError
from harness.ledger.checksums import Chain, SignedBackend, verified
from harness.ledger.folder import JOURNAL, as_ledger_error
from harness.ledger.journal import (
    TrialEntry,
    as_unreadable,
    check_study,
    described,
    read_storage,
    without_garbage_collection,
)
from harness.records import Manifest, Outcome, Point, Trial, TrialResult

LOCK_GRACE_SECONDS = 5
"""Age at which the lock of a killed process is removed."""

_STATE_OF: dict[Outcome, TrialState] = {
    "complete": TrialState.COMPLETE,
    "diverged": TrialState.PRUNED,
    "out-of-memory": TrialState.FAIL,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}


class Ledger:
    """The ledger of one study's folder; thread-safe.  Any failure to write raises LedgerError."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Open or create the ledger; the holder of the lease must call `repair` first.

        Raises LedgerError if the journal cannot be read or written, was damaged, or holds another study.
        """
        self.folder = folder
        self._lock = threading.RLock()
        self._failure: str | None = None
        path = folder / JOURNAL
        with as_ledger_error(folder), as_unreadable(folder), without_garbage_collection():
            chain = verified(path) if path.exists() else Chain()
            self.unprotected = chain.unprotected
            """Records at the end that an older version wrote without checksums; the next record protects them."""
            lock = JournalFileOpenLock(str(path), grace_period=LOCK_GRACE_SECONDS)
            self._storage = JournalStorage(SignedBackend(str(path), lock, chain))
            entries, self._ids, self._studies = read_storage(self._storage)
        check_study(folder, manifest, entries.values())
        self.manifest, known = described(manifest, tuple(entries.values()))
        self._entries = {entry.trial.key: entry for entry in known}

    def entries(self) -> tuple[TrialEntry, ...]:
        """Return all trials in the order in which they first started."""
        with self._lock:
            return tuple(self._entries.values())

    def entry(self, key: str) -> TrialEntry:
        """Return the trial with this key."""
        with self._lock:
            return self._entries[key]

    def begin(self, trial: Trial) -> int:
        """Record the start of a trial, the first one or a retry; return the number of the attempt, from 1."""
        with self._writing():
            earlier = self._entries.get(trial.key)
            attempt = earlier.attempt + 1 if earlier else 1
            if earlier is None:
                self._ids[trial.key] = self._storage.create_new_trial(self._study_of(trial), _template(trial))
            self._storage.set_trial_user_attr(self._ids[trial.key], "attempt", attempt)
            self._entries[trial.key] = replace(earlier, attempt=attempt) if earlier else TrialEntry(trial, attempt)
            return attempt

    def report(self, key: str, point: Point) -> bool:
        """Record a point of the curve; return False if the ledger has it already.

        A worker that resumed from a checkpoint reports some points again.
        """
        with self._writing():
            entry = self._entries[key]
            if entry.points and point.update <= entry.points[-1].update:
                return False
            name = f"point/{len(entry.points):06d}"
            self._storage.set_trial_user_attr(self._ids[key], name, point.model_dump(mode="json"))
            self._entries[key] = replace(entry, points=(*entry.points, point))
            return True

    def pause(self, key: str, result: TrialResult) -> None:
        """Record that a trial has trained to its next rung, where it waits.  result: what it has measured so far."""
        with self._writing():
            entry = self._entries[key]
            name = f"rung/{len(entry.rungs):06d}"
            self._storage.set_trial_user_attr(self._ids[key], name, result.model_dump(mode="json"))
            self._entries[key] = replace(entry, rungs=(*entry.rungs, result))

    def finish(self, key: str, result: TrialResult) -> None:
        """Record the result of a trial.

        Raises LedgerError if the trial already has a result: results are written once.
        """
        with self._lock:
            entry = self._entries[key]
            if entry.result is not None:
                raise LedgerError(f"{key}: has already ended as {entry.result.outcome}")
        with self._writing():
            self._storage.set_trial_user_attr(self._ids[key], "result", result.model_dump(mode="json"))
            values = None if result.outcome != "complete" or result.score is None else [result.score]
            self._storage.set_trial_state_values(self._ids[key], _STATE_OF[result.outcome], values)
            self._entries[key] = replace(entry, result=result)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Allow one write at a time, and none after a failed one.

        A failed write may leave half a line; a record after it would make the journal unreadable.
        """
        with self._lock:
            if self._failure is not None:
                raise LedgerError(self._failure)
            try:
                with as_ledger_error(self.folder):
                    yield
            except LedgerError as error:
                self._failure = str(error)
                raise

    def _study_of(self, trial: Trial) -> int:
        name = f"{trial.cell}/{trial.phase}"
        if name not in self._studies:
            facts = next(facts for facts in self.manifest.cells if facts.cell == trial.cell)
            lower = facts.metric.better == "lower"
            direction = StudyDirection.MINIMIZE if lower else StudyDirection.MAXIMIZE
            self._studies[name] = self._storage.create_new_study([direction], name)
        return self._studies[name]


def repair(folder: Path) -> str | None:
    """Cut the journal after its last whole line; return a message about what was dropped, or None.

    A killed process or a full disk can leave half a line.  Any later write would then make the journal unreadable.
    """
    path = folder / JOURNAL
    if not path.exists():
        return None
    with as_ledger_error(folder), path.open("r+b") as file:
        content = file.read()
        keep = _length_of_whole_lines(content)
        if keep == len(content):
            return None
        file.truncate(keep)
        return f"{path}: dropped an incomplete last record of {len(content) - keep} bytes; retrying its trial"


def _length_of_whole_lines(content: bytes) -> int:
    keep = content.rfind(b"\n") + 1
    while keep:
        last = content.rfind(b"\n", 0, keep - 1) + 1
        if _is_record(content[last:keep]):
            break
        keep = last
    return keep


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and "op_code" in record


def _template(trial: Trial) -> FrozenTrial:
    # Optuna requires a distribution for each parameter that it stores, so parameters are stored only in the record.
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.RUNNING,
        value=None,
        values=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={"trial": trial.model_dump(mode="json")},
        system_attrs={},
        intermediate_values={},
    )
