"""A SQLite file that cannot be written, is deleted or is replaced."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.errors import TrackingError
from harness.tracking import sqlite_file
from harness.tracking.client import prepare_store
from harness.tracking.sqlite_file import database_file
from harness.tracking.sync import Tracker
from tests.support.tracked import STUDY, FakeLedger, contents


@pytest.fixture
def read_only(tmp_path: Path, empty_store: Path) -> Iterator[Path]:
    """A folder on a read-only disk, with a store: permissions do not bind the user root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("name", ["mlflow.db", "new.db", "more/new.db"])
def test_read_only_store_is_an_error_before_training(read_only: Path, name: str) -> None:
    with pytest.raises(TrackingError, match=r"(readonly database|disk cannot be written)\); make it writable, or set"):
        prepare_store(f"sqlite:///{read_only}/{name}")


@pytest.mark.slow
def test_several_processes_create_one_database_at_the_same_time(tmp_path: Path) -> None:
    """As two studies do that are started at once in a new folder."""
    code = (
        f"from harness.tracking.client import prepare_store as p; print(); input(); p('sqlite:///{tmp_path}/mlflow.db')"
    )
    pipe, command = subprocess.PIPE, [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate()[1][-500:] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors


def test_check_of_a_store_leaves_it_as_it_is(uri: str) -> None:
    path = database_file(uri)
    assert path is not None
    before = path.read_bytes()
    prepare_store(uri)
    assert path.read_bytes() == before


def test_store_that_another_program_has_locked_is_not_called_read_only(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "LOCK_SECONDS", 0.1)
    other = sqlite3.connect(str(database_file(uri)), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    prepare_store(uri)
    other.close()


def test_deleted_experiment_is_an_error_before_training(uri: str) -> None:
    prepare_store(uri, STUDY)
    experiment = MlflowClient(uri).get_experiment_by_name(STUDY)
    assert experiment is not None
    MlflowClient(uri).delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackingError, match="'copying' was deleted; restore it with `mlflow experiments restore -x "):
        prepare_store(uri, STUDY)
    MlflowClient(uri).restore_experiment(experiment.experiment_id)
    prepare_store(uri, STUDY)


def runs_in(path: Path) -> int:
    """Return the number of runs in the file itself: MLflow reads a deleted file that it has open."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])


@pytest.mark.parametrize("new", [False, True], ids=["deleted", "replaced"])
def test_store_that_was_deleted_has_the_whole_study_again(
    ledger: FakeLedger, uri: str, empty_store: Path, tmp_path: Path, new: bool
) -> None:
    """Also in the process that had it open."""
    path = database_file(uri)
    assert path is not None
    tracker = Tracker(ledger, uri)
    tracker.sync()
    expected = contents(uri)
    path.unlink()
    if new:
        shutil.copy(empty_store, tmp_path / "new.db")
        (tmp_path / "new.db").rename(path)
    with pytest.raises(TrackingError, match="was deleted or replaced while it was in use; for each study that it "):
        tracker.sync()
    tracker.sync()
    assert contents(uri) == expected
    assert runs_in(path) == 6


def test_second_study_of_a_process_is_stored_after_its_store_was_deleted(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    path = database_file(uri)
    assert path is not None
    path.unlink()
    prepare_store(uri)
    Tracker(ledger, uri).sync()
    assert runs_in(path) == 6
