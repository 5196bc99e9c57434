"""Trials that share a worker: each with its own curve and result, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from harness.api.dataset import Arrays, Batch, Dataset, Split
from harness.api.task import Metric, Task, Total
from harness.errors import UserInterrupt
from harness.execution.trial import Worker
from harness.execution.trial_group import ActiveGroup
from harness.plugin.registry import Entry, Registry
from harness.records import Plugin, Point, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.seeds import Seeds
from harness.study.plan import make_plan
from harness.study.schema import Study
from tests.support.toys import Ema, ToyEma, ToySum

MakeStudy = Callable[..., Study]
FOREVER = 1e9
TOYS = Plugin(name="toys", version="unknown")


class Marked(ToySum):
    """A task with larger targets in repetition 1, so that its data differ from those of the others."""

    name: ClassVar[str] = "marked"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        data = super().load(split, seeds, files)
        assert isinstance(data, Arrays)
        if seeds != Seeds.of(0, 2) or split == "test":
            return data
        return replace(data, targets=data.targets + 100)


class FailsInTraining(Marked):
    name: ClassVar[str] = "fails-in-training"

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        if output.requires_grad and float(batch.targets.mean()) > 50:
            raise ArithmeticError("marked data")
        return super().loss(output, batch)


class FailsInEvaluation(Marked):
    name: ClassVar[str] = "fails-in-evaluation"

    def metrics(self) -> tuple[Metric, ...]:
        def score(sums: Any) -> float:
            value = sums["mse"][0] / sums["mse"][1]
            if value > 1000:
                raise ArithmeticError("marked data")
            return float(value)

        return (Metric("mse", "", "lower", score),)


class FailsToLoad(Marked):
    name: ClassVar[str] = "fails-to-load"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        if seeds == Seeds.of(0, 2):
            raise ArithmeticError("marked data")
        return super().load(split, seeds, files)


class Unstackable(ToyEma):
    """Several at once need more memory than there is."""

    name: ClassVar[str] = "unstackable"

    def build(self, signature: Any, widths: tuple[int, ...], **params: Any) -> nn.Module:
        class Large(Ema):
            def stack(self, count: int) -> nn.Module:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

        return Large(signature.in_features, widths[0], bias=True, dropout=0.0, fault="none")


def entry(value: Any) -> Entry[Any]:  # a task's class or a model
    return Entry(value.name, value, TOYS, "tests.test_group")


@pytest.fixture
def worker(tmp_path: Path, toy_registry: Registry) -> Worker:
    tasks = (Marked, FailsInTraining, FailsInEvaluation, FailsToLoad)
    registry = replace(
        toy_registry,
        tasks={**toy_registry.tasks, **{task.name: entry(task) for task in tasks}},
        models={**toy_registry.models, "unstackable": entry(Unstackable())},
    )
    return Worker(tmp_path, registry)


@pytest.fixture
def finals(toy_study: MakeStudy, toy_registry: Registry) -> list[Trial]:
    """Three final trials of one setting without dropout, forty updates each."""
    plan = make_plan(toy_study(training={"updates": 40, "batch_size": 8, "evaluations": 10}), toy_registry).cells[0]
    search = CellState(Proposer(plan, seed=0), study_id="id").search_trial(0)
    search = search.model_copy(update={"build": {**search.build, "dropout": 0.0}})
    return [
        search.model_copy(
            update={"phase": "final", "number": r, "seeds": Seeds.of(0, r + 1), "repetition": r, "winner": search.key}
        )
        for r in range(3)
    ]


def of_task(trials: list[Trial], task: type[Task]) -> list[Trial]:
    return [t.model_copy(update={"task": t.task.model_copy(update={"name": task.name})}) for t in trials]


Told = dict[int, tuple[list[Point], TrialResult, list[str]]]
"""Number of a trial → its points, its result and its notes."""


def run_group(worker: Worker, trials: list[Trial], seconds: float = FOREVER, attempt: int = 1) -> Told:
    group = ActiveGroup([worker.start(trial, attempt) for trial in trials])
    points: dict[int, list[Point]] = {trial.number: [] for trial in trials}
    notes: dict[int, list[str]] = {trial.number: [] for trial in trials}
    results: dict[int, TrialResult] = {}
    while not group.ended:
        for trial, progress in group.advance(seconds):
            assert trial.number not in results, "something was told of a trial that had ended"
            points[trial.number] += progress.points
            notes[trial.number] += progress.notes
            if progress.result is not None:
                results[trial.number] = progress.result
    return {number: (points[number], results[number], notes[number]) for number in points}


def assert_alike(actual: Told, expected: Told, numbers: tuple[int, ...] = (0, 1, 2)) -> None:
    for number in numbers:
        (points, result, _), (own_points, own_result, _) = actual[number], expected[number]
        assert result.outcome == own_result.outcome == "complete"
        assert (result.updates, result.best_update, result.test_opened) == (
            own_result.updates,
            own_result.best_update,
            own_result.test_opened,
        )
        for split, metrics in own_result.metrics.items():
            assert result.metrics[split] == pytest.approx(metrics, rel=1e-4)
        assert [point.update for point in points] == [point.update for point in own_points]
        assert [point.train_loss for point in points] == pytest.approx([p.train_loss for p in own_points], rel=1e-4)


def apart(worker: Worker, trials: list[Trial]) -> Told:
    told: Told = {}
    for trial in trials:
        told |= run_group(worker, [trial], attempt=99)
    return told


@pytest.mark.parametrize("seconds", [FOREVER, 0.0], ids=["one-go", "slices"])
def test_each_trial_of_a_group_has_the_curve_and_result_it_has_alone(
    worker: Worker, finals: list[Trial], seconds: float
) -> None:
    expected = apart(worker, finals)
    actual = run_group(worker, finals, seconds)
    assert_alike(actual, expected)
    assert len({result.score for _, result, _ in actual.values()}) == 3
    for number, (_, result, notes) in actual.items():
        assert notes == []
        assert result.weights == f"checkpoints/{finals[number].key}/weights.pt"
        assert (worker.folder / result.weights).exists()


@pytest.mark.parametrize("task", [FailsInTraining, FailsInEvaluation, FailsToLoad])
def test_a_trial_that_fails_leaves_the_others_alone(worker: Worker, finals: list[Trial], task: type[Task]) -> None:
    trials = of_task(finals, task)
    expected = apart(worker, trials)
    actual = run_group(worker, trials)
    assert_alike(actual, expected, (0, 2))
    assert actual[1][1].outcome == expected[1][1].outcome == "failed"
    assert actual[1][1].reason == expected[1][1].reason
    assert actual[1][1].updates == expected[1][1].updates


def test_a_stack_that_cannot_be_trained_as_one_is_trained_apart_and_that_is_said(
    worker: Worker, finals: list[Trial]
) -> None:
    trials = [trial.model_copy(update={"model": "unstackable"}) for trial in finals]
    actual = run_group(worker, trials)
    assert_alike(actual, apart(worker, trials))
    assert [notes for _, _, notes in actual.values()] == [
        [
            "its stack of 3 could not be trained as one (OutOfMemoryError: CUDA out of memory. "
            "Tried to allocate 9 GiB); its trials go on separately"
        ],
        [],
        [],
    ]


def test_a_group_goes_on_from_its_members_checkpoints(worker: Worker, finals: list[Trial], tmp_path: Path) -> None:
    dropped = [t.model_copy(update={"build": {**t.build, "dropout": 0.3}}) for t in finals]
    whole = run_group(Worker(tmp_path / "whole", worker.registry), dropped)
    group = ActiveGroup([worker.start(trial, 1) for trial in dropped])
    for _ in range(7):
        group.advance(0)
    group.save()
    actual = run_group(worker, dropped, attempt=2)
    for number, (_, result, _) in whole.items():
        assert actual[number][1].metrics == result.metrics


def test_one_of_a_group_can_go_on_alone(worker: Worker, finals: list[Trial]) -> None:
    group = ActiveGroup([worker.start(trial, 1) for trial in finals])
    for _ in range(7):
        group.advance(0)
    group.save()
    alone = run_group(worker, finals[1:2], attempt=2)
    assert alone[1][1].updates == 40
    assert_alike({1: alone[1]}, {1: apart(Worker(worker.folder / "other", worker.registry), finals)[1]}, (1,))


def test_a_broken_off_slice_is_not_saved(worker: Worker, finals: list[Trial], monkeypatch: pytest.MonkeyPatch) -> None:
    group = ActiveGroup([worker.start(trial, 1) for trial in finals])
    for _ in range(3):
        group.advance(0)

    def interrupt(self: Any, *_: Any) -> None:
        raise UserInterrupt

    monkeypatch.setattr("harness.training.stacked_step.StackedStep._update_weights", interrupt)
    with pytest.raises(KeyboardInterrupt):
        group.advance(FOREVER)
    group.save()
    assert not list(worker.folder.rglob("attempt-*.pt"))
