"""The file of a SQLite store: whether it can be written, and whether it is still the one that MLflow has opened."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking._tracking_service.utils import _tracking_store_registry
from sqlalchemy.engine import make_url

from harness.errors import TrackingError

LOCK_SECONDS = 5.0
"""Time that the check of a file waits for another program's lock, which is no fault: MLflow waits longer."""

_opened: dict[str, tuple[int, int] | None] = {}
"""URI → device and number of the file that MLflow has open in this process."""


def database_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for another store."""
    database = (make_url(uri).database or "") if uri.startswith("sqlite") else ""
    if database.startswith("file:"):  # SQLite's own form, with `uri=true`
        database = unquote(urlsplit(database).path)
    return None if database in ("", ":memory:") else Path(database)


@contextlib.contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Let the processes of this machine that prepare SQLite stores of a folder do so one after another.

    If several create the tables of a new database at the same time, MLflow fails in all but one.  The lock is on the
    folder itself, so it leaves no file behind; the operating system releases it when the process ends.
    """
    path = database_file(uri)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no such folder yet, or a file system without locks
            if path is not None:
                folder = os.open(path.absolute().parent, os.O_RDONLY)
                stack.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX)
        yield


def check_exists(uri: str) -> None:
    """Raise TrackingError if the file of a SQLite store does not exist.

    Call it before a store is only read: MLflow would create the file.
    """
    path = database_file(uri)
    if path is not None and not path.exists():
        raise TrackingError(f"{path}: no such MLflow store; run a study here, or set MLFLOW_TRACKING_URI")


def check_folder(uri: str) -> None:
    """Raise PermissionError if the file of a SQLite store is missing and cannot be created.

    MLflow would try again for two minutes.
    """
    path = database_file(uri)
    if path is None or path.exists():
        return
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written")


def check_writable(uri: str) -> None:
    """Raise sqlite3.OperationalError if the file of a SQLite store cannot be written.

    MLflow opens such a file without an error, and fails at the first run.
    """
    path = database_file(uri)
    if path is None:
        return
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE harness_probe (x)")  # begins the journal
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def remember_file(uri: str) -> None:
    """Remember the file that MLflow has just opened."""
    _opened[uri] = _identity(uri)


def was_replaced(uri: str) -> bool:
    """Return whether the file that MLflow has opened in this process was deleted or replaced."""
    return _opened.get(uri) is not None and _opened[uri] != _identity(uri)


def forget_replaced(uri: str) -> None:
    """Make MLflow open the file again if it was deleted or replaced.

    MLflow keeps connections to a file that is no longer there, and has no public function that closes them.
    """
    if was_replaced(uri):
        engine = SqlAlchemyStore._engine_map.pop(uri, None)
        if engine is not None:
            engine.dispose()
        _tracking_store_registry._get_store_with_resolved_uri.cache_clear()
        del _opened[uri]


def _identity(uri: str) -> tuple[int, int] | None:
    path = database_file(uri)
    if path is None or not path.exists():
        return None
    status = path.stat()
    return status.st_dev, status.st_ino
