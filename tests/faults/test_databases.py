"""The database of MLflow is damaged in the middle of a study: it is told within 10 s, and nothing is lost."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.faults.place import SLOW_TOYS, Place, ended, mount_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOLD_SECONDS = 10.0
Repair = Callable[[], None]


@pytest.fixture
def disk(place: Place) -> Iterator[Path]:
    """A disk of its own, which holds the store of the place."""
    folder = place.folder / "disk"
    unmount = mount_of("20m", folder)
    shutil.move(place.folder / "mlflow.db", folder / "mlflow.db")
    yield folder
    unmount()


def fill(disk: Path) -> Repair:
    with contextlib.suppress(OSError), (disk / "filling").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return (disk / "filling").unlink


def make_read_only(disk: Path) -> Repair:
    """Another mount of the folder, since the disk itself is busy."""
    subprocess.run(["mount", "--bind", disk, disk], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", disk], check=True)

    def make_writable() -> None:
        subprocess.run(["umount", "-l", disk], check=True)

    return make_writable


def delete(disk: Path) -> Repair:
    (disk / "mlflow.db").unlink()
    return lambda: None


def delete_experiment(disk: Path) -> Repair:
    client = MlflowClient(f"sqlite:///{disk}/mlflow.db")
    experiment = client.get_experiment_by_name("toys")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    return lambda: client.restore_experiment(experiment.experiment_id)


FAULTS = {
    "full": (fill, "database or disk is full); free disk space, or set MLFLOW_TRACKING_URI"),
    "read-only": (make_read_only, "); make it writable, or set MLFLOW_TRACKING_URI to another store"),
    "deleted": (delete, "was deleted or replaced while it was in use; for each study that it lacks now, run"),
    "experiment deleted": (delete_experiment, "experiment 'toys' was deleted; restore it with `mlflow experiments"),
}


@pytest.mark.fault("the MLflow database deleted, full or read-only, or its experiment deleted, during a study")
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_told_within_ten_seconds_and_everything_is_stored_after_the_repair(
    place: Place, disk: Path, landed: Callable[[], None], fault: str
) -> None:
    damage, message = FAULTS[fault]
    place.write(updates=300, evaluations=10)
    expected = place.undisturbed()
    uri = f"sqlite:///{disk}/mlflow.db"
    process = place.start("run", "toys.toml", "--serial", MLFLOW_TRACKING_URI=uri, **SLOW_TOYS)
    wait_until(lambda: any(entry.result for entry in place.entries()), process)
    repair = damage(disk)
    landed()
    start = time.monotonic()
    log = place.folder / "runs/toys/study.log"
    wait_until(lambda: message in log.read_text(), process)
    assert time.monotonic() - start < TOLD_SECONDS
    repair()
    code, _, err = ended(process)
    assert code == 0, err
    assert sum(message in line for line in err.splitlines()) == 1, err
    assert "harness: MLflow has all results again" in err
    assert place.by_key() == expected
    assert place.stored(uri).keys() == expected.keys()


@pytest.mark.fault("the experiment of a study deleted in MLflow's UI, for good")
def test_study_ends_without_its_experiment_and_sync_completes_it_once_restored(
    place: Place, landed: Callable[[], None]
) -> None:
    place.write(updates=300, evaluations=10)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", "--serial", **SLOW_TOYS)
    wait_until(lambda: any(entry.result for entry in place.entries()), process)
    restore = delete_experiment(place.folder)
    landed()
    code, _, err = ended(process)
    assert code == 1, err
    assert "send the rest later: harness sync toys" in err
    assert place.by_key() == expected, "training did not go on"
    code, _, err = place.run("sync", "toys")
    assert (code, err.count("\n")) == (2, 1), err
    assert "restore it with `mlflow experiments restore -x " in err
    restore()
    code, _, err = place.run("sync", "toys")
    assert code == 0, err
    assert place.stored().keys() == expected.keys()


def revision(place: Place, number: str) -> None:
    with closing(sqlite3.connect(place.folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (number,))


@pytest.mark.fault("the MLflow store has another schema or no driver, or cannot be created")
def test_new_study_is_rejected_with_one_line_and_a_started_one_trains(place: Place, landed: Callable[[], None]) -> None:
    place.write(models='["toy-ema"]', trials=1, repetitions=1)
    with closing(sqlite3.connect(place.folder / "mlflow.db")) as connection:
        (current,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    revision(place, "abc123456789")
    nowhere = f"sqlite:///{place.folder}/toys.toml/mlflow.db"
    (place.folder / "more").mkdir()
    (place.folder / "more" / "psycopg2.py").write_text("raise ModuleNotFoundError('none here', name='psycopg2')\n")
    path = f"{place.folder}/more:{place.environment()['PYTHONPATH']}"
    for uri, message in (
        (place.uri, "the database has the schema of a newer MLflow than the installed"),
        (nowhere, "the MLflow store failed"),
        ("postgresql+psycopg2://127.0.0.1:9/x", "run `pip install psycopg2-binary`, or set MLFLOW_TRACKING_URI"),
    ):
        code, _, err = place.run("run", "toys.toml", "--serial", MLFLOW_TRACKING_URI=uri, PYTHONPATH=path)
        landed()
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
        assert not (place.folder / "runs").exists()
    place.run("run", "toys.toml", "--serial", MLFLOW_TRACKING_URI=f"sqlite:///{place.folder}/other.db", KILL_AT="3")
    code, _, err = place.run("run", "toys.toml", "--serial")
    landed()
    assert code == 1, err
    assert sum("schema of a newer MLflow" in line and "training continues" in line for line in err.splitlines()) == 1
    revision(place, current)
    code, _, err = place.run("sync", "toys")
    assert code == 0, err
    assert len(place.stored()) == 2
