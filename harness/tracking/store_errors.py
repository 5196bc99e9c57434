"""Explain the errors of MLflow stores: where, what is wrong, and what to do."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator

from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import TrackingError
from harness.redaction import without_credentials, without_secrets
from harness.tracking import run_data
from harness.tracking.sqlite_file import was_replaced

_REASONS = {
    "Read timed out": "no answer within {seconds} s; to wait longer, set MLFLOW_HTTP_REQUEST_TIMEOUT",
    "NameResolutionError": "MLflow is unreachable: no such host",
    "NewConnectionError": "MLflow is unreachable: nothing listens at this address, or there is no route to it",
    "ConnectTimeoutError": "MLflow is unreachable: the host does not answer",
    "got unsupported URI": "MLflow has no store for this URI; one begins with sqlite:///, postgresql://, mysql://, "
    "mssql:// or http://",
    "filesystem tracking backend": "MLflow no longer stores runs in a folder; a store of files begins with sqlite:///",
}
"""Part of an error text of MLflow → the reason in plain words."""

_WAYS_OUT = {
    r"is full|no space left|could not extend file": "free disk space",
    r"read-?only|permission denied|cannot be written|unable to open database file": "make it writable",
    r"database .*does not exist|unknown database": "create that database, or correct its name in the URI",
    r"authentication failed|access denied|role .*does not exist|no password supplied": (
        "correct the user and the password in the URI"
    ),
    r"can't load plugin": "correct the driver in the URI",
    r"no store for this URI|stores runs in a folder": "correct the URI",
    r"unreachable|connection refused|could not translate host|timeout expired|timed out": (
        "start the server, or correct its address"
    ),
    r"not a database|malformed": "put a copy of the database in its place, or move it away for a new one",
    r"is locked": "end the program that holds the lock",
}
"""Pattern of a reason → what to do about it."""

_DRIVERS = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Module of a database driver → the package to install, if its name differs."""


@contextlib.contextmanager
def as_tracking_error(uri: str) -> Iterator[None]:
    """Raise a TrackingError for an exception of a store that cannot be reached, written or read."""
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        install = f"run `pip install {_DRIVERS.get(module, module)}`" if module else "install it with pip"
        raise TrackingError(
            f"{without_credentials(uri)}: this store needs a Python package that is missing ({error}); {install}, or "
            "set MLFLOW_TRACKING_URI to another store"
        ) from error
    except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError) as error:
        if was_replaced(uri):
            raise TrackingError(
                f"{without_credentials(uri)}: the database file was deleted or replaced while it was in use; for each "
                "study that it lacks now, run `harness sync`"
            ) from error
        reason = _one_line(error, uri)
        raise TrackingError(
            f"{without_credentials(uri)}: the MLflow store failed ({reason}); {_way_out(reason)}, or set "
            "MLFLOW_TRACKING_URI to another store, then run `harness sync`"
        ) from error


def _way_out(reason: str) -> str:
    ways = (way for pattern, way in _WAYS_OUT.items() if re.search(pattern, reason, re.IGNORECASE))
    return next(ways, "repair it")


def _one_line(error: Exception, uri: str) -> str:
    """Return the reason for an error in one line; MLflow's client wraps a connection error several times."""
    text = str(error)
    for name, reason in _REASONS.items():
        if name in text:
            return reason.format(seconds=os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    # SQLAlchemy puts a hint for programmers before the reason.
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("(raised as a result of")]
    line = (lines or [type(error).__name__])[0].strip()
    return run_data.cut(_without_user(without_secrets(line, uri)), 300)


def _without_user(text: str) -> str:
    """Return what a database driver says without the user name, which it puts into quotation marks."""
    return re.sub(r"""(\b(?:user|role|login)\b[^'"]{0,12})(['"]).*?\2""", r"\1\2***\2", text, flags=re.IGNORECASE)
