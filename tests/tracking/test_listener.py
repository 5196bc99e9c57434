"""The listener through which a running study reaches MLflow."""

from __future__ import annotations

from pathlib import Path

from harness.ledger.ledger import Ledger
from harness.tracking.listener import TrackingListener
from tests.support.tracked import TCN, artifact, facts, history, manifest, points, result, stored_runs, trial


def test_trials_and_the_report_reach_mlflow(tmp_path: Path, uri: str) -> None:
    ledger = Ledger(tmp_path, manifest(facts(TCN)))
    listener = TrackingListener(uri).begin(ledger)
    ledger.begin(trial())
    listener.harness_trial_started()
    for point in points(3):
        ledger.report(trial().key, point)
        listener.harness_trial_reported()
    ledger.finish(trial().key, result())
    listener.harness_trial_finished()
    assert listener.close(30) is None
    assert len(history(uri, trial().key, "train_loss")) == 3
    assert stored_runs(uri)[trial().key].info.status == "FINISHED"
    listener.keep_report({"report.md": "# report\n"})
    assert artifact(uri, "s1", "report/report.md", tmp_path / "got") == b"# report\n"


def test_failure_of_the_store_is_returned_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database " * 100)
    listener = TrackingListener(f"sqlite:///{tmp_path}/mlflow.db").begin(Ledger(tmp_path, manifest(facts(TCN))))
    error = listener.close(1)
    assert error is not None
    assert "the MLflow store failed" in error


def test_listener_of_a_study_that_never_started_has_nothing_to_send(tmp_path: Path) -> None:
    listener = TrackingListener(f"sqlite:///{tmp_path}/mlflow.db")
    listener.harness_trial_started()
    listener.keep_report({"report.md": ""})
    assert listener.close(1) is None
    assert not list(tmp_path.iterdir())
