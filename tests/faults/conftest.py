"""Count the faults that the tests inject, and print a table at the end: fault, times injected, tests, passed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.tracking.client import prepare_store
from tests.faults.place import Place, install_toys


@dataclass
class Row:
    """The row of one kind of fault."""

    injected: int = 0
    outcomes: list[str] = field(default_factory=list)


Table = dict[str, Row]
_TABLE = pytest.StashKey[Table]()


def _row(item: pytest.Item) -> Row | None:
    marker = item.get_closest_marker("fault")
    if marker is None:
        return None
    return item.config.stash.setdefault(_TABLE, {}).setdefault(marker.args[0], Row())


@pytest.fixture
def landed(request: pytest.FixtureRequest) -> Callable[[], None]:
    """A function to call once for each time that the test's fault was injected."""
    row = _row(request.node)
    assert row is not None, "a test that injects a fault must name its row: @pytest.mark.fault(...)"

    def count() -> None:
        row.injected += 1

    return count


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The toys as an installed distribution, also for this process."""
    folder = install_toys(tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, which takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def place(tmp_path: Path, site: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A folder in which the command runs in separate processes, with the toys as the only plugin."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    place = Place(tmp_path, site)
    yield place
    place.end_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    row = _row(item)
    if row is not None and (report.when == "call" or report.outcome != "passed"):
        row.outcomes.append(report.outcome)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash.get(_TABLE, {})
    if not table:
        return
    terminalreporter.section("faults injected")
    width = max(map(len, table))
    terminalreporter.line(f"{'fault'.ljust(width)}  injected  tests  passed")
    for name, row in table.items():
        passed = row.outcomes.count("passed")
        terminalreporter.line(f"{name.ljust(width)}  {row.injected:8}  {len(row.outcomes):5}  {passed:6}")
