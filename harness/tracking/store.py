"""Writing a study's runs to an MLflow store."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# MLflow reads these when it is imported, and `mlflow ui` inherits them.
os.environ.update(
    {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    | os.environ
)

from mlflow.entities import Metric, Param, RunTag

from harness.ledger.journal import TrialEntry
from harness.records import Manifest
from harness.tracking import run_data
from harness.tracking.client import T, create_experiment, mlflow_client, study_runs
from harness.tracking.run_data import RunData

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)  # it prints the trace of what we tell in a line

Batch = tuple[Sequence[Metric], Sequence[Param], Sequence[RunTag]]
Status = Literal["RUNNING", "FINISHED", "FAILED"]
METRICS_PER_BATCH = 800
PARAMS_PER_BATCH = 50
TAGS_PER_BATCH = 50
"""MLflow takes 1000 values, 100 params, 100 tags and a megabyte at once; 50 of the longest are half of that."""


@dataclass
class _Held:
    """A run in the store."""

    run_id: str
    status: str
    position: dict[str, str]
    """Tags that say how much of it has arrived."""


class Store:
    """The runs of one study id in MLflow, by key.  What fails raises as MLflow has it: see `as_tracking_error`."""

    def __init__(self, uri: str, manifest: Manifest) -> None:
        """Read what the store holds."""
        self._client = mlflow_client(uri)
        self._study_id = manifest.study_id
        self._experiment = create_experiment(self._client, uri, manifest.study)
        self._held = {
            key: _Held(run.info.run_id, run.info.status, _position(run.data.tags))
            for key, run in study_runs(self._client, self._experiment, manifest.study_id).items()
        }

    def open(self, key: str, kind: str, name: str, *, start: float, parent: str | None = None) -> None:
        """Ensure that a run with this key exists. start: in seconds since 1970. parent: key of an existing run."""
        if key in self._held:
            return
        tags = {run_data.KIND: kind, run_data.STUDY_ID: self._study_id, run_data.KEY: key}
        if parent is not None:
            tags["mlflow.parentRunId"] = self._held[parent].run_id
        run = self._client.create_run(self._experiment, run_data.milliseconds(start), tags, name)
        self._held[key] = _Held(run.info.run_id, run.info.status, {})

    def upsert(
        self,
        key: str,
        position: dict[str, str],
        lacks: Callable[[Mapping[str, str]], RunData],
        *,
        status: Status | None = None,
        end: float = 0,
    ) -> None:
        """Update a run to `position` and `status`, unless it is there.

        lacks: returns what is missing, given the position tags that the run holds. The position is written after its
        contents, and the status last. After a kill at any moment, the next call completes the run.
        """
        held = self._held[key]
        if position.items() <= held.position.items() and status in (None, held.status):
            return
        self._send(held.run_id, lacks(held.position), position)
        held.position |= position
        if status is not None and status != held.status:
            self._set_status(held, status, end)

    def log_file(self, key: str, folder: str, name: str, held: str | bytes) -> None:
        """Store a file with a run, in a folder of its artifacts."""
        with tempfile.TemporaryDirectory() as beside:
            path = Path(beside) / name
            path.write_bytes(held if isinstance(held, bytes) else held.encode())
            self._client.log_artifact(self._held[key].run_id, str(path), folder)

    def _set_status(self, held: _Held, status: Status, end: float) -> None:
        if status == "RUNNING":
            self._client.update_run(held.run_id, status)
        else:
            self._client.set_terminated(held.run_id, status, run_data.milliseconds(end))
        held.status = status

    def _send(self, run_id: str, whole: RunData, position: Mapping[str, str]) -> None:
        for file, text in whole.texts.items():
            self._client.log_text(run_id, text, file)
        for file, path in whole.files.items():
            self._log_file(run_id, file, path)
        *batches, (metrics, params, tags) = _batches(whole)
        for batch in batches:
            self._client.log_batch(run_id, *batch)
        last = [*tags, *(RunTag(name, value) for name, value in position.items())]
        self._client.log_batch(run_id, metrics, params, last)

    def _log_file(self, run_id: str, name: str, path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            named = Path(folder) / name  # MLflow names an artifact after the file it copies
            named.symlink_to(path.resolve())
            self._client.log_artifact(run_id, str(named))


def _position(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: tags[name] for name in run_data.POSITION if name in tags}


def _batches(whole: RunData) -> list[Batch]:
    """Return at least one batch; each is within MLflow's limits for one request."""
    metrics = [Metric(one.name, one.value, one.milliseconds, one.step) for one in whole.metrics]
    params = [Param(name, value) for name, value in whole.params.items()]
    tags = [RunTag(name, value) for name, value in whole.tags.items()]
    parts = (_chunks(metrics, METRICS_PER_BATCH), _chunks(params, PARAMS_PER_BATCH), _chunks(tags, TAGS_PER_BATCH))
    count = max(1, *(len(part) for part in parts))
    return [(_at(parts[0], index), _at(parts[1], index), _at(parts[2], index)) for index in range(count)]


def _at(chunks: Sequence[Sequence[T]], index: int) -> Sequence[T]:
    return chunks[index] if index < len(chunks) else ()


def _chunks(values: Sequence[T], size: int) -> list[Sequence[T]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def entry_order(entry: TrialEntry) -> tuple[str, bool, int]:
    return str(entry.trial.cell), entry.trial.phase == "final", entry.trial.number
