"""Studies read back from MLflow."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from harness.analysis.stored_study import SyncMark
from harness.errors import TrackingError, UnknownNameError
from harness.ledger.journal import TrialEntry
from harness.records import (
    Cell,
)
from harness.report import frames
from harness.report.report import build_report
from harness.tracking import run_data
from harness.tracking.reader import read_store
from harness.tracking.sync import Tracker
from tests.support.tracked import (
    CREATED,
    GRU,
    STUDY,
    TCN,
    FakeLedger,
    count_writes,
    facts,
    manifest,
    points,
    stored_runs,
    trial,
)


def test_report_after_a_failed_sync_ranks_no_incomplete_cell(
    ledger: FakeLedger, make_uri: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = ledger.trials
    for fail_at in (0, 1, 2, 5, 9, 14, 60):
        uri = make_uri(f"halfway-{fail_at}")
        ledger.trials = complete[:1]
        Tracker(ledger, uri).sync()
        ledger.trials = complete
        with monkeypatch.context() as patch:
            writes = count_writes(patch, fail_at=fail_at)
            with contextlib.suppress(TrackingError):
                Tracker(ledger, uri).sync()
        (row,) = build_report(read_store(uri, STUDY, curves=True)).rows
        arrived = len(writes) <= fail_at
        assert arrived == (fail_at == 60)
        assert (row.rank, row.complete) == ((1, True) if arrived else (None, False))
        assert arrived or row.status.startswith("incomplete")


def test_curves_of_finals_are_read_back_on_request(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    assert read_store(uri, STUDY).curves == {}
    stored = read_store(uri, STUDY, curves=True)
    finals = [entry.trial.key for entry in ledger.trials if entry.trial.phase == "final"]
    curve = {"loss": ((10, 2.0), (20, 1.0)), "gradient_norm": ((10, 0.5), (20, 0.5))}
    assert stored.curves == dict.fromkeys(finals, curve)


def test_curves_are_requested_concurrently_and_each_once(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracker(ledger, uri).sync()
    expected = read_store(uri, STUDY, curves=True).curves
    requests: list[tuple[str, str]] = []
    both = threading.Barrier(2, timeout=60)  # breaks if no second request comes while the first is open
    history = MlflowClient.get_metric_history

    def meet(client: MlflowClient, run_id: str, key: str) -> object:
        requests.append((run_id, key))
        both.wait()
        return history(client, run_id, key)

    monkeypatch.setattr(MlflowClient, "get_metric_history", meet)
    assert read_store(uri, STUDY, curves=True).curves == expected
    assert len(requests) == len(set(requests)) == 2 * len(expected) == 4


def test_curve_that_cannot_be_read_is_an_error_of_the_store(
    ledger: FakeLedger, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracker(ledger, uri).sync()

    def fail(*_: object) -> object:
        raise MlflowException("the network is gone")

    monkeypatch.setattr(MlflowClient, "get_metric_history", fail)
    with pytest.raises(TrackingError, match="the network is gone"):
        read_store(uri, STUDY, curves=True)


def test_curve_of_a_metric_with_an_unusual_name_is_read_back(ledger: FakeLedger, uri: str) -> None:
    metric = ledger.manifest.cells[0].metric.model_copy(update={"name": "größe/x"})
    ledger.manifest = manifest(facts(TCN).model_copy(update={"metric": metric}))
    named = tuple(point.model_copy(update={"metrics": {"größe/x": 3.0}}) for point in points(2))
    ledger.trials = tuple(replace(entry, points=named) for entry in ledger.trials)
    Tracker(ledger, uri).sync()
    curves = read_store(uri, STUDY, curves=True).curves
    assert {curve["größe/x"] for curve in curves.values()} == {((10, 3.0), (20, 3.0))}


def test_trials_and_results_are_recovered_from_the_store_alone(ledger: FakeLedger, uri: str, tmp_path: Path) -> None:
    Tracker(ledger, uri).sync()
    shutil.rmtree(ledger.folder)
    stored = read_store(uri, STUDY)
    assert stored.manifest == ledger.manifest
    assert set(frames.trials(stored)["key"]) == {entry.trial.key for entry in ledger.trials}
    recovered = {entry.trial.key: entry for entry in stored.entries}
    for entry in ledger.trials:
        assert recovered[entry.trial.key] == replace(entry, points=())


def test_mark_of_many_cells_is_read_back(tmp_path: Path, uri: str) -> None:
    cells = [Cell(task=f"{i:02d}{'x' * 98}", model="tcn") for i in range(42)]
    entries = tuple(TrialEntry(trial(cell), 1) for cell in cells)
    ledger = FakeLedger(tmp_path, manifest(*(facts(cell) for cell in cells)), entries)
    Tracker(ledger, uri).sync()
    assert stored_runs(uri)["s1"].data.tags[run_data.MARK] == run_data.MARK_FILE
    assert read_store(uri, STUDY).mark == SyncMark.of(entries)


def test_read_store_returns_the_newest_study_of_a_name(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    newer = manifest(facts(GRU), study_id="s2", created=CREATED + 100)
    Tracker(FakeLedger(ledger.folder, newer), uri).sync()
    stored = read_store(uri, STUDY)
    assert (stored.manifest.study_id, stored.others, stored.entries) == ("s2", ("s1",), ())
    assert list(frames.trials(stored).columns[:3]) == ["key", "task", "model"]
    older = read_store(uri, STUDY, "s1")
    assert (older.manifest.study_id, older.others, len(older.entries)) == ("s1", ("s2",), 4)
    with pytest.raises(UnknownNameError, match="has no id 's3'; it has: s2, s1"):
        read_store(uri, STUDY, "s3")


def test_read_store_suggests_a_study_with_a_similar_name(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    with pytest.raises(
        UnknownNameError, match="the store has no study 'copyng'; did you mean 'copying'\\? Studies: copying"
    ):
        read_store(uri, "copyng")


def test_trial_frame_has_one_row_per_trial_with_its_scores(ledger: FakeLedger, uri: str) -> None:
    Tracker(ledger, uri).sync()
    trials = frames.trials(read_store(uri, STUDY)).set_index("key")
    assert len(trials) == 4
    final = trials.loc["s1/copy/tcn/final/1"]
    assert (final["test/loss"], final["test-last3/loss"], final["repetition"], final["widths"]) == (
        0.04,
        0.08,
        1,
        "11 10",
    )
    assert list(trials["params.kernel_size"]) == [3, 3, 3, 3]
