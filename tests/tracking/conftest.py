"""MLflow stores in SQLite databases, and a ledger to send to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.tracking.client import prepare_store
from tests.support.tracked import (
    STUDY,
    TCN,
    FakeLedger,
    complete_cell,
    facts,
    manifest,
)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, which takes seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def make_uri(tmp_path: Path, empty_store: Path) -> Callable[[str], str]:
    """Makes an empty store in a folder with this name."""

    def make(name: str) -> str:
        (tmp_path / name).mkdir()
        shutil.copy(empty_store, tmp_path / name / "mlflow.db")
        return f"sqlite:///{tmp_path / name}/mlflow.db"

    return make


@pytest.fixture
def uri(make_uri: Callable[[str], str]) -> str:
    return make_uri("store")


@pytest.fixture
def ledger(tmp_path: Path) -> FakeLedger:
    """A study with one complete cell."""
    folder = tmp_path / STUDY
    folder.mkdir()
    (folder / "study.toml").write_text('name = "copying"\n')
    return FakeLedger(folder, manifest(facts(TCN)), complete_cell(folder))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for a server for one second, without retries."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
