"""The ledger replayed into MLflow, where people look, and read back from there."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal, Protocol, TypeVar

# MLflow reads these when it is imported, and `harness ui` hands them on.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_name, _value)

from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from harness import runs
from harness.errors import HarnessError, TrackingError, UnknownNameError, did_you_mean
from harness.ledger import Entry
from harness.records import CellFacts, Manifest, Trial, TrialResult
from harness.results import Mark, Standing, StoredStudy, standing
from harness.runs import Content

for _name in ("mlflow.store.db", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

T = TypeVar("T")
Status = Literal["RUNNING", "FINISHED", "FAILED"]
METRICS_PER_BATCH = 800
PARAMS_PER_BATCH = 50
TAGS_PER_BATCH = 50
"""MLflow takes 1000 values, 100 params, 100 tags and a megabyte at once; 50 of the longest are half of that."""
PAGE = 1000


class LedgerLike(Protocol):
    """A `Ledger`, or the snapshot that `read_study` gives."""

    @property
    def folder(self) -> Path: ...
    @property
    def manifest(self) -> Manifest: ...
    def entries(self) -> tuple[Entry, ...]: ...


def store_uri(default_folder: Path) -> str:
    """MLFLOW_TRACKING_URI where it is set, else a database in `default_folder`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{default_folder.resolve()}/mlflow.db"


def prepare_store(uri: str) -> None:
    """Create the store where it is a database, and see that it answers; TrackingError where it does not.

    To be called before other processes open it: of several that open a new database at once, one survives.
    """
    with _as_tracking_error(uri):
        _client(uri).search_experiments(max_results=1)


def ui_command(uri: str, port: int) -> list[str]:
    """The command line of MLflow's own pages on this machine alone; TrackingError where a server shows them already."""
    if uri.startswith(("http://", "https://")):
        raise TrackingError(f"{_public(uri)} is a server with pages of its own: open that address in a browser")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


@dataclass
class _Held:
    """What is known of a run in the store."""

    run_id: str
    status: str
    position: dict[str, str]
    """Tags that say how much of it has arrived."""


_POSITION = (runs.ATTEMPT, runs.POINTS, runs.STATUS, runs.SUPERSEDED, runs.CONTENT)


class Tracker:
    """Brings one study's runs in MLflow up to its ledger."""

    def __init__(self, ledger: LedgerLike, uri: str | None = None) -> None:
        """Touches nothing yet.  uri: of the store; None: `store_uri` beside the study's folder."""
        self.ledger = ledger
        self.uri = uri if uri is not None else store_uri(ledger.folder.parent)
        self._store: _Store | None = None
        self._standings: dict[str, tuple[object, Standing]] = {}

    def pump(self) -> None:
        """Send what the store lacks.  A repeat, in this process or another, after success or a kill, stores nothing twice.

        TrackingError where the store cannot be reached; the next call begins by asking it again what it holds.
        """
        with _as_tracking_error(self.uri):
            store = self._store or _Store(self.uri, self.ledger.manifest)
            self._store = None  # what an interrupted call has sent is not known
            self._replay(store)
            self._store = store

    def log_report(self, texts: Mapping[str, str]) -> None:
        """Keep a report with the study's run.  texts: file name → text, below `report/`."""
        self.pump()
        assert self._store is not None  # `pump` has returned
        with _as_tracking_error(self.uri):
            for name, text in texts.items():
                self._store.log_text(self.ledger.manifest.study_id, f"report/{name}", text)

    def _replay(self, store: _Store) -> None:
        manifest, folder, entries = self.ledger.manifest, self.ledger.folder, self.ledger.entries()
        mark = Mark.of(entries)
        standings = self._stand(manifest.cells, entries, mark)
        done = all(one.state != "incomplete" for one in standings) and mark.ended == mark.total
        end = max((entry.result.ended for entry in entries if entry.result is not None), default=manifest.created)
        self._send_study(store, done=False, end=end)
        for one in standings:
            self._send_cell(store, one, open_only=True)
        superseded = {entry.trial.key for one in standings for entry in one.superseded}
        for entry in entries:
            self._send_trial(store, entry, superseded=entry.trial.key in superseded)
        for one in standings:
            self._send_cell(store, one)
        self._send_study(store, done=done, end=end, mark=mark)
