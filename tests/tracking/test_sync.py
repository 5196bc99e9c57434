"""The ledger sent to MLflow, at once and by a thread."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from harness.analysis.stored_study import Count, SyncMark
from harness.errors import TrackingError
from harness.ledger.journal import TrialEntry
from harness.report import frames
from harness.tracking import run_data
from harness.tracking.reader import read_store
from harness.tracking.sent import Sent
from harness.tracking.store import Store
from harness.tracking.sync import Tracker
from tests.support.tracked import (
    CREATED,
    GRU,
    STUDY,
    TCN,
    FakeLedger,
    artifact,
    complete_cell,
    contents,
    count_writes,
    facts,
    manifest,
    result,
    stored_runs,
    trial,
)

Contents = tuple[object, object, object, object, object, object, object]


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


def sent_trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the key of each trial is added that a tracker sends."""
    keys: list[str] = []
    send = Tracker._send_trial

    def counted(self: Tracker, sent: Sent, entry: TrialEntry) -> None:
        keys.append(entry.trial.key)
        send(self, sent, entry)

    monkeypatch.setattr(Tracker, "_send_trial", counted)
    return keys


def growth(trials: tuple[TrialEntry, ...]) -> list[tuple[TrialEntry, ...]]:
    """Return the states of a ledger while these trials run two at a time: each starts, reports twice and ends."""
    states: list[tuple[TrialEntry, ...]] = []
    current: dict[str, TrialEntry] = {}
    for pair in (trials[:2], trials[2:]):
        for step in range(4):
            for entry in pair:
                stage = entry if step == 3 else TrialEntry(entry.trial, 1, entry.points[:step])
                current[entry.trial.key] = stage
            states.append(tuple(current.values()))
    return states


@pytest.mark.parametrize("seconds", [0.0, 0.02, math.inf])
def test_passes_with_a_time_limit_store_the_same_in_the_end(
    ledger: FakeLedger, make_uri: Callable[[str], str], seconds: float
) -> None:
    once, often = make_uri("once"), make_uri("often")
    Tracker(ledger, once).sync()
    tracker, whole = Tracker(ledger, often), ledger.trials
    for ledger.trials in growth(whole):
        tracker.sync(seconds)
    assert tracker.sync()
    assert _timeless(contents(once)) == _timeless(contents(often))


def _timeless(runs: dict[str, object]) -> dict[str, object]:
    """Return all but what depends on the moments of the syncs: start times, and the curves of cells over their trials.

    A run that is created before its trial has reported starts when it is created.
    """
    kept: dict[str, object] = {}
    for key, (status, _, end, params, tags, histories, files) in cast(dict[str, Contents], runs).items():
        kept[key] = (status, end, params, tags, histories if "/search/" in key or "/final/" in key else (), files)
    return kept


def test_trials_that_have_ended_are_sent_first(ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, whole = Tracker(ledger, uri), ledger.trials
    tracker.clock = lambda: 0.0
    running = replace(whole[0], result=None)
    ledger.trials = (replace(running, points=()),)
    tracker.sync(60.0)
    ledger.trials = (running, replace(whole[1], result=None, points=()), whole[2])
    sent = sent_trials(monkeypatch)
    tracker.sync(60.0)
    assert sent == [whole[2].trial.key, whole[1].trial.key, whole[0].trial.key]
    assert not tracker.sync(0.0) or tracker.sync()


def test_trials_in_training_take_a_twentieth_of_the_time(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store that takes a second per trial, a trial in training is sent again after twenty seconds."""
    tracker, whole = Tracker(ledger, uri), ledger.trials
    sent, now = sent_trials(monkeypatch), [100.0]
    tracker.clock = lambda: now[0] + len(sent)
    running = replace(whole[0], result=None)
    ledger.trials = (replace(running, points=()),)
    tracker.sync(60.0)
    ledger.trials = (running, whole[2])
    assert not tracker.sync(60.0)
    now[0] += 15
    assert not tracker.sync(60.0)
    assert sent == [whole[0].trial.key, whole[2].trial.key]
    now[0] += 5
    tracker.sync(60.0)
    assert sent[2:] == [whole[0].trial.key]


def test_trials_in_training_take_turns(ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With time for one trial per pass, and news of all in each pass."""
    tracker, whole = Tracker(ledger, uri), ledger.trials[:3]
    sent, now = sent_trials(monkeypatch), [100.0]
    tracker.clock = lambda: now[0] + len(sent)
    for _ in range(7):
        ledger.trials = tuple(replace(entry, result=None) for entry in whole)
        tracker.sync(1.0)
        now[0] += 20
    tracker.sync(0.0)  # without time for any trial
    now[0] += 20
    ledger.trials = tuple(replace(entry, result=None) for entry in whole)
    tracker.sync(1.0)
    keys = [entry.trial.key for entry in whole]
    assert sent == [*keys, *keys, keys[0], keys[1]]


def test_trial_that_has_not_changed_costs_nothing(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, whole = Tracker(ledger, uri), ledger.trials
    ledger.trials = (whole[0], replace(whole[1], result=None))
    tracker.sync()
    sent = sent_trials(monkeypatch)
    ledger.trials = whole[:2]
    tracker.sync()
    assert sent == [whole[1].trial.key]


def test_ended_trial_takes_three_requests(ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run, its contents, its status.  A run that is created with its tags has the same as one that gets them."""
    ledger.trials = ()
    tracker = Tracker(ledger, uri)
    tracker.sync()
    ledger.trials = complete_cell(ledger.folder)[:1]
    writes = count_writes(monkeypatch)
    tracker._send_trial(Sent(Store(uri, ledger.manifest)), ledger.trials[0])
    assert writes == ["create_run", "log_batch", "set_terminated"]
