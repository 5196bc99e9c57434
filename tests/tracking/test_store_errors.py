"""Errors of stores: one line each, in time, with what to do."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException

from harness.errors import TrackingError
from harness.tracking import client
from harness.tracking.client import prepare_store
from harness.tracking.store_errors import as_tracking_error

LIMIT_SECONDS = 10.0
"""Time within which a study's start says what is wrong with its store."""


def error_of(uri: str) -> str:
    """Return the error of a store, which must arrive in time and in one line."""
    start = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        prepare_store(uri)
    assert time.monotonic() - start < LIMIT_SECONDS
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Driver(ModuleType):
    """The module of a database driver, of which every connection fails."""

    class Error(Exception):
        pass

    __version__ = "2.9"
    paramstyle = "pyformat"
    extras = extensions = SimpleNamespace()
    OperationalError = InterfaceError = DatabaseError = Error

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reason = ""
        self.given: dict[str, object] = {}

    def connect(self, *_: object, **given: object) -> None:
        self.given = given
        raise self.Error(self.reason)


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver("psycopg2")
    monkeypatch.setitem(sys.modules, "psycopg2", driver)
    return driver


PG = 'connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("reason", "way_out"),
    [
        (PG + 'FATAL:  database "nodb" does not exist', "create that database, or correct its name in the URI, or set"),
        (PG + 'FATAL:  password authentication failed for user "jane"', "correct the user and the password in the URI"),
        (PG + 'FATAL:  role "jane" does not exist', "correct the user and the password in the URI, or set MLFLOW"),
        (PG + "Connection refused\n\tIs the server running on that host?", "start the server, or correct its address"),
        ('could not translate host name "db" to address: Name or service not known', "start the server, or correct"),
        (PG + "timeout expired", "start the server, or correct its address"),
    ],
)
def test_error_of_postgresql_says_what_to_do(postgres: Driver, reason: str, way_out: str) -> None:
    """The reasons are those of PostgreSQL 15 and its library."""
    postgres.reason = reason
    error = error_of("postgresql+psycopg2://jane:s3cr3t@127.0.0.1/nodb")
    assert f"); {way_out}" in error
    assert "jane" not in error
    assert float(str(postgres.given["connect_timeout"])) < LIMIT_SECONDS


def test_time_limit_of_the_uri_is_kept(postgres: Driver) -> None:
    error_of("postgresql+psycopg2://127.0.0.1/nodb?connect_timeout=3")
    assert postgres.given["connect_timeout"] == "3"


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("postgresql+psycopg2://127.0.0.1:9/x", "psycopg2", "psycopg2-binary"),
        ("postgresql+psycopg://127.0.0.1:9/x", "psycopg", "'psycopg[binary]'"),
        ("mysql+mysqldb://127.0.0.1:9/x", "MySQLdb", "mysqlclient"),
        ("mysql+pymysql://127.0.0.1:9/x", "pymysql", "pymysql"),
    ],
)
def test_missing_driver_is_named_with_its_package(
    uri: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert f"; run `pip install {package}`, or set MLFLOW_TRACKING_URI to another store" in error_of(uri)


@pytest.mark.parametrize(
    ("uri", "way_out"),
    [
        ("postgres://127.0.0.1/x", "MLflow has no store for this URI; one begins with sqlite:///, postgresql://, "),
        ("sqllite:///mlflow.db", "; correct the URI, or set"),
        ("./mlruns", "MLflow no longer stores runs in a folder; a store of files begins with sqlite:///); correct the"),
        ("postgresql+nodriver://127.0.0.1/x", "nodriver); correct the driver in the URI"),
    ],
)
def test_uri_that_is_no_store_is_explained(uri: str, way_out: str) -> None:
    assert way_out in error_of(uri)


def test_folder_that_cannot_be_created_is_an_error_in_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "the MLflow store failed" in error_of(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_server_that_accepts_and_never_answers_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = error_of(f"http://me:secret@127.0.0.1:{silent.getsockname()[1]}")
    assert "failed (no answer within 0.5 s; to wait longer, set MLFLOW_HTTP_REQUEST_TIMEOUT); " in error


def test_hint_for_programmers_does_not_replace_the_reason() -> None:
    hint = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block)"
    seen = pytest.raises(
        TrackingError, match=r"failed \(\(sqlite3\.E\) database or disk is full\); free disk space, or"
    )
    with seen, as_tracking_error("sqlite:////a/mlflow.db"):
        raise MlflowException(f"{hint}\n(sqlite3.E) database or disk is full\n[SQL: INSERT]")
