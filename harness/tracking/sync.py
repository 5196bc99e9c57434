"""The replay of the ledger into MLflow, by one thread of the driver for which training never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from harness.analysis.cell_result import CellResult, State, summarize_cells
from harness.analysis.stored_study import SyncMark
from harness.errors import HarnessError
from harness.ledger.journal import TrialEntry
from harness.records import Cell, Manifest
from harness.tracking import cell_run, run_data, trial_run
from harness.tracking.client import as_tracking_error
from harness.tracking.store import Status, Store


class LedgerLike(Protocol):
    """A `Ledger`, or the snapshot that `read_study` gives."""

    @property
    def folder(self) -> Path: ...
    @property
    def manifest(self) -> Manifest: ...
    def entries(self) -> tuple[TrialEntry, ...]: ...


class Tracker:
    """Brings one study's runs in MLflow up to its ledger."""

    def __init__(self, ledger: LedgerLike, uri: str) -> None:
        """Touches nothing yet.  uri: of the store."""
        self.ledger = ledger
        self.uri = uri
        self._reached: _Reached | None = None

    def sync(self) -> None:
        """Send everything that the store lacks.

        A repeat, also in another process or after a kill, stores nothing twice. Raises TrackingError if the store
        fails; the next call first asks it again what it holds.
        """
        with as_tracking_error(self.uri):
            # Forgotten until all is sent: how much of an interrupted call has arrived, only the store can say.
            reached, self._reached = self._reached, None
            self._reached = self._replay(reached or _Reached(Store(self.uri, self.ledger.manifest)))

    def log_report(self, texts: Mapping[str, str | bytes]) -> None:
        """Keep a report with the study's run.  texts: file name → what it holds, below `report/`."""
        self.sync()
        assert self._reached is not None  # `sync` has returned
        with as_tracking_error(self.uri):
            for name, text in texts.items():
                self._reached.store.log_file(self.ledger.manifest.study_id, "report", name, text)

    def _replay(self, reached: _Reached) -> _Reached:
        manifest, entries = self.ledger.manifest, self.ledger.entries()
        if reached.manifest == manifest and reached.entries == entries:
            return reached
        store, mark = reached.store, SyncMark.of(entries)
        standings = _stand(manifest, entries, reached.standings)
        if reached.manifest != manifest:
            self._open(store, manifest)
        superseded = {entry.trial.key for one in standings for entry in one.superseded}
        for entry in entries:
            self._send_trial(store, entry, superseded=entry.trial.key in superseded)
        for one in standings:
            if one not in reached.standings:
                self._send_cell(store, one)
        awaited = any(entry.result is None and entry.trial.key not in superseded for entry in entries)
        over = not awaited and all(one.state != "incomplete" for one in standings)
        whole = run_data.mark_content(mark)
        store.upsert(
            manifest.study_id,
            {run_data.MARKED: whole.digest},
            lambda _: whole,
            status="FINISHED" if over else "RUNNING",
            end=_last_end(entries, manifest.created),
        )
        return _Reached(store, manifest, entries, standings)

    def _open(self, store: Store, manifest: Manifest) -> None:
        """Create the study's run and the cells' runs first, so that a study that has just begun can be seen and
        read.
        """
        store.open(manifest.study_id, "study", f"{manifest.study} (study)", start=manifest.created)
        whole = run_data.study_run_data(manifest, self.ledger.folder)
        store.upsert(manifest.study_id, {run_data.CONTENT: whole.digest}, lambda _: whole)
        for facts in manifest.cells:
            store.open(_cell_key(manifest, facts.cell), "cell", str(facts.cell), start=manifest.created)

    def _send_trial(self, store: Store, entry: TrialEntry, *, superseded: bool) -> None:
        trial, result, manifest = entry.trial, entry.result, self.ledger.manifest
        parent = _cell_key(manifest, trial.cell)
        name = f"{trial.cell}/{trial.phase}/{trial.number}"
        store.open(trial.key, "trial", name, start=_start(entry), parent=parent)
        status: Status = "RUNNING" if result is None else "FINISHED" if result.outcome == "complete" else "FAILED"
        store.upsert(
            trial.key,
            trial_run.trial_position(entry, superseded=superseded),
            lambda position: trial_run.trial_run_data(
                entry,
                self.ledger.folder,
                created=manifest.created,
                points_sent=int(position.get(run_data.POINTS, 0)),
                begun=run_data.POINTS in position,
            ),
            status=status,
            end=_last_end([entry], manifest.created),
        )

    def _send_cell(self, store: Store, one: CellResult) -> None:
        manifest = self.ledger.manifest
        whole = cell_run.cell_run_data(one, self.ledger.folder, manifest.created)
        ended: dict[State, Status] = {"complete": "FINISHED", "partial": "FAILED", "failed": "FAILED"}
        store.upsert(
            _cell_key(manifest, one.facts.cell),
            {run_data.CONTENT: whole.digest},
            lambda position: replace(whole, params={}) if run_data.CONTENT in position else whole,
            status=ended.get(one.state, "RUNNING"),
            end=_last_end(one.entries, manifest.created),
        )


@dataclass(frozen=True)
class _Reached:
    """A store, and the state of the ledger that it holds."""

    store: Store
    manifest: Manifest | None = None
    entries: tuple[TrialEntry, ...] = ()
    standings: tuple[CellResult, ...] = ()


def _stand(manifest: Manifest, entries: Sequence[TrialEntry], known: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """Return the result of each cell; for cells without news the same object as before."""
    of_cell = {one.facts.cell: one for one in known}
    new = summarize_cells(manifest.cells, entries)
    return tuple(old if (old := of_cell.get(one.facts.cell)) == one else one for one in new)


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
    return max((entry.result.ended for entry in entries if entry.result is not None), default=0) or otherwise


class Replay(threading.Thread):
    """Syncs a tracker in a thread beside training, which neither waits for the store nor sees it fail."""

    def __init__(self, tracker: Tracker, interval_seconds: float = 1.0) -> None:
        super().__init__(name="harness-replay", daemon=True)
        self._tracker = tracker
        self._interval = interval_seconds
        self._news = threading.Event()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._drained = False
        self._error: str | None = None

    def run(self) -> None:
        while not self._closing.is_set():
            self._sync()
            self._closing.wait(self._interval / 4)  # news in a burst are sent together
            self._news.wait(self._interval)
            self._news.clear()
        self._drain()

    def _drain(self) -> None:
        """Send the last of it, again and again while the store fails and there is time."""
        self._sync()
        while self._error is not None and time.monotonic() + self._interval < self._deadline:
            time.sleep(self._interval)
            self._sync()
        self._drained = True

    def wake(self) -> None:
        """Signal that there is something to send; any thread may call it."""
        self._news.set()

    def close(self, timeout: float) -> str | None:
        """Send what is left, for at most `timeout` seconds, to a store that may come back; what went wrong, or None."""
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        self._news.set()
        self.join(timeout)
        if self.is_alive():
            why = f"; {self._error}" if self._error else ""
            return f"MLflow did not take everything within {timeout:g} s{why}; `harness sync` sends the rest"
        if not self._drained:
            return "the thread that sends to MLflow failed; run `harness sync` to send the rest"
        return self._error

    def _sync(self) -> None:
        try:
            self._tracker.sync()
        except HarnessError as error:
            self._error = str(error)
        else:
            self._error = None


def start_replay(tracker: Tracker, interval_seconds: float = 1.0) -> Replay:
    replay = Replay(tracker, interval_seconds)
    replay.start()
    return replay
