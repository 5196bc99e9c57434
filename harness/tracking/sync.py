"""Bring a study's runs in MLflow up to date with its ledger."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

from harness.analysis.cell_result import CellResult, State
from harness.analysis.stored_study import SyncMark
from harness.ledger.journal import TrialEntry
from harness.records import Cell, Manifest, Outcome
from harness.tracking import cell_run, run_data, trial_run
from harness.tracking.run_data import RunData
from harness.tracking.sent import Sent, same_entries
from harness.tracking.sqlite_file import was_replaced
from harness.tracking.store import Status, Store
from harness.tracking.store_errors import as_tracking_error

LIVE_SHARE = 0.05
"""Largest share of the time that summaries take while a study runs, since each needs all trials; and as much for trials
in training, since each is sent again when it has ended."""


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
        self.clock = time.monotonic
        """Returns seconds from any start; a simulation sets its own."""
        self._sent: Sent | None = None

    def sync(self, seconds: float = math.inf) -> bool:
        """Send what the store lacks; return whether it lacks nothing any more.

        seconds: time after which no further trial is begun.  With a bound, trials that have ended come first; new
        ones and those in training take at most a twentieth of the time, and so do summaries.  Without a bound,
        everything is sent.  Sending again, even from another process or after a kill, stores nothing twice.  Raises
        TrackingError if the store fails; the next call first asks the store again what it holds.
        """
        with as_tracking_error(self.uri):
            # Forgotten until the call succeeds: only the store knows how much of a failed call has arrived.
            sent, self._sent = self._sent, None
            if sent is not None and was_replaced(self.uri):
                raise FileNotFoundError("the database file is another one")
            sent = sent or Sent(Store(self.uri, self.ledger.manifest))
            complete = self._replay(sent, seconds)
            self._sent = sent
            return complete

    def study_run(self) -> str:
        """Return the id of the study's run; only after a `sync` that did not fail."""
        assert self._sent is not None  # set by `sync`
        return self._sent.store.run_id(self.ledger.manifest.study_id)

    def log_report(self, texts: Mapping[str, str | bytes], description: str = "") -> None:
        """Store a report with the study's run, in the folder `report`.

        texts: file name → content.  description: Markdown that MLflow shows with the study's run and the experiment.
        """
        self.sync()
        assert self._sent is not None  # set by `sync`
        with as_tracking_error(self.uri):
            for name, text in texts.items():
                self._sent.store.log_file(self.ledger.manifest.study_id, "report", name, text)
            if description:
                self._sent.store.describe(self.ledger.manifest.study_id, description)

    def _replay(self, sent: Sent, seconds: float) -> bool:
        """Send what has changed since the last call, as `sync` says; return whether the store lacks nothing."""
        begun, manifest, entries = self.clock(), self.ledger.manifest, self.ledger.entries()
        if sent.manifest is not manifest and sent.manifest != manifest:
            self._open(sent.store, manifest)
            sent.summarized = None
        sent.manifest = manifest
        due = math.isinf(seconds) or begun >= sent.summary_due
        if due or sent.summarized is None:
            sent.summarize(entries)
        changed = sent.changed(entries)
        ended = [index for index in changed if entries[index].result is not None]
        running = [index for index in changed if entries[index].result is None]
        sent.entries += [None] * (len(entries) - len(sent.entries))
        running.sort(key=lambda index: (sent.entries[index] is not None, index <= sent.latest, index))
        self._send_trials(sent, ended, entries, until=begun + seconds)
        if math.isinf(seconds) or begun >= sent.progress_due:
            at = self.clock()
            sent.latest = self._send_trials(sent, running, entries, until=begun + seconds)
            sent.progress_due = self.clock() + (self.clock() - at) / LIVE_SHARE
        if due:
            self._send_summaries(sent, entries)
        return not sent.changed(entries) and same_entries(entries, sent.summary_sent)

    def _send_trials(self, sent: Sent, indices: Iterable[int], entries: tuple[TrialEntry, ...], *, until: float) -> int:
        """Send the entries with these indices, and begin none after `until`.

        Return the index that was sent last, `sent.latest` if none was.
        """
        latest = sent.latest
        for index in indices:
            if self.clock() >= until:
                break
            self._send_trial(sent, entries[index])
            sent.entries[index], latest = entries[index], index
        return latest

    def _send_summaries(self, sent: Sent, entries: tuple[TrialEntry, ...]) -> None:
        """Send the results of the cells, and last how many trials the ledger has."""
        begun, manifest = self.clock(), self.ledger.manifest
        for result in sent.cell_results:
            if sent.cells_sent.get(result.facts.cell) != result:
                self._send_cell(sent.store, result)
                sent.cells_sent[result.facts.cell] = result
        running = any(entry.result is None and entry.trial.key not in sent.superseded for entry in entries)
        finished = not running and all(result.state != "incomplete" for result in sent.cell_results)
        data = run_data.mark_content(SyncMark.of(entries))
        sent.store.upsert(
            manifest.study_id,
            {run_data.MARKED: data.digest},
            lambda _: data,
            status="FINISHED" if finished else "RUNNING",
            end=_last_end(entries, manifest.created),
        )
        sent.summary_sent = entries
        sent.summary_due = self.clock() + (self.clock() - begun) / LIVE_SHARE

    def _open(self, store: Store, manifest: Manifest) -> None:
        """Create the runs of the study and of its cells, so that a study can be read as soon as it has started."""
        store.open(manifest.study_id, "study", f"{manifest.study} (study)", start=manifest.created)
        data = run_data.study_run_data(manifest, self.ledger.folder)
        store.upsert(manifest.study_id, {run_data.CONTENT: data.digest}, lambda _: data)
        for facts in manifest.cells:
            store.open(_cell_key(manifest, facts.cell), "cell", str(facts.cell), start=manifest.created)

    def _send_trial(self, sent: Sent, entry: TrialEntry) -> None:
        trial, result, manifest = entry.trial, entry.result, self.ledger.manifest
        whole = cache(lambda: self._trial_data(entry, {}))
        created = sent.store.open(
            trial.key,
            "trial",
            f"{trial.cell}/{trial.phase}/{trial.number}",
            start=_start(entry),
            parent=_cell_key(manifest, trial.cell),
            tags=lambda: whole().tags,
        )
        ended: dict[Outcome, Status] = {"complete": "FINISHED", "pruned": "KILLED"}
        status = "RUNNING" if result is None else ended.get(result.outcome, "FAILED")
        sent.store.upsert(
            trial.key,
            trial_run.trial_position(entry, superseded=trial.key in sent.superseded),
            lambda position: replace(whole(), tags={}) if created else self._trial_data(entry, position),
            status=status,
            end=_last_end([entry], manifest.created),
        )

    def _trial_data(self, entry: TrialEntry, position: Mapping[str, str]) -> RunData:
        """Return what the run of a trial lacks.  position: its position tags."""
        return trial_run.trial_run_data(
            entry,
            self.ledger.folder,
            created=self.ledger.manifest.created,
            points_sent=int(position.get(run_data.POINTS, 0)),
            params_sent=run_data.POINTS in position,
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
