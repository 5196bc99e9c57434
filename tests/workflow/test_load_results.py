"""Reading a study that is not there: the message names what is missing, and nothing is created."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.errors import HarnessError, LedgerError, TrackingError, UnknownNameError
from harness.tracking.client import prepare_store
from tests.support.command import run_command


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


READERS: dict[str, Callable[[], object]] = {
    "name": lambda: harness.load_results("quickstart"),
    "path": lambda: harness.load_results("run/quickstart"),
    "nested path": lambda: harness.load_results("run/quickstart/"),
    "store": lambda: harness.load_results("quickstart", tracking_uri="sqlite:///other.db"),
    "winner": lambda: harness.load_winner("run/quickstart"),
}


@pytest.mark.parametrize("reader", READERS)
def test_reader_creates_nothing(reader: str) -> None:
    with pytest.raises(HarnessError) as caught:
        READERS[reader]()
    assert "\n" not in str(caught.value)
    assert list(Path.cwd().iterdir()) == []


COMMANDS = [
    "report quickstart",
    "sync quickstart",
    "export quickstart --to evidence",
    "predict quickstart rows.csv",
    "ui",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_that_reads_creates_nothing(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command(monkeypatch, *command.split()) == 2
    assert list(Path.cwd().iterdir()) == []


def test_sync_of_a_folder_without_a_study_creates_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("runs/quickstart").mkdir(parents=True)
    assert run_command(monkeypatch, "sync", "quickstart") == 2
    assert [path.name for path in Path.cwd().iterdir()] == ["runs"]


@pytest.mark.parametrize(
    "path", ["run/quickstart", "./quickstart", "run/quickstart/", "a/b/c", "/none/quickstart", "~/x"]
)
def test_missing_folder_is_named(path: str) -> None:
    with pytest.raises((LedgerError, TrackingError), match=rf"^{path}: no such folder.*; give the folder of one, such"):
        harness.load_results(path)


def test_name_or_folder_that_mlflow_lacks_is_named() -> None:
    prepare_store("sqlite:///mlflow.db")
    with pytest.raises(UnknownNameError, match=r"mlflow\.db: the store has no study 'quickstart'; Studies: none"):
        harness.load_results("quickstart")
    with pytest.raises(UnknownNameError, match=r"^run/quickstart: no such folder, and not found in MLflow \(.* 'run'"):
        harness.load_results("run/quickstart")
    Path("quickstart").mkdir()
    with pytest.raises(UnknownNameError, match=r"^quickstart: holds no study, and not found in MLflow"):
        harness.load_results("quickstart")
