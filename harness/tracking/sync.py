"""Send the ledger to MLflow, in a thread of the driver for which training never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from harness.analysis.cell_result import CellResult, State, summarize_cells
from harness.analysis.stored_study import SyncMark
from harness.errors import HarnessError
from harness.ledger.journal import TrialEntry
from harness.records import Cell, Manifest, Outcome
from harness.tracking import cell_run, run_data, trial_run
from harness.tracking.sqlite_file import was_replaced
from harness.tracking.store import Status, Store
from harness.tracking.store_errors import as_tracking_error

Tell = Callable[[str], None]
"""Prints one line."""


class LedgerLike(Protocol):
    """A `Ledger`, or the snapshot that `read_study` returns."""

    @property
    def folder(self) -> Path: ...
    @property
    def manifest(self) -> Manifest: ...
    def entries(self) -> tuple[TrialEntry, ...]: ...


class Tracker:
    """Brings a study's runs in MLflow up to date with its ledger."""

    def __init__(self, ledger: LedgerLike, uri: str) -> None:
        """Connect to nothing yet.  uri: of the MLflow store."""
        self.ledger = ledger
        self.uri = uri
        self._synced: _SyncedState | None = None

    def sync(self) -> None:
        """Send everything that the store lacks.

        Sending again, even from another process or after a kill, stores nothing twice.  Raises TrackingError if the
        store fails; the next call first asks the store again what it holds.
        """
        with as_tracking_error(self.uri):
            # Forgotten until everything is sent: only the store knows how much of a failed call has arrived.
            synced, self._synced = self._synced, None
            if synced is not None and was_replaced(self.uri):
                raise FileNotFoundError("the database file is another one")
            self._synced = self._replay(synced or _SyncedState(Store(self.uri, self.ledger.manifest)))

    def log_report(self, texts: Mapping[str, str | bytes], description: str = "") -> None:
        """Store a report with the study's run, in the folder `report`.

        texts: file name → content.  description: Markdown that MLflow shows with the study's run and the experiment.
        """
        self.sync()
        assert self._synced is not None  # set by `sync`
        with as_tracking_error(self.uri):
            for name, text in texts.items():
                self._synced.store.log_file(self.ledger.manifest.study_id, "report", name, text)
            if description:
                self._synced.store.describe(self.ledger.manifest.study_id, description)

    def _replay(self, synced: _SyncedState) -> _SyncedState:
        """Send everything that changed since the store was in this state.  Return the new state."""
        manifest, entries = self.ledger.manifest, self.ledger.entries()
        if synced.manifest == manifest and synced.entries == entries:
            return synced
        store, mark = synced.store, SyncMark.of(entries)
        cell_results = _cell_results(manifest, entries, synced.cell_results)
        if synced.manifest != manifest:
            self._open(store, manifest)
        superseded = {entry.trial.key for result in cell_results for entry in result.superseded}
        for entry in entries:
            self._send_trial(store, entry, superseded=entry.trial.key in superseded)
        for result in cell_results:
            if result not in synced.cell_results:
                self._send_cell(store, result)
        running = any(entry.result is None and entry.trial.key not in superseded for entry in entries)
        finished = not running and all(result.state != "incomplete" for result in cell_results)
        data = run_data.mark_content(mark)
        store.upsert(
            manifest.study_id,
            {run_data.MARKED: data.digest},
            lambda _: data,
            status="FINISHED" if finished else "RUNNING",
            end=_last_end(entries, manifest.created),
        )
        return _SyncedState(store, manifest, entries, cell_results)

    def _open(self, store: Store, manifest: Manifest) -> None:
        """Create the runs of the study and of its cells, so that a study can be read as soon as it has started."""
        store.open(manifest.study_id, "study", f"{manifest.study} (study)", start=manifest.created)
        data = run_data.study_run_data(manifest, self.ledger.folder)
        store.upsert(manifest.study_id, {run_data.CONTENT: data.digest}, lambda _: data)
        for facts in manifest.cells:
            store.open(_cell_key(manifest, facts.cell), "cell", str(facts.cell), start=manifest.created)

    def _send_trial(self, store: Store, entry: TrialEntry, *, superseded: bool) -> None:
        trial, result, manifest = entry.trial, entry.result, self.ledger.manifest
        parent = _cell_key(manifest, trial.cell)
        name = f"{trial.cell}/{trial.phase}/{trial.number}"
        store.open(trial.key, "trial", name, start=_start(entry), parent=parent)
        ended: dict[Outcome, Status] = {"complete": "FINISHED", "pruned": "KILLED"}
        status = "RUNNING" if result is None else ended.get(result.outcome, "FAILED")
        store.upsert(
            trial.key,
            trial_run.trial_position(entry, superseded=superseded),
            lambda position: trial_run.trial_run_data(
                entry,
                self.ledger.folder,
                created=manifest.created,
                points_sent=int(position.get(run_data.POINTS, 0)),
                params_sent=run_data.POINTS in position,
            ),
            status=status,
            end=_last_end([entry], manifest.created),
        )

    def _send_cell(self, store: Store, result: CellResult) -> None:
        manifest = self.ledger.manifest
        data = cell_run.cell_run_data(result, self.ledger.folder, manifest.created)
        ended: dict[State, Status] = {"complete": "FINISHED", "partial": "FAILED", "failed": "FAILED"}
        store.upsert(
            _cell_key(manifest, result.facts.cell),
            {run_data.CONTENT: data.digest},
            lambda position: replace(data, params={}) if run_data.CONTENT in position else data,
            status=ended.get(result.state, "RUNNING"),
            end=_last_end(result.entries, manifest.created),
        )


@dataclass(frozen=True)
class _SyncedState:
    """A store, and the state of the ledger with which it is up to date."""

    store: Store
    manifest: Manifest | None = None
    entries: tuple[TrialEntry, ...] = ()
    cell_results: tuple[CellResult, ...] = ()


def _cell_results(
    manifest: Manifest, entries: Sequence[TrialEntry], known: Iterable[CellResult]
) -> tuple[CellResult, ...]:
    """Return the result of each cell; for an unchanged cell the same object as in `known`."""
    before = {result.facts.cell: result for result in known}
    now = summarize_cells(manifest.cells, entries)
    return tuple(old if (old := before.get(result.facts.cell)) == result else result for result in now)


def _cell_key(manifest: Manifest, cell: Cell) -> str:
    return f"{manifest.study_id}/{cell}"


def _start(entry: TrialEntry) -> float:
    """Return when a trial started, in seconds since 1970, as far as the ledger knows."""
    if entry.result is not None and entry.result.started:
        return entry.result.started
    if entry.points:
        return entry.points[0].time - entry.points[0].seconds
    return entry.result.ended if entry.result is not None else time.time()


def _last_end(entries: Iterable[TrialEntry], otherwise: float) -> float:
    """Return when the last trial ended, in seconds since 1970; `otherwise` if none has."""
    return max((entry.result.ended for entry in entries if entry.result is not None), default=0) or otherwise


def silently(text: str) -> None:
    """Print nothing."""


class Replay(threading.Thread):
    """A thread that syncs a tracker during training, which neither waits for the store nor sees it fail."""

    def __init__(self, tracker: Tracker, interval_seconds: float = 1.0, tell: Tell = silently) -> None:
        """tell: is called in this thread when the store fails, once per error, and when it has everything again."""
        super().__init__(name="harness-replay", daemon=True)
        self._tracker = tracker
        self._interval = interval_seconds
        self._tell = tell
        self._told: set[str] = set()
        self._recovery_due = False
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._drained = False
        self._error: str | None = None

    def run(self) -> None:
        while not self._closing.is_set():
            self._sync()
            self._closing.wait(self._interval / 4)  # several events in a short time are sent together
            self._changed.wait(self._interval)
            self._changed.clear()
        self._drain()

    def _drain(self) -> None:
        """Send what is left.  If the store fails, try again until the deadline."""
        self._sync()
        while self._error is not None and time.monotonic() + self._interval < self._deadline:
            time.sleep(self._interval)
            self._sync()
        self._drained = True

    def wake(self) -> None:
        """Signal that there is something to send.  Any thread may call this method."""
        self._changed.set()

    def close(self, timeout: float) -> str | None:
        """Send what is left, for at most `timeout` seconds, even if the store fails for a while.

        Return why not everything was sent, None if it was.
        """
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        self._changed.set()
        self.join(timeout)
        if self.is_alive():
            reason = f"; {self._error}" if self._error else ""
            return (
                f"MLflow did not receive everything within {timeout:g} s{reason}; run `harness sync` to send the rest"
            )
        if not self._drained:
            return "the thread that sends to MLflow failed; run `harness sync` to send the rest"
        return self._error

    def _sync(self) -> None:
        try:
            self._tracker.sync()
        except HarnessError as error:
            self._error = str(error)
            if self._error not in self._told and not self._closing.is_set():  # at the end, `close` returns it
                self._told.add(self._error)
                self._recovery_due = True
                self._tell(f"{self._error}; training continues")
        else:
            self._error = None
            if self._recovery_due:
                self._recovery_due = False
                self._tell("MLflow has all results again")


def start_replay(tracker: Tracker, interval_seconds: float = 1.0, tell: Tell = silently) -> Replay:
    """Start a thread that syncs a tracker.  interval_seconds: maximum time between two syncs.  tell: see `Replay`."""
    replay = Replay(tracker, interval_seconds, tell)
    replay.start()
    return replay
