from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.faults.place import SLOW_TOYS, Place, children, ended, kill, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Server:
    """An MLflow server on loopback, with the database of the place."""

    place: Place
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.place.uri, "--workers", "1"]
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        artifacts = ["--artifacts-destination", str(self.place.folder / "artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            [*command, *where, *artifacts], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            for child in children(self.process.pid):
                kill(child)
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    running = Server(place, port)
    running.start()
    yield running
    running.kill()


@pytest.mark.fault("the MLflow server stops for a while")
def test_training_continues_and_mlflow_has_everything_in_the_end(
    place: Place, server: Server, landed: Callable[[], None]
) -> None:
    place.write(updates=300, evaluations=10)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", "--serial", MLFLOW_TRACKING_URI=server.uri, **SLOW_TOYS)
    wait_until(lambda: any(entry.result for entry in place.entries()), process)
    server.kill()
    landed()
    before = sum(entry.result is not None for entry in place.entries())
    wait_until(lambda: sum(entry.result is not None for entry in place.entries()) > before, process)
    server.start()
    code, out, err = ended(process)
    assert code == 0, err
    assert "toy-stack" in out
    assert place.by_key() == expected
    assert place.stored().keys() == expected.keys()


@pytest.mark.fault("the MLflow server stops for good")
@pytest.mark.parametrize("way_out", ["sync", "the command again"])
def test_study_ends_with_exit_code_1_and_the_rest_is_sent_later(
    place: Place, server: Server, landed: Callable[[], None], way_out: str
) -> None:
    place.write(updates=300, evaluations=10)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", "--serial", MLFLOW_TRACKING_URI=server.uri, **SLOW_TOYS)
    wait_until(lambda: any(entry.result for entry in place.entries()), process)
    server.kill()
    landed()
    code, _, err = ended(process)
    assert code == 1
    assert "the MLflow store failed" in err
    assert "send the rest later: harness sync toys" in err
    assert place.by_key() == expected, "training did not go on"
    server.start()
    words = ["sync", "toys"] if way_out == "sync" else ["run", "toys.toml", "--serial"]
    code, _, err = place.run(*words, MLFLOW_TRACKING_URI=server.uri)
    assert code == 0, err
    assert place.stored().keys() == expected.keys()
    assert {run.info.status for run in place.stored().values()} == {"FINISHED"}


@pytest.mark.fault("the SQLite store is locked by another process")
def test_lock_longer_than_the_timeout_loses_nothing(place: Place, landed: Callable[[], None]) -> None:
    """MLflow fails after its busy timeout of 20 s; another program holds the lock for 30 s."""
    place.write(updates=300, evaluations=10)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", "--serial", **SLOW_TOYS)
    wait_until(lambda: any(entry.result for entry in place.entries()), process)
    other = sqlite3.connect(place.folder / "mlflow.db", check_same_thread=False, isolation_level=None, timeout=60)
    other.execute("BEGIN EXCLUSIVE")
    landed()
    threading.Timer(30, other.close).start()
    code, _, err = ended(process)
    assert code == 0, err
    assert place.by_key() == expected
    assert place.stored().keys() == expected.keys()


@pytest.mark.fault("MLflow is unreachable when a study is resumed")
def test_started_study_resumes_without_mlflow_and_a_new_one_is_rejected(
    place: Place, landed: Callable[[], None]
) -> None:
    """A mistake in the address must show before days of training."""
    place.write()
    nowhere = "http://127.0.0.1:9"
    code, _, err = place.run("run", "toys.toml", "--serial", MLFLOW_TRACKING_URI=nowhere)
    assert code == 2
    assert "the MLflow store failed" in err
    assert not (place.folder / "runs").exists()
    place.run("run", "toys.toml", "--serial", KILL_AT="9")
    code, _, err = place.run("run", "toys.toml", "--serial", MLFLOW_TRACKING_URI=nowhere)
    landed()
    assert code == 1, err
    assert place.by_key() == place.undisturbed()
    code, _, err = place.run("sync", "toys")
    assert code == 0, err
    assert len(place.stored()) == 8
