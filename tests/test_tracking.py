from __future__ import annotations

import contextlib
import math
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from harness import content
from harness.errors import TrackingError, UnknownNameError
from harness.ledger import Entry, Ledger
from harness.records import (
    Cell,
    CellFacts,
    Manifest,
    MetricFacts,
    Optimisation,
    Phase,
    Plugin,
    Point,
    TaskRef,
    Training,
    Trial,
    TrialResult,
)
from harness.replay import Tracker, start_replay
from harness.report import build_report
from harness.results import Count, Mark
from harness.seeds import Seeds
from harness.tracking import database_file, prepare_store, read_store, store_uri, study_pages, ui_command

STUDY = "copying"
CREATED = 1_600_000_000.0
TCN = Cell(task="copy", model="tcn")
GRU = Cell(task="copy", model="gru")


@dataclass
class Book:
    """A ledger by hand."""

    folder: Path
    manifest: Manifest
    held: tuple[Entry, ...] = ()

    def entries(self) -> tuple[Entry, ...]:
        return self.held


def facts(cell: Cell, trials: int = 2, repetitions: int = 2) -> CellFacts:
    return CellFacts(
        cell=cell,
        task=TaskRef(name="copy-memory", options={"length": 20}),
        model=cell.model,
        metric=MetricFacts(name="loss", unit="nats", better="lower", margin=0.1, scale="log"),
        parameters=1000,
        floor=2.08,
        published=3.5e-5,
        published_source="Table 1",
        trials=trials,
        repetitions=repetitions,
        fingerprint={"space": "abc"},
    )


def manifest(*cells: CellFacts, study_id: str = "s1", created: float = CREATED) -> Manifest:
    return Manifest(
        study=STUDY, study_id=study_id, created=created, protocol="fair", sampler="random", seed=0, cells=cells
    )


def trial(cell: Cell = TCN, phase: Phase = "search", number: int = 0, winner: str | None = None) -> Trial:
    repetition = number if phase == "final" else None
    return Trial(
        study="s1",
        cell=cell,
        phase=phase,
        number=number,
        task=TaskRef(name="copy-memory", options={"length": 20}),
        model=cell.model,
        params={"kernel_size": 3, "optimizer": "adam", "clip": None},
        build={"kernel_size": 3, "dropout": 0.1},
        widths=(11, 10),
        parameters=1005,
        optimisation=Optimisation(learning_rate=0.002),
        training=Training(updates=20, batch_size=4, evaluate_every=10),
        seeds=Seeds.of(0, 0 if repetition is None else repetition + 1),
        repetition=repetition,
        winner=winner,
        data={"notes.mat": "0f" * 32},
        plugins=(Plugin(name="seqharness-models", version="0.1"),),
    )


def points(count: int, loss: float = 2.0) -> tuple[Point, ...]:
    return tuple(
        Point(
            update=10 * (i + 1),
            epoch=i + 1,
            seconds=i + 1,
            time=CREATED + i + 1,
            learning_rate=0.002,
            train_loss=loss / (i + 1),
            gradient_norm=0.5,
            metrics={"loss": loss / (i + 1)},
        )
        for i in range(count)
    )


def result(score: float | None = 1.0, test: float | None = None, **given: object) -> TrialResult:
    metrics = {"validation": {"loss": score}} if score is not None else {}
    if test is not None:
        metrics |= {"test": {"loss": test}, "test-last3": {"loss": 2 * test}}
    whole: dict[str, object] = {
        "outcome": "complete",
        "score": score,
        "metrics": metrics,
        "updates": 20,
        "started": CREATED + 1,
        "ended": CREATED + 9,
        "node": "n1",
        **given,
    }
    return TrialResult.model_validate(whole)


def complete_cell(folder: Path, cell: Cell = TCN) -> tuple[Entry, ...]:
    """Two search trials, of which the second wins, and its two finals with weights."""
    weights = folder / "checkpoints" / f"{cell.model}.pt"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"weights of " + cell.model.encode())
    best = trial(cell, number=1)
    path = str(weights.relative_to(folder))
    finals = [
        Entry(trial(cell, "final", n, best.key), 1, points(2), result(0.5, test=test, weights=path, test_opened=1))
        for n, test in enumerate((0.01, 0.04))
    ]
    return (Entry(trial(cell), 1, points(2), result(1.0)), Entry(best, 1, points(2), result(0.5)), *finals)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def make_uri(tmp_path: Path, empty_store: Path) -> Callable[[str], str]:
    def make(name: str) -> str:
        (tmp_path / name).mkdir()
        shutil.copy(empty_store, tmp_path / name / "mlflow.db")
        return f"sqlite:///{tmp_path / name}/mlflow.db"

    return make


@pytest.fixture
def uri(make_uri: Callable[[str], str]) -> str:
    return make_uri("store")


@pytest.fixture
def book(tmp_path: Path) -> Book:
    folder = tmp_path / STUDY
    folder.mkdir()
    (folder / "study.toml").write_text('name = "copying"\n')
    return Book(folder, manifest(facts(TCN)), complete_cell(folder))


def stored_runs(uri: str) -> dict[str, Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    keys = Counter(run.data.tags[content.KEY] for run in found)
    assert max(keys.values()) == 1, f"runs stored twice: {keys}"
    return {run.data.tags[content.KEY]: run for run in found}


def contents(uri: str) -> dict[str, object]:
    """Everything the runs hold but their ids, with the whole history of every metric, its NaN equal to one another."""
    client = MlflowClient(uri)
    held: dict[str, object] = {}
    for key, run in stored_runs(uri).items():
        histories = {
            name: [
                (one.step, one.timestamp, repr(one.value)) for one in client.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        held[key] = (run.info.status, run.info.start_time, run.info.end_time, run.data.params, tags, histories, files)
    return held


def history(uri: str, key: str, name: str) -> list[tuple[int, float]]:
    run = stored_runs(uri)[key]
    return [(one.step, one.value) for one in MlflowClient(uri).get_metric_history(run.info.run_id, name)]


def artifact(uri: str, key: str, name: str, folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    return Path(MlflowClient(uri).download_artifacts(stored_runs(uri)[key].info.run_id, name, str(folder))).read_bytes()


def test_store_uri_is_the_environments_or_a_database_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert store_uri(tmp_path) == "http://127.0.0.1:5000"


@pytest.mark.parametrize("name", ["what?now=1", "my%20study", "a#b c"])
def test_store_is_in_its_folder_whatever_the_folder_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / name
    folder.mkdir()
    uri = store_uri(folder)
    prepare_store(uri)
    assert database_file(uri) == folder / "mlflow.db"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "mlflow.db").stat().st_size > 0


def test_prepare_store_creates_a_database_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepare_store(f"sqlite:///{tmp_path}/new/mlflow.db")
    assert (tmp_path / "new" / "mlflow.db").stat().st_size > 0
    assert capfd.readouterr() == ("", "")


def test_prepare_store_refuses_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("not a database " * 100)
    with pytest.raises(TrackingError, match=r"mlflow\.db: the MLflow store failed \(.*not a database\)") as caught:
        prepare_store(f"sqlite:///{path}")
    assert "\n" not in str(caught.value)


def test_error_about_a_store_keeps_its_password_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127\.0\.0\.1:9: the MLflow store failed") as caught:
        prepare_store("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)


def test_ui_command_listens_on_loopback_only(uri: str) -> None:
    command = ui_command(uri, 5001)
    assert command[1:4] == ["-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options == {"--backend-store-uri": uri, "--host": "127.0.0.1", "--port": "5001", "--workers": "1"}


def test_study_has_a_page_that_begins_in_the_mode_for_trainings(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    experiment = MlflowClient(uri).get_experiment_by_name(STUDY)
    assert experiment is not None
    page = f"http://here/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    assert study_pages(uri, "http://here") == {STUDY: page}


def test_ui_command_points_to_a_server_that_has_pages() -> None:
    with pytest.raises(TrackingError, match=r"http://mlflow\.example is a server .*open that address"):
        ui_command("http://mlflow.example", 5001)


def test_pump_makes_a_run_for_the_study_each_cell_and_each_trial(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    held = stored_runs(uri)
    kinds = Counter(run.data.tags[content.KIND] for run in held.values())
    assert kinds == {"study": 1, "cell": 1, "trial": 4}
    parents = {
        run.data.tags.get("mlflow.parentRunId") for run in held.values() if run.data.tags[content.KIND] == "trial"
    }
    assert parents == {held["s1/copy/tcn"].info.run_id}
    assert {run.info.status for run in held.values()} == {"FINISHED"}
    first = held["s1/copy/tcn/search/0"].info
    assert (first.start_time, first.end_time) == (1000 * (CREATED + 1), 1000 * (CREATED + 9))


def test_experiment_opens_at_its_runs_in_the_pages(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    experiment = MlflowClient(uri).get_experiment_by_name(STUDY)
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_pump_keeps_settings_curves_and_results_of_a_trial(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    key = "s1/copy/tcn/final/1"
    run = stored_runs(uri)[key]
    wanted = {
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
    assert wanted.items() <= run.data.params.items()
    assert run.data.metrics["test/loss"] == 0.04
    assert run.data.metrics["test-last3/loss"] == 0.08
    assert run.data.metrics["parameters"] == 1005
    assert history(uri, key, "validation/loss") == [(10, 2.0), (20, 1.0)]
    assert history(uri, key, "score") == [(20, 0.5)]
    tags = {"harness.outcome": "complete", "harness.node": "n1", "harness.phase": "final", "harness.repetition": "1"}
    assert tags.items() <= run.data.tags.items()


def test_pump_again_changes_nothing(book: Book, uri: str) -> None:
    tracker = Tracker(book, uri)
    tracker.pump()
    before = contents(uri)
    tracker.pump()
    Tracker(book, uri).pump()
    assert contents(uri) == before


def test_fresh_tracker_writes_nothing_where_nothing_is_lacking(
    book: Book, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracker(book, uri).pump()
    writes = count_writes(monkeypatch)
    Tracker(book, uri).pump()
    assert writes == []


WRITES = ("create_run", "log_batch", "log_text", "log_artifact", "set_terminated", "update_run")


def count_writes(monkeypatch: pytest.MonkeyPatch, fail_at: int | None = None, *, written: bool = False) -> list[str]:
    """Names of the writes made; the `fail_at`-th is lost, after it took effect where `written`."""
    calls: list[str] = []

    def watched(name: str) -> Callable[..., object]:
        original = getattr(MlflowClient, name)

        def write(*args: object, **given: object) -> object:
            calls.append(name)
            lost = len(calls) - 1 == fail_at
            if lost and not written:
                raise ConnectionError("the network is gone")
            answer: object = original(*args, **given)
            if lost:
                raise ConnectionError("the answer was lost")
            return answer

        return write

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, watched(name))
    return calls


def test_pump_broken_off_at_any_write_is_made_good_by_the_next(
    book: Book, make_uri: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    book.manifest = manifest(facts(TCN, trials=1, repetitions=1))
    search = book.held[1]
    book.held = (search, book.held[2])
    undisturbed = make_uri("undisturbed")
    with monkeypatch.context() as patch:
        writes = count_writes(patch)
        Tracker(book, undisturbed).pump()
        total = len(writes)
    assert set(writes) == {"create_run", "log_batch", "log_text", "log_artifact", "set_terminated"}
    expected = contents(undisturbed)
    for index in range(total):
        uri = make_uri(f"broken-{index}")
        tracker = Tracker(book, uri)
        with monkeypatch.context() as patch:
            count_writes(patch, fail_at=index, written=index % 2 == 0)
            with pytest.raises(TrackingError, match=r"the (network is gone|answer was lost)"):
                tracker.pump()
        (tracker if index % 3 else Tracker(book, uri)).pump()
        assert contents(uri) == expected


def test_report_of_a_store_broken_off_at_any_write_ranks_no_cell_that_is_behind(
    book: Book, make_uri: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = book.held
    for fail_at in (0, 1, 2, 5, 9, 14, 60):
        uri = make_uri(f"halfway-{fail_at}")
        book.held = whole[:1]
        Tracker(book, uri).pump()
        book.held = whole
        with monkeypatch.context() as patch:
            writes = count_writes(patch, fail_at=fail_at)
            with contextlib.suppress(TrackingError):
                Tracker(book, uri).pump()
        (row,) = build_report(read_store(uri, STUDY, curves=True)).rows
        arrived = len(writes) <= fail_at
        assert arrived == (fail_at == 60)
        assert (row.rank, row.complete) == ((1, True) if arrived else (None, False))
        assert arrived or row.standing.startswith("incomplete")


def test_curves_of_finals_are_read_back_where_they_are_asked_for(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    assert read_store(uri, STUDY).curves == {}
    stored = read_store(uri, STUDY, curves=True)
    finals = [entry.trial.key for entry in book.held if entry.trial.phase == "final"]
    curve = {"loss": ((10, 2.0), (20, 1.0)), "gradient_norm": ((10, 0.5), (20, 0.5))}
    assert stored.curves == dict.fromkeys(finals, curve)


def test_curves_are_asked_for_several_at_a_time_and_each_once(
    book: Book, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracker(book, uri).pump()
    expected = read_store(uri, STUDY, curves=True).curves
    asked: list[tuple[str, str]] = []
    other = threading.Barrier(2, timeout=60)  # breaks where no second request comes while the first is under way
    history = MlflowClient.get_metric_history

    def meet(client: MlflowClient, run_id: str, key: str) -> object:
        asked.append((run_id, key))
        other.wait()
        return history(client, run_id, key)

    monkeypatch.setattr(MlflowClient, "get_metric_history", meet)
    assert read_store(uri, STUDY, curves=True).curves == expected
    assert len(asked) == len(set(asked)) == 2 * len(expected) == 4


def test_curve_that_cannot_be_read_is_an_error_of_the_store(
    book: Book, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracker(book, uri).pump()

    def gone(*_: object) -> object:
        raise MlflowException("the network is gone")

    monkeypatch.setattr(MlflowClient, "get_metric_history", gone)
    with pytest.raises(TrackingError, match="the network is gone"):
        read_store(uri, STUDY, curves=True)


def test_curve_of_a_metric_with_a_strange_name_is_read_back(book: Book, uri: str) -> None:
    metric = book.manifest.cells[0].metric.model_copy(update={"name": "größe/x"})
    book.manifest = manifest(facts(TCN).model_copy(update={"metric": metric}))
    named = tuple(point.model_copy(update={"metrics": {"größe/x": 3.0}}) for point in points(2))
    book.held = tuple(replace(entry, points=named) for entry in book.held)
    Tracker(book, uri).pump()
    curves = read_store(uri, STUDY, curves=True).curves
    assert {curve["größe/x"] for curve in curves.values()} == {((10, 3.0), (20, 3.0))}


def test_curve_grows_with_the_ledger(book: Book, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = trial().key
    book.held = (Entry(trial(), 1),)
    tracker = Tracker(book, uri)
    tracker.pump()
    assert stored_runs(uri)[key].info.status == "RUNNING"
    for count in (1, 3):
        book.held = (Entry(trial(), 1, points(count)),)
        tracker.pump()
        assert len(history(uri, key, "validation/loss")) == count
    book.held = (Entry(trial(), 2, points(4), result(0.5)),)
    Tracker(book, uri).pump()
    assert history(uri, key, "validation/loss") == [(10, 2.0), (20, 1.0), (30, pytest.approx(2 / 3)), (40, 0.5)]
    run = stored_runs(uri)[key]
    assert run.info.status == "FINISHED"
    assert run.data.tags[content.ATTEMPT] == "2"


def test_points_that_were_sent_are_not_sent_again(book: Book) -> None:
    entry = Entry(trial(), 1, points(5))
    late = content.trial_content(entry, book.folder, created=CREATED, points_sent=3, begun=True)
    assert {sample.step for sample in late.metrics} == {40, 50}
    assert (late.params, late.tags, late.texts) == ({}, {}, {})


def test_curve_longer_than_a_batch_arrives_whole(book: Book, uri: str) -> None:
    book.held = (Entry(trial(), 1, points(1001), result()),)
    Tracker(book, uri).pump()
    for name in ("train_loss", "validation/loss"):
        values = history(uri, trial().key, name)
        assert [step for step, _ in values] == [10 * (i + 1) for i in range(1001)]


def test_numbers_that_are_not_finite_become_a_tag(book: Book, uri: str) -> None:
    broken = points(2)[1].model_copy(update={"train_loss": float("inf"), "metrics": {"loss": float("nan")}})
    ended = result(outcome="diverged", score=float("inf"), reason="loss is nan")
    book.held = (Entry(trial(), 1, (points(1)[0], broken), ended),)
    Tracker(book, uri).pump()
    run = stored_runs(uri)[trial().key]
    assert run.data.tags["harness.non_finite"] == "train_loss@20, validation/loss@20, score@20, best-validation/loss@20"
    assert history(uri, trial().key, "train_loss") == [(10, 2.0)]
    assert "score" not in run.data.metrics
    assert run.info.status == "FAILED"
    (entry,) = read_store(uri, STUDY).entries
    assert entry.result is not None
    assert entry.result.score == float("inf")


def test_long_values_are_cut_in_the_pages_and_whole_in_the_store(book: Book, uri: str) -> None:
    long = trial().model_copy(update={"params": {"pattern": "x" * 9000}})
    ended = result(outcome="failed", score=None, reason="y" * 9000)
    book.held = (Entry(long, 1, (), ended),)
    Tracker(book, uri).pump()
    run = stored_runs(uri)[long.key]
    assert run.data.params["drawn.pattern"] == "x" * 5999 + "…"
    assert run.data.tags["harness.reason"] == "y" * 4999 + "…"
    assert read_store(uri, STUDY).entries == (Entry(long, 1, (), ended),)


def test_hundreds_of_params_arrive(book: Book, uri: str) -> None:
    wide = trial().model_copy(update={"params": {f"p{i}": i for i in range(333)}})
    book.held = (Entry(wide, 1, (), result()),)
    Tracker(book, uri).pump()
    held = stored_runs(uri)[wide.key].data.params
    assert [held[f"drawn.p{i}"] for i in range(333)] == [str(i) for i in range(333)]


def test_any_metric_name_is_stored(book: Book, uri: str) -> None:
    values = dict(zip(["bits/char", "..", "a|b", "größe", "n" * 400, "a:b", " "], map(float, range(7)), strict=True))
    point = points(1)[0].model_copy(update={"metrics": values})
    ended = result().model_copy(update={"metrics": {"validation": values}})
    book.held = (Entry(trial(), 1, (point,), ended),)
    Tracker(book, uri).pump()
    metrics = stored_runs(uri)[trial().key].data.metrics
    assert [metrics[f"validation/{content.legal_name(name)}"] for name in values] == list(values.values())
    assert read_store(uri, STUDY).entries[0].result == ended


def test_trials_and_results_are_recovered_from_the_store_alone(book: Book, uri: str, tmp_path: Path) -> None:
    Tracker(book, uri).pump()
    shutil.rmtree(book.folder)
    stored = read_store(uri, STUDY)
    assert stored.manifest == book.manifest
    assert set(stored.trials["key"]) == {entry.trial.key for entry in book.held}
    recovered = {entry.trial.key: entry for entry in stored.entries}
    for entry in book.held:
        assert recovered[entry.trial.key] == replace(entry, points=())


def test_final_trial_carries_its_records_and_weights_as_files(book: Book, uri: str, tmp_path: Path) -> None:
    Tracker(book, uri).pump()
    final = book.held[2]
    read = {name: artifact(uri, final.trial.key, name, tmp_path / "got") for name in ("trial.json", "result.json")}
    assert Trial.model_validate_json(read["trial.json"]) == final.trial
    assert TrialResult.model_validate_json(read["result.json"]) == final.result
    assert artifact(uri, final.trial.key, "weights.pt", tmp_path / "got") == b"weights of tcn"


def test_weights_that_are_gone_are_told_and_stop_nothing(book: Book, uri: str) -> None:
    shutil.rmtree(book.folder / "checkpoints")
    Tracker(book, uri).pump()
    run = stored_runs(uri)["s1/copy/tcn/final/0"]
    assert run.data.tags["harness.missing"].endswith("checkpoints/tcn.pt")
    assert run.info.status == "FINISHED"


def test_artifacts_of_a_database_lie_beside_it(book: Book, uri: str, tmp_path: Path) -> None:
    Tracker(book, uri).pump()
    assert list((tmp_path / "store" / "mlartifacts" / STUDY).rglob("weights.pt"))


def test_cell_run_carries_the_aggregates_of_its_finals(book: Book, uri: str, tmp_path: Path) -> None:
    Tracker(book, uri).pump()
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
    assert winner == book.held[1].trial


def test_cell_run_does_not_keep_what_no_longer_holds(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    assert "interval_low" in stored_runs(uri)["s1/copy/tcn"].data.metrics
    won = book.held[1].trial.key
    fails = Entry(trial(TCN, "final", 2, won), 1, (), result(0.1, test=5.0, test_opened=1))
    book.manifest, book.held = manifest(facts(TCN, repetitions=3)), (*book.held, fails)
    Tracker(book, uri).pump()
    mixed = stored_runs(uri)["s1/copy/tcn"].data
    assert math.isnan(mixed.metrics["interval_low"])
    assert math.isnan(mixed.metrics["interval_high"])
    assert mixed.metrics["success_rate"] == pytest.approx(2 / 3)
    assert "harness.non_finite" not in mixed.tags
    better = Entry(trial(number=2), 1, points(1), result(0.01))
    book.manifest, book.held = manifest(facts(TCN, trials=3, repetitions=3)), (*book.held, better)
    Tracker(book, uri).pump()
    anew = stored_runs(uri)["s1/copy/tcn"].data.metrics
    assert math.isnan(anew["mean"])
    assert math.isnan(anew["success_rate"])
    assert anew["best_validation"] == 0.01


def test_cell_run_shows_the_winners_learning_curve_once_the_search_is_over(book: Book, uri: str) -> None:
    whole, book.held = book.held, book.held[1:2]
    tracker = Tracker(book, uri)
    tracker.pump()
    assert not [name for name in stored_runs(uri)["s1/copy/tcn"].data.metrics if name.startswith("curve-of-winner")]
    book.held = whole
    tracker.pump()
    assert history(uri, "s1/copy/tcn", "curve-of-winner-1/validation/loss") == [(10, 2.0), (20, 1.0)]
    better = Entry(trial(number=2), 1, points(3, loss=1.0), result(0.1))
    book.manifest, book.held = manifest(facts(TCN, trials=3)), (*whole, better)
    tracker.pump()
    assert len(history(uri, "s1/copy/tcn", "curve-of-winner-2/validation/loss")) == 3


def test_cell_without_a_complete_trial_is_a_failed_run(book: Book, uri: str) -> None:
    lost = result(outcome="diverged", score=None, reason="loss is nan")
    book.held = tuple(Entry(trial(number=n), 1, (), lost) for n in range(2))
    Tracker(book, uri).pump()
    run = stored_runs(uri)["s1/copy/tcn"]
    assert run.info.status == "FAILED"
    assert run.data.tags["harness.reason"] == "2 diverged: loss is nan"


def test_winner_that_changes_supersedes_the_finals_of_the_old(book: Book, uri: str) -> None:
    tracker = Tracker(book, uri)
    tracker.pump()
    better = trial(number=2)
    final = Entry(trial(TCN, "final", 2, better.key), 1, (), result(0.1, test=0.5, test_opened=1))
    book.manifest = manifest(facts(TCN, trials=3, repetitions=1))
    book.held = (*book.held, Entry(better, 1, (), result(0.1)), final)
    tracker.pump()
    held = stored_runs(uri)
    superseded = {key: run.data.tags[content.SUPERSEDED] for key, run in held.items() if "/final/" in key}
    prefix = "s1/copy/tcn/final"
    assert superseded == {f"{prefix}/0": "true", f"{prefix}/1": "true", f"{prefix}/2": "false"}
    assert held["s1/copy/tcn"].data.metrics["mean"] == 0.5
    assert held["s1/copy/tcn"].data.metrics["test_opened"] == 3
    trials = read_store(uri, STUDY).trials
    assert set(trials[trials["superseded"]]["key"]) == {f"{prefix}/0", f"{prefix}/1"}


def test_superseded_final_that_never_ended_does_not_keep_the_study_running(book: Book, uri: str) -> None:
    old = Entry(trial(TCN, "final", 2, trial(number=0).key), 1)
    book.held = (*book.held, old)
    Tracker(book, uri).pump()
    held = stored_runs(uri)
    assert held[old.trial.key].data.tags[content.SUPERSEDED] == "true"
    assert held["s1"].info.status == "FINISHED"


def test_trial_that_has_not_ended_keeps_the_study_running(book: Book, uri: str) -> None:
    book.held = (*book.held, Entry(trial(TCN, "final", 2, trial(number=1).key), 1))
    Tracker(book, uri).pump()
    assert stored_runs(uri)["s1"].info.status == "RUNNING"


def test_cell_that_is_granted_more_runs_again(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    again = facts(TCN, repetitions=3).model_copy(update={"published": 4e-5})  # MLflow refuses a param that changes
    book.manifest = manifest(again, facts(GRU))
    Tracker(book, uri).pump()
    held = stored_runs(uri)
    assert held["s1/copy/tcn"].info.status == "RUNNING"
    assert held["s1/copy/tcn"].data.tags["harness.repetitions_granted"] == "3"
    assert held["s1/copy/gru"].info.status == "RUNNING"
    assert held["s1"].info.status == "RUNNING"
    assert read_store(uri, STUDY).manifest == book.manifest


def test_study_run_carries_its_file_and_the_mark(book: Book, uri: str, tmp_path: Path) -> None:
    book.held = (*book.held[:3], replace(book.held[3], result=None))
    Tracker(book, uri).pump()
    run = stored_runs(uri)["s1"]
    assert (run.data.tags["harness.trials_total"], run.data.tags["harness.trials_ended"]) == ("4", "3")
    assert artifact(uri, "s1", "study.toml", tmp_path / "got") == b'name = "copying"\n'
    mark = read_store(uri, STUDY).mark
    assert mark == Mark({("copy/tcn", "final"): Count(2, 1), ("copy/tcn", "search"): Count(2, 2)})


def test_mark_of_many_cells_is_read_back(tmp_path: Path, uri: str) -> None:
    cells = [Cell(task=f"{i:02d}{'x' * 98}", model="tcn") for i in range(42)]
    entries = tuple(Entry(trial(cell), 1) for cell in cells)
    book = Book(tmp_path, manifest(*(facts(cell) for cell in cells)), entries)
    Tracker(book, uri).pump()
    assert stored_runs(uri)["s1"].data.tags[content.MARK] == content.MARK_FILE
    assert read_store(uri, STUDY).mark == Mark.of(entries)


def test_report_is_kept_with_the_study(book: Book, uri: str, tmp_path: Path) -> None:
    Tracker(book, uri).log_report({"report.md": "# größe\n", "report.parquet": b"\x00\xff"})
    assert artifact(uri, "s1", "report/report.md", tmp_path / "got") == "# größe\n".encode()
    assert artifact(uri, "s1", "report/report.parquet", tmp_path / "got") == b"\x00\xff"


def test_read_store_takes_the_newest_study_of_a_name(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    newer = manifest(facts(GRU), study_id="s2", created=CREATED + 100)
    Tracker(Book(book.folder, newer), uri).pump()
    stored = read_store(uri, STUDY)
    assert (stored.manifest.study_id, stored.others, stored.entries) == ("s2", ("s1",), ())
    assert list(stored.trials.columns[:3]) == ["key", "task", "model"]
    older = read_store(uri, STUDY, "s1")
    assert (older.manifest.study_id, older.others, len(older.entries)) == ("s1", ("s2",), 4)
    with pytest.raises(UnknownNameError, match="has no id 's3'; it has: s2, s1"):
        read_store(uri, STUDY, "s3")


def test_read_store_says_what_is_close_to_an_unknown_study(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    with pytest.raises(UnknownNameError, match="'copyng' is not there; did you mean 'copying'\\? Studies: copying"):
        read_store(uri, "copyng")


def test_trial_frame_has_a_row_a_trial_with_its_scores(book: Book, uri: str) -> None:
    Tracker(book, uri).pump()
    trials = read_store(uri, STUDY).trials.set_index("key")
    assert len(trials) == 4
    final = trials.loc["s1/copy/tcn/final/1"]
    assert (final["test/loss"], final["test-last3/loss"], final["repetition"], final["widths"]) == (
        0.04,
        0.08,
        1,
        "11 10",
    )
    assert list(trials["params.kernel_size"]) == [3, 3, 3, 3]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for a server a second, once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.mark.usefixtures("hasty")
def test_server_that_does_not_answer_is_told_in_a_few_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = r"failed \(no answer within 1 s; a larger MLFLOW_HTTP_REQUEST_TIMEOUT waits longer\); mend it"
        with pytest.raises(TrackingError, match=told):
            read_store(f"http://127.0.0.1:{silent.getsockname()[1]}", STUDY)


@pytest.mark.usefixtures("hasty")
def test_server_that_is_not_there_is_told_in_a_few_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    with pytest.raises(TrackingError, match=r"failed \(nothing listens there, or it cannot be reached\)"):
        read_store(f"http://127.0.0.1:{port}", STUDY)


def test_experiment_that_was_deleted_is_an_error_with_a_way_out(book: Book, uri: str) -> None:
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment(STUDY))
    with pytest.raises(TrackingError, match="'copying' was deleted there; bring it back"):
        Tracker(book, uri).pump()


def test_replay_follows_a_ledger_and_drains_at_the_end(tmp_path: Path, uri: str) -> None:
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


def test_replay_tells_at_the_end_that_the_store_failed(book: Book, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database " * 100)
    replay = start_replay(Tracker(book, f"sqlite:///{tmp_path}/mlflow.db"), interval_seconds=0.05)
    message = replay.close(timeout=1)
    assert message is not None
    assert "the MLflow store failed" in message


def test_replay_waits_at_the_end_for_a_store_that_comes_back(
    book: Book, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    pump = Tracker.pump

    def away(self: Tracker) -> None:
        asked.append(self.uri)
        if len(asked) < 4:
            raise TrackingError("the store is away")
        pump(self)

    monkeypatch.setattr(Tracker, "pump", away)
    replay = start_replay(Tracker(book, uri), interval_seconds=0.05)
    assert replay.close(timeout=60) is None
    assert len(stored_runs(uri)) == 6


def test_replay_sends_what_failed_once_the_store_is_back(book: Book, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = count_writes(monkeypatch, fail_at=3)
    replay = start_replay(Tracker(book, uri), interval_seconds=0.05)
    while len(writes) < 4:
        replay.join(0.01)
    assert replay.close(timeout=30) is None
    assert len(stored_runs(uri)) == 6
