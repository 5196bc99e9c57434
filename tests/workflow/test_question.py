"""What a user gives to `harness recommend` is what the race gets, whichever way it is given."""

from __future__ import annotations

import pytest

from harness.errors import StudyError
from harness.plugin.registry import Registry
from harness.recommendation.state import RecommendRequest
from harness.workflow.question import MINUTES, REPETITIONS, UPDATES, Question
from tests.support.toys import ToySum


def request(
    registry: Registry,
    *assignments: str,
    trials: int | None = None,
    repetitions: int | None = None,
    minutes: float | None = 5,
) -> RecommendRequest:
    return Question(
        task="toy-sum",
        assignments=("batch_size=8", "budget.tolerance=0.2", *assignments),
        data=None,
        target=None,
        models=("toy-ema",),
        name=None,
        trials=trials,
        repetitions=repetitions,
        minutes=minutes,
        confidence=0.95,
        parameters=161,
    ).request(registry)


def test_without_numbers_the_time_chooses_trials_and_updates(toy_registry: Registry) -> None:
    asked = request(toy_registry, minutes=None)
    assert (asked.seconds, asked.trials, asked.updates) == (60 * MINUTES, None, None)
    assert (asked.study.budget.repetitions, asked.study.training.updates) == (REPETITIONS, UPDATES)


@pytest.mark.parametrize("assignment", ["budget.trials=3", "budget = {trials = 3, tolerance = 0.2}"])
def test_assigned_trials_are_kept_as_those_of_the_option(toy_registry: Registry, assignment: str) -> None:
    assert request(toy_registry, assignment) == request(toy_registry, trials=3)
    assert request(toy_registry, assignment).trials == 3
    assert request(toy_registry, assignment, trials=3) == request(toy_registry, trials=3)
    assert request(toy_registry, assignment, minutes=None).seconds is None


def test_assigned_repetitions_are_kept_as_those_of_the_option(toy_registry: Registry) -> None:
    assert request(toy_registry, "budget.repetitions=12") == request(toy_registry, repetitions=12)
    assert request(toy_registry, "budget.repetitions=12").study.budget.repetitions == 12


@pytest.mark.parametrize("key", ["trials", "repetitions"])
def test_option_and_assignment_that_differ_are_refused(toy_registry: Registry, key: str) -> None:
    with pytest.raises(StudyError, match=f"^recommend: --{key} 5 and budget.{key}=3 differ; give one of the two$"):
        request(toy_registry, f"budget.{key}=3", **{key: 5})


@pytest.mark.parametrize("assignment", ["epochs=2", "training.epochs=2", "tasks.0.training.epochs=2"])
def test_epochs_are_kept_in_place_of_the_default_updates(toy_registry: Registry, assignment: str) -> None:
    updates = 2 * ToySum().updates_per_epoch(8)
    for minutes in (5, None):
        asked = request(toy_registry, assignment, minutes=minutes)
        assert asked.updates == asked.plan.cells[0].training.updates == updates
    assert asked.seconds is None


def test_updates_and_epochs_are_refused_only_if_the_user_gives_both(toy_registry: Registry) -> None:
    with pytest.raises(StudyError, match="give updates or epochs, not both"):
        request(toy_registry, "epochs=2", "updates=300")
