"""Databases of another version of MLflow."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from harness.errors import TrackingError
from harness.tracking import schema
from harness.tracking.client import prepare_store
from harness.tracking.reader import read_store
from harness.tracking.schema import MIGRATIONS, check_schema

OLDER = next(
    revision.revision for number, revision in enumerate(ScriptDirectory(str(MIGRATIONS)).walk_revisions()) if number > 9
)


def database(folder: Path, revision: str | None, *, complete: bool = True) -> tuple[str, bytes]:
    """Write a database whose tables have a revision.  Return its URI and its content.

    complete: whether it has an experiment, which MLflow creates last.
    """
    path = folder / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        if revision is not None:
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        connection.execute("CREATE TABLE experiments (name)")
        if complete:
            connection.execute("INSERT INTO experiments VALUES ('Default')")
    connection.close()
    return f"sqlite:///{path}", path.read_bytes()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATION_SECONDS", 0.0)


def test_database_of_an_older_mlflow_is_refused_and_not_changed(tmp_path: Path) -> None:
    uri, content = database(tmp_path, OLDER)
    message = r"mlflow\.db: the database has the schema of an older MLflow than .*; copy .* `mlflow db upgrade sqlite:"
    with pytest.raises(TrackingError, match=message):
        prepare_store(uri)
    with pytest.raises(TrackingError, match=message):
        read_store(uri, "any")
    assert (tmp_path / "mlflow.db").read_bytes() == content


def test_database_of_a_newer_mlflow_is_refused_and_not_changed(tmp_path: Path) -> None:
    uri, content = database(tmp_path, "abc123456789")
    with pytest.raises(TrackingError, match=r"schema of a newer MLflow than the installed .*; install that MLflow, or"):
        prepare_store(uri)
    assert (tmp_path / "mlflow.db").read_bytes() == content


def test_database_whose_creation_failed_is_not_called_an_older_one(tmp_path: Path) -> None:
    uri, content = database(tmp_path, OLDER, complete=False)
    with pytest.raises(TrackingError, match=r"incomplete schema and no experiment, .*; delete the database, then run"):
        prepare_store(uri)
    assert (tmp_path / "mlflow.db").read_bytes() == content


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "file:///tmp/mlruns", "databricks", "./mlruns"])
def test_stores_that_are_no_databases_are_not_checked(uri: str) -> None:
    check_schema(uri, uri)


def test_database_that_this_mlflow_created_is_accepted(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    check_schema(uri, uri)
    assert list(tmp_path.iterdir()) == []
    prepare_store(uri)
    check_schema(uri, uri)


def test_database_that_another_process_is_creating_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, _ = database(tmp_path, OLDER)
    revisions = [revision.revision for revision in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]

    def advance(_: float) -> None:
        with sqlite3.connect(tmp_path / "mlflow.db") as connection:
            (current,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("UPDATE alembic_version SET version_num = ?", (revisions[revisions.index(current) - 1],))

    monkeypatch.setattr(time, "sleep", advance)
    check_schema(uri, uri)
