"""Connect to an MLflow store, and find its experiments and runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.store.entities import PagedList
from sqlalchemy.engine import URL

from harness.errors import TrackingError, UnknownNameError, did_you_mean
from harness.records import Record
from harness.redaction import without_credentials
from harness.tracking import DEFAULT_TIMEOUT, run_data
from harness.tracking.schema import check_schema
from harness.tracking.sqlite_file import (
    check_exists,
    check_folder,
    check_writable,
    database_file,
    forget_replaced,
    one_at_a_time,
    remember_file,
)
from harness.tracking.store_errors import as_tracking_error
from harness.tracking.view import view_query, view_tags

T = TypeVar("T")

R = TypeVar("R", bound=Record)

CONCURRENT_REQUESTS = 8
"""Requests for curves that are open at the same time; others use the server's connections too."""

ANSWER_SECONDS = 8.0
"""Time within which a server answers its first request, unless MLFLOW_HTTP_REQUEST_TIMEOUT says otherwise."""

LINKED_STUDIES = 10
"""Studies for which `harness ui` prints a link."""


def store_uri(default_folder: Path) -> str:
    """Return MLFLOW_TRACKING_URI if it is set, else a database in `default_folder`."""
    database = str(default_folder.resolve() / "mlflow.db")
    # The folder's name may hold characters that have a meaning in a URL: ? and %.
    return os.environ.get("MLFLOW_TRACKING_URI") or URL.create("sqlite", database=database).render_as_string()


def prepare_store(uri: str, study: str | None = None) -> None:
    """Create the store if it is a database, and check that it answers and can be written.

    study: create its experiment too, so that a deleted one or a missing permission shows now.

    Call it before other processes open the store, see `one_at_a_time`.
    Raises TrackingError if the store fails.
    """
    encoded = Path(uri.removeprefix("sqlite:///")).parent
    # MLflow creates the folder of the encoded path as well as the folder itself.
    superfluous = database_file(uri) not in (None, encoded / "mlflow.db") and not encoded.exists()
    with as_tracking_error(uri), one_at_a_time(uri):
        check_server(uri)
        client = mlflow_client(uri)
        client.search_experiments(max_results=1)
        check_writable(uri)
        if study is not None:
            create_experiment(client, uri, study)
    if superfluous:
        with contextlib.suppress(OSError):
            encoded.rmdir()


def ui_command(uri: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command line of MLflow's UI, reachable from this machine alone, and its environment variables.

    The URI is among the variables: it may hold a password, and every user of the machine can read command lines.
    Raises TrackingError if the store is a server, which has a UI of its own.
    """
    if uri.startswith(("http://", "https://")):
        raise TrackingError(f"{without_credentials(uri)} is a server with its own UI; open this address in a browser")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return command, {"MLFLOW_BACKEND_STORE_URI": uri}


def study_pages(uri: str, address: str) -> dict[str, str]:
    """Return study name → link to its runs in MLflow's UI at `address`; the study that changed last comes first.

    The link opens the view for model training, whatever mode the browser last used.  Raises TrackingError if there is
    no store at the URI.
    """
    with as_tracking_error(uri):
        check_exists(uri)
        experiments = mlflow_client(uri).search_experiments(
            max_results=LINKED_STUDIES, order_by=["last_update_time DESC"]
        )
    return {
        experiment.name: f"{address}/#/experiments/{experiment.experiment_id}/runs?{view_query(experiment.tags)}"
        for experiment in experiments
        if experiment.name != "Default"
    }


def check_server(uri: str) -> None:
    """Raise TimeoutError if a server accepts a connection and does not answer in time.

    MLflow's client would wait for minutes.  It reports everything else that is wrong with a server by itself.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] != DEFAULT_TIMEOUT:
        return
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], f"{parts.path.rstrip('/')}/health", "", ""))
    try:
        urlopen(address, timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(getattr(error, "reason", error), TimeoutError):
            advice = "to wait longer, set MLFLOW_HTTP_REQUEST_TIMEOUT"
            raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s; {advice}") from error


def mlflow_client(uri: str) -> MlflowClient:
    """Return a client.  Raises TrackingError if the store is a database of another version of MLflow."""
    check_folder(uri)
    check_schema(uri, without_credentials(uri))
    forget_replaced(uri)
    client = MlflowClient(tracking_uri=uri)
    remember_file(uri)
    return client


def create_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of a study's experiment, which is created if missing.

    Raises TrackingError if the experiment was deleted.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client.create_experiment(name, artifact_location=_artifact_location(uri, name), tags=view_tags())
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"{without_credentials(uri)}: experiment {name!r} was deleted; restore it with "
            f"`mlflow experiments restore -x {experiment.experiment_id}`, or give the study another name"
        )
    return str(experiment.experiment_id)


def find_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of a study's experiment.  Raises UnknownNameError if there is none."""
    ids = {experiment.name: str(experiment.experiment_id) for experiment in _all_pages(client.search_experiments)}
    if name not in ids:
        studies = ", ".join(sorted(ids.keys() - {"Default"})) or "none"
        raise UnknownNameError(
            f"{without_credentials(uri)}: the store has no study {name!r};{did_you_mean(name, ids)} Studies: {studies}"
        )
    return ids[name]


def _artifact_location(uri: str, name: str) -> str | None:
    """Return the folder of a study's artifacts, beside a SQLite database; None: the server decides."""
    database = database_file(uri)
    return None if database is None else (database.resolve().parent / "mlartifacts" / name).as_uri()


def study_runs(client: MlflowClient, experiment: str, study_id: str) -> dict[str, Run]:
    """Return the runs of a study by key.

    A lost response to create_run can leave two runs with one key; then always the same one of them is returned.
    """
    runs = search_runs(client, experiment, f"tags.`{run_data.STUDY_ID}` = '{study_id}'")
    runs.sort(key=lambda run: (run.info.start_time, run.info.run_id), reverse=True)
    return {run.data.tags[run_data.KEY]: run for run in runs}


def search_runs(client: MlflowClient, experiment: str, condition: str) -> list[Run]:
    """Return all runs of an experiment that meet a condition, as MLflow's filter strings express it."""
    return _all_pages(lambda page_token: client.search_runs([experiment], condition, page_token=page_token))


def _all_pages(search: Callable[..., PagedList[T]]) -> list[T]:
    """Return the results on all pages of an MLflow search, which is called with page tokens alone."""
    results: list[T] = []
    token: str | None = None
    while True:
        page = search(page_token=token)
        results += page
        token = page.token
        if not token:
            return results
