"""The contents of a cell's run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.ledger.journal import TrialEntry
from harness.records import (
    Trial,
)
from harness.tracking.sync import Tracker
from tests.support.tracked import (
    TCN,
    FakeLedger,
    artifact,
    facts,
    history,
    manifest,
    points,
    result,
    stored_runs,
    trial,
)


def test_run_has_the_summary_of_the_finals(ledger: FakeLedger, uri: str, tmp_path: Path) -> None:
    Tracker(ledger, uri).sync()
    run = stored_runs(uri)["s1/copy/tcn"]
    metrics = run.data.metrics
    assert metrics["mean"] == pytest.approx(0.02)  # geometric, of 0.01 and 0.04
    assert metrics["median"] == pytest.approx(0.025)
    assert metrics["interval_low"] * metrics["interval_high"] == pytest.approx(0.02**2)
    assert metrics["last3_mean"] == pytest.approx(0.04)
    assert (metrics["best_validation"], metrics["trials_done"], metrics["repetitions_done"]) == (0.5, 2, 2)
    assert (metrics["success_rate"], metrics["success_high"]) == (1.0, 1.0)
    assert metrics["success_low"] == pytest.approx(0.025**0.5)
    assert (metrics["outcomes/complete"], metrics["outcomes/diverged"], metrics["test_opened"]) == (4, 0, 2)
    assert run.data.params["metric.better"] == "lower"
    assert run.data.params["parameters"] == "1000"
    assert run.data.tags["harness.winner"] == trial(number=1).key
    assert artifact(uri, "s1/copy/tcn", "weights.pt", tmp_path / "got") == b"weights of tcn"
    winner = Trial.model_validate_json(artifact(uri, "s1/copy/tcn", "winner.json", tmp_path / "got"))
    assert winner == ledger.trials[1].trial


def test_values_that_no_longer_hold_become_nan(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    assert "interval_low" in stored_runs(uri)["s1/copy/tcn"].data.metrics
    winner = ledger.trials[1].trial.key
    fails = TrialEntry(trial(TCN, "final", 2, winner), 1, (), result(0.1, test=5.0, test_opened=1))
    ledger.manifest, ledger.trials = manifest(facts(TCN, repetitions=3)), (*ledger.trials, fails)
    Tracker(ledger, uri).sync()
    mixed = stored_runs(uri)["s1/copy/tcn"].data
    assert math.isnan(mixed.metrics["interval_low"])
    assert math.isnan(mixed.metrics["interval_high"])
    assert mixed.metrics["success_rate"] == pytest.approx(2 / 3)
    assert "harness.non_finite" not in mixed.tags
    better = TrialEntry(trial(number=2), 1, points(1), result(0.01))
    ledger.manifest, ledger.trials = manifest(facts(TCN, trials=3, repetitions=3)), (*ledger.trials, better)
    Tracker(ledger, uri).sync()
    metrics = stored_runs(uri)["s1/copy/tcn"].data.metrics
    assert math.isnan(metrics["mean"])
    assert math.isnan(metrics["success_rate"])
    assert metrics["best_validation"] == 0.01


def test_run_shows_the_winner_s_learning_curve_once_the_search_has_ended(ledger: FakeLedger, uri: str) -> None:
    complete, ledger.trials = ledger.trials, ledger.trials[1:2]
    tracker = Tracker(ledger, uri)
    tracker.sync()
    assert not [name for name in stored_runs(uri)["s1/copy/tcn"].data.metrics if "curve" in name]
    ledger.trials = complete
    tracker.sync()
    assert history(uri, "s1/copy/tcn", "winner-curve/validation/loss") == [(10, 2.0), (20, 1.0)]
    better = TrialEntry(trial(number=2), 1, points(3, loss=1.0), result(0.1))
    ledger.manifest, ledger.trials = manifest(facts(TCN, trials=3)), (*complete, better)
    tracker.sync()
    assert len(history(uri, "s1/copy/tcn", "winner-2-curve/validation/loss")) == 3


def test_cell_without_a_complete_trial_is_a_failed_run(ledger: FakeLedger, uri: str) -> None:
    diverged = result(outcome="diverged", score=None, reason="loss is nan")
    ledger.trials = tuple(TrialEntry(trial(number=n), 1, (), diverged) for n in range(2))
    Tracker(ledger, uri).sync()
    run = stored_runs(uri)["s1/copy/tcn"]
    assert run.info.status == "FAILED"
    assert run.data.tags["harness.reason"] == "2 diverged: loss is nan"
