"""The MLflow store: a study's runs written there, and read back."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

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

from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from pydantic import ValidationError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from harness import content
from harness.content import Content
from harness.errors import TrackingError, UnknownNameError, did_you_mean
from harness.ledger import Entry
from harness.records import Manifest, Record, Trial, TrialResult
from harness.results import Curve, Curves, Mark, StoredStudy

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)  # it prints the trace of what we tell in a line

T = TypeVar("T")
R = TypeVar("R", bound=Record)
Batch = tuple[Sequence[Metric], Sequence[Param], Sequence[RunTag]]
Status = Literal["RUNNING", "FINISHED", "FAILED"]
SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow's pages that an experiment is of trainings, not of language models' traces."""
READERS = 8
"""Requests for curves that are under way at once; a server's connections are for others too."""
PAGES = 10
"""Studies of which `harness ui` names the page."""
METRICS_PER_BATCH = 800
PARAMS_PER_BATCH = 50
TAGS_PER_BATCH = 50
"""MLflow takes 1000 values, 100 params, 100 tags and a megabyte at once; 50 of the longest are half of that."""


def store_uri(default_folder: Path) -> str:
    """MLFLOW_TRACKING_URI where it is set, else a database in `default_folder`."""
    database = str(default_folder.resolve() / "mlflow.db")
    # A folder's name may have characters that mean something in a URL: ? and %.
    return os.environ.get("MLFLOW_TRACKING_URI") or URL.create("sqlite", database=database).render_as_string()


def database_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for another store."""
    database = make_url(uri).database if uri.startswith("sqlite") else None
    return None if database is None else Path(database)


def prepare_store(uri: str) -> None:
    """Create the store where it is a database, and see that it answers; TrackingError where it does not.

    To be called before other processes open it: of several that open a new database at once, one survives.
    """
    encoded = Path(uri.removeprefix("sqlite:///")).parent
    # MLflow makes the folder that an encoded path would be in, as well as the folder itself.
    superfluous = database_file(uri) not in (None, encoded / "mlflow.db") and not encoded.exists()
    with as_tracking_error(uri):
        _client(uri).search_experiments(max_results=1)
    if superfluous:
        with contextlib.suppress(OSError):
            encoded.rmdir()


def ui_command(uri: str, port: int) -> list[str]:
    """The command line of MLflow's own pages on this machine alone; TrackingError where a server shows them already."""
    if uri.startswith(("http://", "https://")):
        raise TrackingError(f"{_public(uri)} is a server with pages of its own: open that address in a browser")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def study_pages(uri: str, address: str) -> dict[str, str]:
    """Name of a study → where MLflow's pages at `address` list its runs; those changed last come first.

    The link begins in the mode for trainings, whatever a browser's own is.
    """
    with as_tracking_error(uri):
        found = _client(uri).search_experiments(max_results=PAGES, order_by=["last_update_time DESC"])
    return {
        one.name: f"{address}/#/experiments/{one.experiment_id}/runs?workflowType=machine_learning"
        for one in found
        if one.name != "Default"
    }


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
        self._client = _client(uri)
        self._study_id = manifest.study_id
        self._experiment = _experiment(self._client, uri, manifest.study)
        self._held = {
            key: _Held(run.info.run_id, run.info.status, _position(run.data.tags))
            for key, run in _runs_of(self._client, self._experiment, manifest.study_id).items()
        }

    def open(self, key: str, kind: str, name: str, *, start: float, parent: str | None = None) -> None:
        """Have a run under this key.  start: in seconds since 1970.  parent: key of a run that is there."""
        if key in self._held:
            return
        tags = {content.KIND: kind, content.STUDY_ID: self._study_id, content.KEY: key}
        if parent is not None:
            tags["mlflow.parentRunId"] = self._held[parent].run_id
        run = self._client.create_run(self._experiment, content.milliseconds(start), tags, name)
        self._held[key] = _Held(run.info.run_id, run.info.status, {})

    def bring(
        self,
        key: str,
        position: dict[str, str],
        lacks: Callable[[Mapping[str, str]], Content],
        *,
        status: Status | None = None,
        end: float = 0,
    ) -> None:
        """Bring a run to `position` and `status` unless it is there.

        lacks: what it lacks, given the position tags it holds.  The position is written after what it stands for,
        and the status after that, so a kill at any moment leaves a run that is brought up again.
        """
        held = self._held[key]
        if position.items() <= held.position.items() and status in (None, held.status):
            return
        self._send(held.run_id, lacks(held.position), position)
        held.position |= position
        if status is not None and status != held.status:
            self._set_status(held, status, end)

    def log_file(self, key: str, folder: str, name: str, held: str | bytes) -> None:
        """Keep a file with a run, in a folder of its artifacts."""
        with tempfile.TemporaryDirectory() as beside:
            path = Path(beside) / name
            path.write_bytes(held if isinstance(held, bytes) else held.encode())
            self._client.log_artifact(self._held[key].run_id, str(path), folder)

    def _set_status(self, held: _Held, status: Status, end: float) -> None:
        if status == "RUNNING":
            self._client.update_run(held.run_id, status)
        else:
            self._client.set_terminated(held.run_id, status, content.milliseconds(end))
        held.status = status

    def _send(self, run_id: str, whole: Content, position: Mapping[str, str]) -> None:
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
    return {name: tags[name] for name in content.POSITION if name in tags}


def _batches(whole: Content) -> list[Batch]:
    """At least one; each within what MLflow takes at once."""
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


def read_store(uri: str, study: str, study_id: str | None = None, *, curves: bool = False) -> StoredStudy:
    """A study from what the store holds, the newest of its name unless `study_id` says which.

    curves: read those of final trials too, a request a trial and metric, several at a time.
    UnknownNameError where there is none; TrackingError where the store cannot be reached or lacks its manifest.
    """
    with as_tracking_error(uri):
        client = _client(uri)
        experiment = _known_experiment(client, uri, study)
        ids = _study_ids(client, experiment)
        if not ids or (study_id is not None and study_id not in ids):
            known = ", ".join(ids) or "none; `harness sync` sends a study's folder"
            raise UnknownNameError(f"{_public(uri)}: study {study!r} has no id {study_id!r}; it has: {known}")
        chosen = study_id or ids[0]
        held = _runs_of(client, experiment, chosen)
        entries = [_entry(client, run) for run in held.values() if _is_trial_that_arrived(run)]
        manifest = _parsed(Manifest, _text(client, held[chosen], content.MANIFEST_FILE), chosen)
        return StoredStudy(
            manifest=manifest,
            entries=tuple(sorted(entries, key=_place)),
            mark=_mark(client, held[chosen]),
            others=tuple(other for other in ids if other != chosen),
            curves=_curves(client, manifest, held, entries) if curves else {},
        )


def _curves(client: MlflowClient, manifest: Manifest, held: Mapping[str, Run], entries: Sequence[Entry]) -> Curves:
    """The cell's metric on validation, and the gradient norm, of every final trial.

    MLflow's client reads one metric of one run at a time; what its server has for several is for its own pages, and
    leaves out points.  So several requests are under way at once, which hides how far away a server is.
    """
    metrics = {facts.cell: facts.metric.name for facts in manifest.cells}
    finals = [entry.trial for entry in entries if entry.trial.phase == "final"]
    with ThreadPoolExecutor(READERS, thread_name_prefix="harness-curves") as readers:
        reading = {
            trial.key: {
                name: readers.submit(_curve, client, held[trial.key], stored)
                for name, stored in (
                    (metrics[trial.cell], content.validation_name(metrics[trial.cell])),
                    ("gradient_norm", "gradient_norm"),
                )
            }
            for trial in finals
        }
        return {key: {name: one.result() for name, one in each.items()} for key, each in reading.items()}


def _curve(client: MlflowClient, run: Run, name: str) -> Curve:
    if name not in run.data.metrics:
        return ()
    return tuple(sorted({one.step: one.value for one in client.get_metric_history(run.info.run_id, name)}.items()))


def _study_ids(client: MlflowClient, experiment: str) -> list[str]:
    """Newest first."""
    found = _search(client, experiment, f"tags.`{content.KIND}` = 'study'")
    created = {run.data.tags[content.STUDY_ID]: run.info.start_time for run in found}
    return sorted(created, key=lambda one: (created[one], one), reverse=True)


def _is_trial_that_arrived(run: Run) -> bool:
    """A run is made before it is filled, and its status is written last."""
    return run.data.tags[content.KIND] == "trial" and content.STATUS in run.data.tags


def _place(entry: Entry) -> tuple[str, bool, int]:
    return str(entry.trial.cell), entry.trial.phase == "final", entry.trial.number


def _entry(client: MlflowClient, run: Run) -> Entry:
    tags = run.data.tags
    trial = tags.get(content.TRIAL) or _text(client, run, content.TRIAL_FILE)
    ended = tags.get(content.STATUS) == "ended"
    result = (tags.get(content.RESULT) or _text(client, run, content.RESULT_FILE)) if ended else None
    return Entry(
        trial=_parsed(Trial, trial, tags[content.KEY]),
        attempt=int(tags.get(content.ATTEMPT, 0)),
        result=_parsed(TrialResult, result, tags[content.KEY]) if result is not None else None,
    )


def _mark(client: MlflowClient, run: Run) -> Mark | None:
    text = run.data.tags.get(content.MARK)
    if text is None:
        return None
    return Mark.from_json(_text(client, run, content.MARK_FILE) if text == content.MARK_FILE else text)


def _text(client: MlflowClient, run: Run, file: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run.info.run_id, file, folder)).read_text(encoding="utf-8")


def _parsed(kind: type[R], text: str, where: str) -> R:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise TrackingError(
            f"{where}: the store's {kind.__name__} cannot be read ({str(error).splitlines()[0]}); "
            "read it with the version of the harness that wrote it"
        ) from error


def _client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Id of the study's experiment, made where there is none."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=_artifact_location(uri, name), tags=SHOWN_AS)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"{_public(uri)}: experiment {name!r} was deleted there; bring it back with "
            f"`mlflow experiments restore -x {found.experiment_id}`, or give the study another name"
        )
    return str(found.experiment_id)


def _known_experiment(client: MlflowClient, uri: str, name: str) -> str:
    names = {one.name: str(one.experiment_id) for one in _pages(client.search_experiments)}
    if name not in names:
        held = ", ".join(sorted(names.keys() - {"Default"})) or "none"
        raise UnknownNameError(
            f"{_public(uri)}: study {name!r} is not there;{did_you_mean(name, names)} Studies: {held}"
        )
    return names[name]


def _artifact_location(uri: str, name: str) -> str | None:
    """Beside a SQLite database; None leaves it to a server."""
    database = database_file(uri)
    return None if database is None else (database.resolve().parent / "mlartifacts" / name).as_uri()


def _runs_of(client: MlflowClient, experiment: str, study_id: str) -> dict[str, Run]:
    """By key.  Of two runs of one key, which a lost answer to create_run can leave, always the same one."""
    found = _search(client, experiment, f"tags.`{content.STUDY_ID}` = '{study_id}'")
    found.sort(key=lambda run: (run.info.start_time, run.info.run_id), reverse=True)
    return {run.data.tags[content.KEY]: run for run in found}


def _search(client: MlflowClient, experiment: str, condition: str) -> list[Run]:
    return _pages(lambda page_token: client.search_runs([experiment], condition, page_token=page_token))


def _pages(search: Callable[..., PagedList[T]]) -> list[T]:
    """All pages of an MLflow search, whose other arguments are none of ours."""
    found: list[T] = []
    token: str | None = None
    while True:
        page = search(page_token=token)
        found += page
        token = page.token
        if not token:
            return found


@contextlib.contextmanager
def as_tracking_error(uri: str) -> Iterator[None]:
    """Whatever a store raises that cannot be reached, written or read, as a TrackingError."""
    try:
        yield
    except ImportError as error:
        raise TrackingError(f"{_public(uri)}: this store needs a driver ({error}); install it with pip") from error
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        raise TrackingError(
            f"{_public(uri)}: the MLflow store failed ({_what(error)}); mend it or set MLFLOW_TRACKING_URI to another, "
            "then `harness sync` sends what it lacks"
        ) from error


def _what(error: Exception) -> str:
    """In a line; MLflow's client wraps what keeps a server from answering several times."""
    text = str(error)
    for sign, words in _SILENCES.items():
        if sign in text:
            return words.format(seconds=os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    return content.cut(_public((text.splitlines() or [type(error).__name__])[0]), 300)


_SILENCES = {
    "Read timed out": "no answer within {seconds} s; a larger MLFLOW_HTTP_REQUEST_TIMEOUT waits longer",
    "NameResolutionError": "no such host",
    "NewConnectionError": "nothing listens there, or it cannot be reached",
    "ConnectTimeoutError": "the host does not answer",
}


def _public(text: str) -> str:
    """An address, or a text with addresses, without the passwords it may hold."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)
