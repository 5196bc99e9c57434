"""Write a study's runs to an MLflow store."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from harness.records import Manifest
from harness.tracking import run_data
from harness.tracking.client import T, create_experiment, mlflow_client, study_runs
from harness.tracking.run_data import RunData

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)  # it prints a traceback of what we report in one line

Batch = tuple[Sequence[Metric], Sequence[Param], Sequence[RunTag]]
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
METRICS_PER_BATCH = 800
PARAMS_PER_BATCH = 50
TAGS_PER_BATCH = 50
"""MLflow accepts 1000 values, 100 params, 100 tags and a megabyte per request; 50 of the longest are half of that."""


@dataclass
class _StoredRun:
    """The state of a run in the store."""

    run_id: str
    status: str
    position: dict[str, str]
    """Tags that say how much of the run's contents has arrived."""


class Store:
    """The runs of one study id in MLflow, by key.  Errors are MLflow's own: see `as_tracking_error`."""

    def __init__(self, uri: str, manifest: Manifest) -> None:
        """Read from the store which runs there are."""
        self._client = mlflow_client(uri)
        self._study_id = manifest.study_id
        self._experiment = create_experiment(self._client, uri, manifest.study)
        self._runs = {
            key: _StoredRun(run.info.run_id, run.info.status, _position(run.data.tags))
            for key, run in study_runs(self._client, self._experiment, manifest.study_id).items()
        }

    def run_id(self, key: str) -> str:
        """Return MLflow's id of an existing run."""
        return self._runs[key].run_id

    def open(
        self,
        key: str,
        kind: str,
        name: str,
        *,
        start: float,
        parent: str | None = None,
        tags: Callable[[], Mapping[str, str]] = dict,
    ) -> bool:
        """Create the run with this key if it is missing; return whether it was.

        start: in seconds since 1970.  parent: key of an existing run.  tags: returns further tags of a new run.
        """
        if key in self._runs:
            return False
        own = {run_data.KIND: kind, run_data.STUDY_ID: self._study_id, run_data.KEY: key}
        if parent is not None:
            own["mlflow.parentRunId"] = self._runs[parent].run_id
        run = self._client.create_run(self._experiment, run_data.milliseconds(start), {**tags(), **own}, name)
        self._runs[key] = _StoredRun(run.info.run_id, run.info.status, {})
        return True

    def upsert(
        self,
        key: str,
        position: dict[str, str],
        missing: Callable[[Mapping[str, str]], RunData],
        *,
        status: Status | None = None,
        end: float = 0,
    ) -> None:
        """Bring a run up to `position` and `status`; write nothing if it is already there.

        missing: returns what the run lacks, given its position tags.  end: in seconds since 1970.

        The position is written after the contents, and the status last.  So after a kill at any moment the next call
        completes the run.
        """
        run = self._runs[key]
        if position.items() <= run.position.items() and status in (None, run.status):
            return
        moved = {name: value for name, value in position.items() if run.position.get(name) != value}
        self._send(run.run_id, missing(run.position), moved)
        run.position |= position
        if status is not None and status != run.status:
            self._set_status(run, status, end)

    def log_file(self, key: str, folder: str, name: str, content: str | bytes) -> None:
        """Store a file in a folder of a run's artifacts."""
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / name
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            self._client.log_artifact(self._runs[key].run_id, str(path), folder)

    def describe(self, key: str, text: str) -> None:
        """Set the description of a run and of the experiment.  text: Markdown of at most `TAG_LIMIT` characters."""
        self._client.set_tag(self._runs[key].run_id, run_data.DESCRIPTION, text)
        self._client.set_experiment_tag(self._experiment, run_data.DESCRIPTION, text)

    def _set_status(self, run: _StoredRun, status: Status, end: float) -> None:
        if status == "RUNNING":
            self._client.update_run(run.run_id, status)
        else:
            self._client.set_terminated(run.run_id, status, run_data.milliseconds(end))
        run.status = status

    def _send(self, run_id: str, data: RunData, position: Mapping[str, str]) -> None:
        """Write contents to a run, and its position tags in the last request."""
        for file, text in data.texts.items():
            self._client.log_text(run_id, text, file)
        for file, path in data.files.items():
            self._log_file(run_id, file, path)
        if data.inputs:
            self._client.log_inputs(run_id, [_input(part) for part in data.inputs])
        *batches, (metrics, params, tags) = _batches(data)
        for batch in batches:
            self._client.log_batch(run_id, *batch)
        last = [*tags, *(RunTag(name, value) for name, value in position.items())]
        self._client.log_batch(run_id, metrics, params, last)

    def _log_file(self, run_id: str, name: str, path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / name  # MLflow names an artifact after the file that it copies
            link.symlink_to(path.resolve())
            self._client.log_artifact(run_id, str(link))


def _input(part: run_data.DataInput) -> DatasetInput:
    source = json.dumps({"uri": part.source})
    dataset = Dataset(part.name, part.digest, source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", part.context)])


def _position(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: tags[name] for name in run_data.POSITION if name in tags}


def _batches(data: RunData) -> list[Batch]:
    """Return the contents in one or more batches, each within MLflow's limits for one request."""
    metrics = [Metric(sample.name, sample.value, sample.milliseconds, sample.step) for sample in data.metrics]
    params = [Param(name, value) for name, value in data.params.items()]
    tags = [RunTag(name, value) for name, value in data.tags.items()]
    parts = (_chunks(metrics, METRICS_PER_BATCH), _chunks(params, PARAMS_PER_BATCH), _chunks(tags, TAGS_PER_BATCH))
    count = max(1, *(len(part) for part in parts))
    return [(_at(parts[0], index), _at(parts[1], index), _at(parts[2], index)) for index in range(count)]


def _at(chunks: Sequence[Sequence[T]], index: int) -> Sequence[T]:
    return chunks[index] if index < len(chunks) else ()


def _chunks(values: Sequence[T], size: int) -> list[Sequence[T]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
