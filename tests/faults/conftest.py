"""Count the faults that the tests inject, and print a table at the end: fault, times injected, tests, passed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.tracking.client import prepare_store
from tests.faults.place import Place, install_toys

FAULT, INJECTED = "fault", "injected"
"""Properties of a test's report: its row of the table, and one entry for each time that the fault was injected."""


@pytest.fixture
def landed(request: pytest.FixtureRequest) -> Callable[[], None]:
    """A function to call once for each time that the test's fault was injected."""
    assert _fault(request.node) is not None, "a test that injects a fault must name its row: @pytest.mark.fault(...)"
    return lambda: request.node.user_properties.append((INJECTED, True))


def _fault(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("fault")
    return None if marker is None else marker.args[0]


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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    fault = _fault(item)
    if fault is not None:
        item.user_properties.append((FAULT, fault))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table from the reports, which also arrive from other processes."""
    rows: dict[str, list[pytest.TestReport]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            for name, fault in report.user_properties:
                if name == FAULT:
                    rows.setdefault(str(fault), []).append(report)
    if not rows:
        return
    terminalreporter.section("faults injected")
    width = max(map(len, rows))
    terminalreporter.line(f"{'fault'.ljust(width)}  injected  tests  passed")
    for fault, reports in rows.items():
        injected = sum(name == INJECTED for report in reports for name, _ in report.user_properties)
        passed = sum(report.passed for report in reports)
        terminalreporter.line(f"{fault.ljust(width)}  {injected:8}  {len(reports):5}  {passed:6}")
