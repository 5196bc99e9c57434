"""The ledger sent to MLflow, at once and by a thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.stored_study import Count, SyncMark
from harness.errors import TrackingError
from harness.ledger.journal import TrialEntry
from harness.ledger.ledger import Ledger
from harness.report import frames
from harness.tracking import run_data
from harness.tracking.reader import read_store
from harness.tracking.sync import Tracker, start_replay
from tests.support.tracked import (
    CREATED,
    GRU,
    STUDY,
    TCN,
    FakeLedger,
    artifact,
    contents,
    count_writes,
    facts,
    history,
    manifest,
    points,
    result,
    stored_runs,
    trial,
)


def test_sync_creates_a_run_for_the_study_each_cell_and_each_trial(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    runs = stored_runs(uri)
    kinds = Counter(run.data.tags[run_data.KIND] for run in runs.values())
    assert kinds == {"study": 1, "cell": 1, "trial": 4}
    parents = {
        run.data.tags.get("mlflow.parentRunId") for run in runs.values() if run.data.tags[run_data.KIND] == "trial"
    }
    assert parents == {runs["s1/copy/tcn"].info.run_id}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    first = runs["s1/copy/tcn/search/0"].info
    assert (first.start_time, first.end_time) == (1000 * (CREATED + 1), 1000 * (CREATED + 9))


def test_second_sync_changes_nothing(ledger: FakeLedger, uri: str) -> None:
    tracker = Tracker(ledger, uri)
    tracker.sync()
    before = contents(uri)
    tracker.sync()
    Tracker(ledger, uri).sync()
    assert contents(uri) == before


def test_new_tracker_writes_nothing_if_nothing_is_missing(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracker(ledger, uri).sync()
    writes = count_writes(monkeypatch)
    Tracker(ledger, uri).sync()
    assert writes == []


def test_sync_that_fails_at_any_write_is_completed_by_the_next(
    ledger: FakeLedger, make_uri: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.manifest = manifest(facts(TCN, trials=1, repetitions=1))
    search = ledger.trials[1]
    ledger.trials = (search, ledger.trials[2])
    undisturbed = make_uri("undisturbed")
    with monkeypatch.context() as patch:
        writes = count_writes(patch)
        Tracker(ledger, undisturbed).sync()
        total = len(writes)
    assert set(writes) == {"create_run", "log_batch", "log_text", "log_artifact", "set_terminated"}
    expected = contents(undisturbed)
    for index in range(total):
        uri = make_uri(f"broken-{index}")
        tracker = Tracker(ledger, uri)
        with monkeypatch.context() as patch:
            count_writes(patch, fail_at=index, written=index % 2 == 0)
            with pytest.raises(TrackingError, match=r"the (network is gone|response was lost)"):
                tracker.sync()
        (tracker if index % 3 else Tracker(ledger, uri)).sync()
        assert contents(uri) == expected


def test_new_winner_supersedes_the_finals_of_the_earlier_one(ledger: FakeLedger, uri: str) -> None:
    tracker = Tracker(ledger, uri)
    tracker.sync()
    better = trial(number=2)
    final = TrialEntry(trial(TCN, "final", 2, better.key), 1, (), result(0.1, test=0.5, test_opened=1))
    ledger.manifest = manifest(facts(TCN, trials=3, repetitions=1))
    ledger.trials = (*ledger.trials, TrialEntry(better, 1, (), result(0.1)), final)
    tracker.sync()
    runs = stored_runs(uri)
    superseded = {key: run.data.tags[run_data.SUPERSEDED] for key, run in runs.items() if "/final/" in key}
    prefix = "s1/copy/tcn/final"
    assert superseded == {f"{prefix}/0": "true", f"{prefix}/1": "true", f"{prefix}/2": "false"}
    assert runs["s1/copy/tcn"].data.metrics["mean"] == 0.5
    assert runs["s1/copy/tcn"].data.metrics["test_opened"] == 3
    trials = frames.trials(read_store(uri, STUDY))
    assert set(trials[trials["superseded"]]["key"]) == {f"{prefix}/0", f"{prefix}/1"}


def test_superseded_final_without_a_result_does_not_keep_the_study_running(ledger: FakeLedger, uri: str) -> None:
    old = TrialEntry(trial(TCN, "final", 2, trial(number=0).key), 1)
    ledger.trials = (*ledger.trials, old)
    Tracker(ledger, uri).sync()
    runs = stored_runs(uri)
    assert runs[old.trial.key].data.tags[run_data.SUPERSEDED] == "true"
    assert runs["s1"].info.status == "FINISHED"


def test_trial_without_a_result_keeps_the_study_running(ledger: FakeLedger, uri: str) -> None:
    ledger.trials = (*ledger.trials, TrialEntry(trial(TCN, "final", 2, trial(number=1).key), 1))
    Tracker(ledger, uri).sync()
    assert stored_runs(uri)["s1"].info.status == "RUNNING"


def test_cell_with_a_larger_budget_is_running_again(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    again = facts(TCN, repetitions=3).model_copy(update={"published": 4e-5})  # MLflow refuses a param that changes
    ledger.manifest = manifest(again, facts(GRU))
    Tracker(ledger, uri).sync()
    runs = stored_runs(uri)
    assert runs["s1/copy/tcn"].info.status == "RUNNING"
    assert runs["s1/copy/tcn"].data.tags["harness.repetitions_granted"] == "3"
    assert runs["s1/copy/gru"].info.status == "RUNNING"
    assert runs["s1"].info.status == "RUNNING"
    assert read_store(uri, STUDY).manifest == ledger.manifest


def test_study_run_has_the_study_file_and_the_mark(ledger: FakeLedger, uri: str, tmp_path: Path) -> None:
    ledger.trials = (*ledger.trials[:3], replace(ledger.trials[3], result=None))
    Tracker(ledger, uri).sync()
    run = stored_runs(uri)["s1"]
    assert (run.data.tags["harness.trials_total"], run.data.tags["harness.trials_ended"]) == ("4", "3")
    assert artifact(uri, "s1", "study.toml", tmp_path / "got") == b'name = "copying"\n'
    mark = read_store(uri, STUDY).mark
    assert mark == SyncMark({("copy/tcn", "final"): Count(2, 1), ("copy/tcn", "search"): Count(2, 2)})


def test_report_is_stored_with_the_study(ledger: FakeLedger, uri: str, tmp_path: Path) -> None:
    Tracker(ledger, uri).log_report({"report.md": "# größe\n", "report.parquet": b"\x00\xff"})
    assert artifact(uri, "s1", "report/report.md", tmp_path / "got") == "# größe\n".encode()
    assert artifact(uri, "s1", "report/report.parquet", tmp_path / "got") == b"\x00\xff"


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

    def fail_at_first(self: Tracker) -> None:
        calls.append(self.uri)
        if len(calls) < 4:
            raise TrackingError("the disk is full; free disk space")
        sync(self)

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

    def fail_at_first(self: Tracker) -> None:
        calls.append(self.uri)
        if len(calls) < 4:
            raise TrackingError("MLflow is unreachable")
        sync(self)

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
