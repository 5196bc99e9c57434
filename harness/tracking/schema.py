"""Check that a database has the tables of the installed MLflow, which would otherwise change them without asking."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import URL, Connection, make_url

from harness.errors import TrackingError

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Kinds of databases that MLflow uses."""
MIGRATION_SECONDS = 2.0
"""Time without a change after which an incomplete database is not one that another process is creating."""
CONNECT_SECONDS = 8
"""Time within which a database server accepts a connection, unless the URI has another `connect_timeout`."""
DRIVERS_WITH_LIMIT = ("psycopg", "psycopg2", "pymysql", "mysqldb")
"""Drivers whose connections take the argument `connect_timeout`."""
MIGRATIONS = Path(mlflow.__file__).parent / "store" / "db_migrations"


def check_schema(uri: str, shown: str) -> None:
    """Raise TrackingError if the store is a database of an older or a newer MLflow.

    shown: the URI as messages show it.
    """
    current = _revision(uri)
    if current is None:
        return
    known = ScriptDirectory(str(MIGRATIONS))
    while current is not None and current != known.get_current_head():
        if not _is_known(known, current):
            raise TrackingError(
                f"{shown}: the database has the schema of a newer MLflow than the installed {mlflow.__version__}; "
                "install that MLflow, or set MLFLOW_TRACKING_URI to another store"
            )
        time.sleep(MIGRATION_SECONDS)
        before, current = current, _revision(uri)
        if current == before and not _is_complete(uri):
            raise TrackingError(
                f"{shown}: the database has an incomplete schema and no experiment, as when its disk was full; delete "
                "the database, then run the same command again"
            )
        if current == before:
            raise TrackingError(
                f"{shown}: the database has the schema of an older MLflow than the installed {mlflow.__version__}; "
                f"copy the database, then run `mlflow db upgrade {shlex.quote(shown)}`, or set MLFLOW_TRACKING_URI to "
                "another store"
            )


def _revision(uri: str) -> str | None:
    """Return the revision of the tables; None if there are none yet or the store is no database."""
    if not uri.startswith(DATABASES):
        return None
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        return None  # a connection would create the file
    with _connection(uri) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _is_complete(uri: str) -> bool:
    """Return whether the database has an experiment: MLflow creates the first one after all tables."""
    with _connection(uri) as connection:
        if not inspect(connection).has_table("experiments"):
            return False
        return connection.execute(text("SELECT 1 FROM experiments")).first() is not None


@contextlib.contextmanager
def _connection(uri: str) -> Iterator[Connection]:
    """Connect to a database, for at most `CONNECT_SECONDS`: the drivers wait for minutes."""
    url = make_url(uri)
    limit = {"connect_timeout": CONNECT_SECONDS} if _takes_limit(url) else {}
    engine = create_engine(url, connect_args=limit)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _takes_limit(url: URL) -> bool:
    return url.get_driver_name() in DRIVERS_WITH_LIMIT and "connect_timeout" not in url.query


def _is_known(known: ScriptDirectory, revision: str) -> bool:
    try:
        return known.get_revision(revision) is not None
    except CommandError:
        return False
