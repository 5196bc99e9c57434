"""The thread that sends a ledger to MLflow: to the end, in spite of errors."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import pytest

from harness.errors import TrackingError
from harness.ledger.ledger import Ledger
from harness.tracking.replay import start_replay
from harness.tracking.sync import Tracker
from tests.support.tracked import (
    TCN,
    FakeLedger,
    count_writes,
    facts,
    history,
    manifest,
    points,
    result,
    stored_runs,
    trial,
)


def test_replay_follows_a_ledger_and_sends_the_rest_at_the_end(tmp_path: Path, uri: str) -> None:
    ledger = Ledger(tmp_path, manifest(facts(TCN)))
    replay = start_replay(Tracker(ledger, uri), interval_seconds=0.05)
    ledger.begin(trial())
    for point in points(5):
        ledger.report(trial().key, point)
        replay.wake()
    ledger.finish(trial().key, result())
    assert replay.close(timeout=30) is None
    assert len(history(uri, trial().key, "train_loss")) == 5
    assert stored_runs(uri)[trial().key].info.status == "FINISHED"


def test_replay_reports_at_the_end_that_the_store_failed(ledger: FakeLedger, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database " * 100)
    replay = start_replay(Tracker(ledger, f"sqlite:///{tmp_path}/mlflow.db"), interval_seconds=0.05)
    message = replay.close(timeout=1)
    assert message is not None
    assert "the MLflow store failed" in message


def test_replay_tells_an_error_once_and_when_everything_is_stored_again(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    said: list[str] = []
    sync = Tracker.sync

    def fail_at_first(self: Tracker, seconds: float = math.inf) -> bool:
        calls.append(self.uri)
        if len(calls) < 4:
            raise TrackingError("the disk is full; free disk space")
        return sync(self, seconds)

    monkeypatch.setattr(Tracker, "sync", fail_at_first)
    replay = start_replay(Tracker(ledger, uri), interval_seconds=0.05, tell=said.append)
    while len(said) < 2:
        replay.join(0.01)
        assert replay.is_alive()
    assert replay.close(timeout=60) is None
    assert said == ["the disk is full; free disk space; training continues", "MLflow has all results again"]


def test_replay_waits_at_the_end_for_a_store_that_recovers(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync = Tracker.sync

    def fail_at_first(self: Tracker, seconds: float = math.inf) -> bool:
        calls.append(self.uri)
        if len(calls) < 4:
            raise TrackingError("MLflow is unreachable")
        return sync(self, seconds)

    monkeypatch.setattr(Tracker, "sync", fail_at_first)
    replay = start_replay(Tracker(ledger, uri), interval_seconds=0.05)
    assert replay.close(timeout=60) is None
    assert len(stored_runs(uri)) == 6


def test_replay_repeats_a_failed_write_once_the_store_recovers(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = count_writes(monkeypatch, fail_at=3)
    replay = start_replay(Tracker(ledger, uri), interval_seconds=0.05)
    while len(writes) < 4:
        replay.join(0.01)
    assert replay.close(timeout=30) is None
    assert len(stored_runs(uri)) == 6


@pytest.mark.parametrize("enabled", [True, False])
def test_system_metrics_are_logged_with_the_study_if_mlflow_is_told_to(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    ledger = Ledger(tmp_path, manifest(facts(TCN)))
    ledger.begin(trial())
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", str(enabled).lower())
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")

    def logged() -> set[str]:
        return {name for name in stored_runs(uri)[ledger.manifest.study_id].data.metrics if name.startswith("system/")}

    tracker = Tracker(ledger, uri)
    tracker.sync()
    replay = start_replay(tracker, interval_seconds=0.05)
    until = time.monotonic() + (60 if enabled else 1)
    while not logged() and time.monotonic() < until:
        time.sleep(0.05)
    assert replay.close(timeout=60) is None
    assert ("system/cpu_utilization_percentage" in logged()) is enabled
    assert [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"] == []
