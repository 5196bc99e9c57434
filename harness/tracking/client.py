"""Connections to an MLflow store, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import TrackingError, UnknownNameError, did_you_mean
from harness.records import Record
from harness.tracking import run_data

T = TypeVar("T")

R = TypeVar("R", bound=Record)

SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow's pages that an experiment is of trainings, not of language models' traces."""

READERS = 8
"""Requests for curves that are under way at once; a server's connections are for others too."""

PAGES = 10
"""Studies for which `harness ui` prints a link."""


def store_uri(default_folder: Path) -> str:
    """Return MLFLOW_TRACKING_URI if it is set, else a database in `default_folder`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{default_folder.resolve()}/mlflow.db"


def prepare_store(uri: str) -> None:
    """Create the store if it is a database, and check that it answers.

    Call it before other processes open the store: if several open a new database at once, only one survives. Raises
    TrackingError if the store fails.
    """
    with as_tracking_error(uri):
        mlflow_client(uri).search_experiments(max_results=1)


def ui_command(uri: str, port: int) -> list[str]:
    """Return the command line of MLflow's UI on this machine alone. Raises TrackingError if a server already shows the
    store.
    """
    if uri.startswith(("http://", "https://")):
        raise TrackingError(f"{without_credentials(uri)} is a server with its own UI; open that address in a browser")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def study_pages(uri: str, address: str) -> dict[str, str]:
    """Return study name → address of its runs in MLflow's UI at `address`, the latest first.

    The link opens the view for model training, whatever mode the browser last used.
    """
    with as_tracking_error(uri):
        found = mlflow_client(uri).search_experiments(max_results=PAGES, order_by=["last_update_time DESC"])
    return {
        one.name: f"{address}/#/experiments/{one.experiment_id}/runs?workflowType=machine_learning"
        for one in found
        if one.name != "Default"
    }


def mlflow_client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


def create_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of the study's experiment, which is created if missing."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=_artifact_location(uri, name), tags=SHOWN_AS)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"{without_credentials(uri)}: experiment {name!r} was deleted there; bring it back with "
            f"`mlflow experiments restore -x {found.experiment_id}`, or give the study another name"
        )
    return str(found.experiment_id)


def find_experiment(client: MlflowClient, uri: str, name: str) -> str:
    names = {one.name: str(one.experiment_id) for one in _pages(client.search_experiments)}
    if name not in names:
        held = ", ".join(sorted(names.keys() - {"Default"})) or "none"
        raise UnknownNameError(
            f"{without_credentials(uri)}: study {name!r} is not there;{did_you_mean(name, names)} Studies: {held}"
        )
    return names[name]


def _artifact_location(uri: str, name: str) -> str | None:
    """Return the artifact folder beside a SQLite database; None lets a server decide."""
    if not uri.startswith("sqlite"):
        return None
    database = Path(make_url(uri).database or "mlflow.db").resolve()
    return (database.parent / "mlartifacts" / name).as_uri()


def study_runs(client: MlflowClient, experiment: str, study_id: str) -> dict[str, Run]:
    """Return the runs by key. A lost answer to create_run can leave two runs of one key; always the same one is
    taken.
    """
    found = search_runs(client, experiment, f"tags.`{run_data.STUDY_ID}` = '{study_id}'")
    found.sort(key=lambda run: (run.info.start_time, run.info.run_id), reverse=True)
    return {run.data.tags[run_data.KEY]: run for run in found}


def search_runs(client: MlflowClient, experiment: str, condition: str) -> list[Run]:
    return _pages(lambda page_token: client.search_runs([experiment], condition, page_token=page_token))


def _pages(search: Callable[..., PagedList[T]]) -> list[T]:
    """Return all pages of an MLflow search with default arguments."""
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
        raise TrackingError(
            f"{without_credentials(uri)}: this store needs a driver ({error}); install it with pip"
        ) from error
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        raise TrackingError(
            f"{without_credentials(uri)}: the MLflow store failed ({_what(error)}); repair it, or set "
            "MLFLOW_TRACKING_URI to another store, then run `harness sync`"
        ) from error


def _what(error: Exception) -> str:
    """Return the error in one line; MLflow's client wraps a connection error several times."""
    text = str(error)
    for sign, words in _SILENCES.items():
        if sign in text:
            return words.format(seconds=os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    return run_data.cut(without_credentials((text.splitlines() or [type(error).__name__])[0]), 300)


_SILENCES = {
    "Read timed out": "no answer within {seconds} s; a larger MLFLOW_HTTP_REQUEST_TIMEOUT waits longer",
    "NameResolutionError": "no such host",
    "NewConnectionError": "nothing listens there, or it cannot be reached",
    "ConnectTimeoutError": "the host does not answer",
}


def without_credentials(text: str) -> str:
    """An address, or a text with addresses, without the passwords it may hold."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)
