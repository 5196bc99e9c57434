"""Places for a benchmark's MLflow runs: a SQLite file, and a PostgreSQL server that is started for the benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

OTHER_USER = "nobody"
"""Who runs the server if this process is root, for which PostgreSQL refuses to start."""


@dataclass(frozen=True)
class StorePlace:
    """An empty MLflow store."""

    uri: str
    size: Callable[[], int]
    """Returns the bytes of its database."""


@contextlib.contextmanager
def sqlite() -> Iterator[StorePlace]:
    """Give a new SQLite file."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mlflow.db"
        yield StorePlace(
            f"sqlite:///{path}", lambda: sum(file.stat().st_size for file in path.parent.glob("mlflow.db*"))
        )


@contextlib.contextmanager
def postgresql() -> Iterator[StorePlace]:
    """Start a PostgreSQL server with an empty database on a free port of this machine, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user = OTHER_USER if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data, port = folder / "data", _free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    started = ("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
    try:
        _run(("initdb", "-D", str(data), "-U", "scale", "-A", "trust", "-E", "UTF8", "--locale=C"), user, folder)
        _run(started, user, folder)
        try:
            uri = f"postgresql+psycopg2://scale@127.0.0.1:{port}/postgres"
            yield StorePlace(uri, lambda: _database_size(uri))
        finally:
            _run(("pg_ctl", "-D", str(data), "-m", "immediate", "stop"), user, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


STORES: dict[str, Callable[[], contextlib.AbstractContextManager[StorePlace]]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
}


def _run(command: tuple[str, ...], user: str | None, folder: Path) -> None:
    done = subprocess.run(
        command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _database_size(uri: str) -> int:
    from sqlalchemy import create_engine, text

    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    finally:
        engine.dispose()
