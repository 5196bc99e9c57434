"""A ledger made by hand, and what the MLflow runs of its study hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from harness.ledger.journal import TrialEntry
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
from harness.seeds import Seeds
from harness.tracking import run_data

STUDY = "copying"
CREATED = 1_600_000_000.0
TCN = Cell(task="copy", model="tcn")
GRU = Cell(task="copy", model="gru")


@dataclass
class FakeLedger:
    """A ledger made by hand."""

    folder: Path
    manifest: Manifest
    trials: tuple[TrialEntry, ...] = ()

    def entries(self) -> tuple[TrialEntry, ...]:
        return self.trials


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
    fields: dict[str, object] = {
        "outcome": "complete",
        "score": score,
        "metrics": metrics,
        "updates": 20,
        "started": CREATED + 1,
        "ended": CREATED + 9,
        "node": "n1",
        **given,
    }
    return TrialResult.model_validate(fields)


def complete_cell(folder: Path, cell: Cell = TCN) -> tuple[TrialEntry, ...]:
    """Return two search trials and two finals with weights; the second search trial is the winner."""
    weights = folder / "checkpoints" / f"{cell.model}.pt"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"weights of " + cell.model.encode())
    winner = trial(cell, number=1)
    path = str(weights.relative_to(folder))
    finals = [
        TrialEntry(
            trial(cell, "final", n, winner.key), 1, points(2), result(0.5, test=test, weights=path, test_opened=1)
        )
        for n, test in enumerate((0.01, 0.04))
    ]
    return (TrialEntry(trial(cell), 1, points(2), result(1.0)), TrialEntry(winner, 1, points(2), result(0.5)), *finals)


def stored_runs(uri: str) -> dict[str, Run]:
    """Return the runs of the study by key.  Fails if two runs have the same key."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    keys = Counter(run.data.tags[run_data.KEY] for run in runs)
    assert max(keys.values()) == 1, f"runs stored twice: {keys}"
    return {run.data.tags[run_data.KEY]: run for run in runs}


def contents(uri: str) -> dict[str, object]:
    """Return everything that the runs hold but their ids, with the whole history of every metric; NaN equals NaN."""
    client = MlflowClient(uri)
    by_key: dict[str, object] = {}
    for key, run in stored_runs(uri).items():
        histories = {
            name: [
                (metric.step, metric.timestamp, repr(metric.value))
                for metric in client.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        by_key[key] = (run.info.status, run.info.start_time, run.info.end_time, run.data.params, tags, histories, files)
    return by_key


def history(uri: str, key: str, name: str) -> list[tuple[int, float]]:
    """Return a metric of a run as (step, value)."""
    run = stored_runs(uri)[key]
    metrics = MlflowClient(uri).get_metric_history(run.info.run_id, name)
    return [(metric.step, metric.value) for metric in metrics]


def artifact(uri: str, key: str, name: str, folder: Path) -> bytes:
    """Return the content of an artifact, which is downloaded to `folder`."""
    folder.mkdir(exist_ok=True)
    return Path(MlflowClient(uri).download_artifacts(stored_runs(uri)[key].info.run_id, name, str(folder))).read_bytes()


WRITES = ("create_run", "log_batch", "log_text", "log_artifact", "set_terminated", "update_run")


def count_writes(monkeypatch: pytest.MonkeyPatch, fail_at: int | None = None, *, written: bool = False) -> list[str]:
    """Return a list to which the name of each write is added.

    Write number `fail_at`, from 0, raises ConnectionError; if `written`, it takes effect before.
    """
    calls: list[str] = []

    def counted(name: str) -> Callable[..., object]:
        original = getattr(MlflowClient, name)

        def write(*args: object, **given: object) -> object:
            calls.append(name)
            fails = len(calls) - 1 == fail_at
            if fails and not written:
                raise ConnectionError("the network is gone")
            response: object = original(*args, **given)
            if fails:
                raise ConnectionError("the response was lost")
            return response

        return write

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, counted(name))
    return calls
