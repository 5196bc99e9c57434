"""What a trial changes in its process, and the trials after it."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from harness.api.dataset import Batch, Dataset, Split
from harness.api.model import Model
from harness.api.signature import Signature
from harness.api.task import Metric, Task, Total
from harness.execution import serial
from harness.execution.isolation import Isolation
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.worker_settings import WORKER_SETTINGS
from harness.plugin.process_settings import read_settings
from harness.plugin.registry import Entry, Registry
from harness.records import Plugin, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.seeds import Seeds
from harness.study.plan import make_plan
from harness.study.schema import Study
from tests.execution.test_serial import ListSource
from tests.support.toys import MEDDLES, ToyEma, ToySum, commit

RESTORED = {
    "double": "torch default dtype (torch.float64)",
    "no-gradients": "torch gradients (False)",
    "inference": "torch gradients (False), torch inference mode (True)",
    "meta-device": "torch default device (meta)",
    "deterministic": "torch deterministic algorithms (2)",
    "threads": "torch number of threads (3)",
    "autocast": "torch autocast",
    "backend": "mathematical attention (False)",
    "environment": "environment (HARNESS_DATA, OMP_NUM_THREADS)",
    "folder": "working folder (/)",
    "signals": "signal handlers (SIGTERM)",
    "warnings": "warnings filters",
    "logging": "root logger",
}


class InLoad(ToySum):
    name: ClassVar[str] = "in-load"
    fault: str = "none"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        commit(self.fault)
        return super().load(split, seeds, files)


class InLoss(ToySum):
    name: ClassVar[str] = "in-loss"
    fault: str = "none"

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        commit(self.fault)
        return super().loss(output, batch)


class InMetrics(ToySum):
    name: ClassVar[str] = "in-metrics"
    fault: str = "none"

    def metrics(self) -> tuple[Metric, ...]:
        commit(self.fault)
        return super().metrics()


TASKS: tuple[type[Task], ...] = (InLoad, InLoss, InMetrics)


@pytest.fixture(autouse=True)
def _data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", "/data")


@pytest.fixture
def registry(toy_registry: Registry) -> Registry:
    plugin = Plugin(name="meddling", version="1.7")
    entries = {task.name: Entry(task.name, task, plugin, "here") for task in TASKS}
    return replace(toy_registry, tasks={**toy_registry.tasks, **entries})


@pytest.fixture
def worker(tmp_path: Path, registry: Registry) -> Worker:
    return Worker(tmp_path, registry)


@pytest.fixture
def trials(toy_study: Callable[..., Study], toy_registry: Registry) -> list[Trial]:
    plan = make_plan(toy_study(), toy_registry).cells[0]
    state = CellState(Proposer(plan, seed=0), study_id="id")
    return [state.search_trial(number) for number in range(3)]


def of_model(trial: Trial, fault: str) -> Trial:
    return trial.model_copy(update={"build": {**trial.build, "fault": fault}})


def of_task(trial: Trial, task: str, fault: str) -> Trial:
    options = {**trial.task.options, "fault": fault}
    return trial.model_copy(update={"task": trial.task.model_copy(update={"name": task, "options": options})})


def run(trials: list[Trial], worker: Worker, *, together: int = 1) -> tuple[list[TrialResult], list[str]]:
    source = ListSource(list(trials), together=together)
    before = read_settings(WORKER_SETTINGS)
    run_serial(source, worker)
    after = read_settings(WORKER_SETTINGS)
    assert [name for name in before if after[name] != before[name]] == []
    return source.results, source.notes


@pytest.mark.parametrize("slice_seconds", [0.0, 5.0])
@pytest.mark.parametrize("fault", RESTORED)
def test_change_in_training_is_named_and_the_next_trial_is_as_if_alone(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, fault: str, slice_seconds: float
) -> None:
    monkeypatch.setattr(serial, "SLICE_SECONDS", slice_seconds)
    (expected,), _ = run(trials[1:2], worker)
    results, notes = run([of_model(trials[0], fault), trials[1]], worker)
    assert len(results) == 2
    assert (results[1].outcome, results[1].score) == ("complete", expected.score)
    (note,) = notes
    code = "task 'toy-sum' or model 'toy-ema' of toys unknown"
    assert note.startswith(f"{code} changes settings of the process in training: {RESTORED[fault]}")
    assert note.endswith("; restored")
    assert "secret" not in note


@pytest.mark.parametrize("task", [task.name for task in TASKS])
@pytest.mark.parametrize("fault", ["double", "meta-device", "environment"])
def test_change_by_a_task_is_restored_and_its_plugin_is_named(
    worker: Worker, trials: list[Trial], task: str, fault: str
) -> None:
    (expected,), _ = run(trials[1:2], worker)
    results, notes = run([of_task(trials[0], task, fault), trials[1]], worker)
    assert len(results) == 2
    assert (results[1].outcome, results[1].score) == ("complete", expected.score)
    load = f"task {task!r} of meddling 1.7 changes settings of the process in load: "
    either = (
        f"task {task!r} of meddling 1.7 or model 'toy-ema' of toys unknown changes settings of the process in train"
    )
    assert notes[0].startswith(load if task == "in-load" else either)


class InBuild(ToyEma):
    name: ClassVar[str] = "in-build"

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        commit("environment")
        raise ValueError("after a change")


def test_change_by_a_build_that_then_raises_is_restored_and_named(
    tmp_path: Path, trials: list[Trial], registry: Registry
) -> None:
    entry: Entry[Model] = Entry("in-build", InBuild(), Plugin(name="meddling", version="1.7"), "here")
    worker = Worker(tmp_path, replace(registry, models={**registry.models, "in-build": entry}))
    (result,), notes = run([trials[0].model_copy(update={"model": "in-build"})], worker)
    assert result.outcome == "failed"
    where = "model 'in-build' of meddling 1.7 changes settings of the process in build"
    assert notes == [f"{where}: environment (HARNESS_DATA, OMP_NUM_THREADS); restored"]


def test_change_by_a_stack_is_restored(worker: Worker, trials: list[Trial]) -> None:
    (expected,), _ = run(trials[2:], worker)
    first = of_model(trials[0], "double")
    second = first.model_copy(update={"number": 1, "seeds": trials[1].seeds})
    results, notes = run([first, second], worker, together=2)
    assert len(results) == 2
    assert any("torch default dtype (torch.float64)" in note for note in notes)
    results, _ = run(trials[2:], worker)
    assert results[0].score == expected.score


@pytest.mark.parametrize("fault", ["double", "meta-device"])
def test_split_that_is_loaded_after_a_change_is_as_before_it(worker: Worker, trials: list[Trial], fault: str) -> None:
    """The test split is loaded after training and kept for the final trials of every model."""
    final = trials[0].model_copy(update={"phase": "final", "repetition": 0, "winner": trials[0].key, "draw": None})
    run([of_model(final, fault)], worker)
    (result,), _ = run([final.model_copy(update={"number": 1})], worker)
    assert (result.outcome, result.test_opened) == ("complete", 1), result.reason


def test_harmless_trial_leaves_no_note(worker: Worker, trials: list[Trial]) -> None:
    assert run(trials, worker)[1] == []


def test_change_that_stays_is_noted_once_per_worker(worker: Worker, trials: list[Trial]) -> None:
    faulty = of_model(trials[0], "threads")
    _, notes = run([faulty, faulty.model_copy(update={"number": 7})], worker)
    assert len(notes) == 1


def test_what_another_thread_does_to_warnings_is_not_undone() -> None:
    """MLflow enters `catch_warnings` in a separate thread."""
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inside.set()
            leave.wait(10)

    before = list(warnings.filters)
    thread = threading.Thread(target=other)
    notes: list[str] = []
    with Isolation().around("code", "training", notes):
        thread.start()
        inside.wait(10)
    leave.set()
    thread.join()
    assert (notes, list(warnings.filters)) == ([], before)


def test_interval_timer_of_a_trial_does_not_ring_later() -> None:
    of_pytest = signal.setitimer(signal.ITIMER_REAL, 0)
    notes: list[str] = []
    with Isolation().around("code", "training", notes):
        signal.alarm(60)
    left = signal.alarm(0)
    signal.setitimer(signal.ITIMER_REAL, *of_pytest)
    assert left == 0
    assert "interval timer" in notes[0]


def test_folder_that_is_gone_cannot_be_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    isolation = Isolation()
    notes: list[str] = []
    with isolation.around("code", "training", notes):
        os.chdir("/")
        gone.rmdir()
    monkeypatch.chdir(tmp_path)
    assert notes == [
        "code changes settings of the process in training: working folder (/); they cannot be restored, "
        "so no other trial runs here"
    ]
    assert isolation.lost.startswith("code changes settings of the process in training: working folder (/)")


def test_every_meddling_toy_is_tested() -> None:
    assert {*RESTORED, "interop-threads"} == set(MEDDLES)
    assert torch.get_default_dtype() == torch.float32
