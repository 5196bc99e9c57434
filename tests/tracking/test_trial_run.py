"""The contents of a trial's run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.ledger.journal import TrialEntry
from harness.records import (
    Trial,
    TrialResult,
)
from harness.seeds import Seeds
from harness.tracking import run_data, trial_run
from harness.tracking.reader import read_store
from harness.tracking.sync import Tracker
from tests.support.tracked import (
    CREATED,
    STUDY,
    FakeLedger,
    artifact,
    history,
    points,
    result,
    stored_runs,
    trial,
)


def test_run_has_settings_curves_and_results_of_its_trial(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    key = "s1/copy/tcn/final/1"
    run = stored_runs(uri)[key]
    expected = {
        "drawn.kernel_size": "3",
        "drawn.clip": "null",
        "build.dropout": "0.1",
        "widths": "[11, 10]",
        "optimisation.learning_rate": "0.002",
        "optimisation.schedule.kind": "constant",
        "training.updates": "20",
        "task.options.length": "20",
        "seeds.init": str(Seeds.of(0, 2).init),
    }
    assert expected.items() <= run.data.params.items()
    assert run.data.metrics["test/loss"] == 0.04
    assert run.data.metrics["test-last3/loss"] == 0.08
    assert run.data.metrics["parameters"] == 1005
    assert history(uri, key, "validation/loss") == [(10, 2.0), (20, 1.0)]
    assert history(uri, key, "score") == [(20, 0.5)]
    tags = {"harness.outcome": "complete", "harness.node": "n1", "harness.phase": "final", "harness.repetition": "1"}
    assert tags.items() <= run.data.tags.items()


def test_curve_grows_with_the_ledger(ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = trial().key
    ledger.trials = (TrialEntry(trial(), 1),)
    tracker = Tracker(ledger, uri)
    tracker.sync()
    assert stored_runs(uri)[key].info.status == "RUNNING"
    for count in (1, 3):
        ledger.trials = (TrialEntry(trial(), 1, points(count)),)
        tracker.sync()
        assert len(history(uri, key, "validation/loss")) == count
    ledger.trials = (TrialEntry(trial(), 2, points(4), result(0.5)),)
    Tracker(ledger, uri).sync()
    assert history(uri, key, "validation/loss") == [(10, 2.0), (20, 1.0), (30, pytest.approx(2 / 3)), (40, 0.5)]
    run = stored_runs(uri)[key]
    assert run.info.status == "FINISHED"
    assert run.data.tags[run_data.ATTEMPT] == "2"


def test_points_that_were_sent_are_not_sent_again(ledger: FakeLedger) -> None:
    entry = TrialEntry(trial(), 1, points(5))
    data = trial_run.trial_run_data(entry, ledger.folder, created=CREATED, points_sent=3, params_sent=True)
    assert {sample.step for sample in data.metrics} == {40, 50}
    assert (data.params, data.tags, data.texts) == ({}, {}, {})


def test_curve_longer_than_a_batch_arrives_completely(ledger: FakeLedger, uri: str) -> None:
    ledger.trials = (TrialEntry(trial(), 1, points(1001), result()),)
    Tracker(ledger, uri).sync()
    for name in ("train_loss", "validation/loss"):
        values = history(uri, trial().key, name)
        assert [step for step, _ in values] == [10 * (i + 1) for i in range(1001)]


def test_non_finite_numbers_become_a_tag(ledger: FakeLedger, uri: str) -> None:
    broken = points(2)[1].model_copy(update={"train_loss": float("inf"), "metrics": {"loss": float("nan")}})
    ended = result(outcome="diverged", score=float("inf"), reason="loss is nan")
    ledger.trials = (TrialEntry(trial(), 1, (points(1)[0], broken), ended),)
    Tracker(ledger, uri).sync()
    run = stored_runs(uri)[trial().key]
    assert run.data.tags["harness.non_finite"] == "train_loss@20, validation/loss@20, score@20, best-validation/loss@20"
    assert history(uri, trial().key, "train_loss") == [(10, 2.0)]
    assert "score" not in run.data.metrics
    assert run.info.status == "FAILED"
    (entry,) = read_store(uri, STUDY).entries
    assert entry.result is not None
    assert entry.result.score == float("inf")


def test_long_values_are_cut_in_the_ui_and_complete_in_the_store(ledger: FakeLedger, uri: str) -> None:
    long = trial().model_copy(update={"params": {"pattern": "x" * 9000}})
    ended = result(outcome="failed", score=None, reason="y" * 9000)
    ledger.trials = (TrialEntry(long, 1, (), ended),)
    Tracker(ledger, uri).sync()
    run = stored_runs(uri)[long.key]
    assert run.data.params["drawn.pattern"] == "x" * 5999 + "…"
    assert run.data.tags["harness.reason"] == "y" * 4999 + "…"
    assert read_store(uri, STUDY).entries == (TrialEntry(long, 1, (), ended),)


def test_hundreds_of_params_arrive(ledger: FakeLedger, uri: str) -> None:
    wide = trial().model_copy(update={"params": {f"p{i}": i for i in range(333)}})
    ledger.trials = (TrialEntry(wide, 1, (), result()),)
    Tracker(ledger, uri).sync()
    params = stored_runs(uri)[wide.key].data.params
    assert [params[f"drawn.p{i}"] for i in range(333)] == [str(i) for i in range(333)]


def test_any_metric_name_is_stored(ledger: FakeLedger, uri: str) -> None:
    values = dict(zip(["bits/char", "..", "a|b", "größe", "n" * 400, "a:b", " "], map(float, range(7)), strict=True))
    point = points(1)[0].model_copy(update={"metrics": values})
    ended = result().model_copy(update={"metrics": {"validation": values}})
    ledger.trials = (TrialEntry(trial(), 1, (point,), ended),)
    Tracker(ledger, uri).sync()
    metrics = stored_runs(uri)[trial().key].data.metrics
    assert [metrics[f"validation/{run_data.legal_name(name)}"] for name in values] == list(values.values())
    assert read_store(uri, STUDY).entries[0].result == ended


def test_final_trial_has_its_records_and_weights_as_artifacts(ledger: FakeLedger, uri: str, tmp_path: Path) -> None:
    Tracker(ledger, uri).sync()
    final = ledger.trials[2]
    read = {name: artifact(uri, final.trial.key, name, tmp_path / "got") for name in ("trial.json", "result.json")}
    assert Trial.model_validate_json(read["trial.json"]) == final.trial
    assert TrialResult.model_validate_json(read["result.json"]) == final.result
    assert artifact(uri, final.trial.key, "weights.pt", tmp_path / "got") == b"weights of tcn"


def test_missing_weights_become_a_tag_and_stop_nothing(ledger: FakeLedger, uri: str) -> None:
    shutil.rmtree(ledger.folder / "checkpoints")
    Tracker(ledger, uri).sync()
    run = stored_runs(uri)["s1/copy/tcn/final/0"]
    assert run.data.tags["harness.missing"].endswith("checkpoints/tcn.pt")
    assert run.info.status == "FINISHED"


def test_artifacts_of_a_database_are_in_its_folder(ledger: FakeLedger, uri: str, tmp_path: Path) -> None:
    Tracker(ledger, uri).sync()
    assert list((tmp_path / "store" / "mlartifacts" / STUDY).rglob("weights.pt"))
