from __future__ import annotations

import pytest

from harness.errors import BudgetError
from harness.recommendation.time_budget import (
    FEWEST_UPDATES,
    KEPT_BACK,
    MOST_UPDATES,
    TEST_EVALUATIONS,
    Throughput,
    allocate,
    allocate_to_fastest,
)

FAST = Throughput(update_seconds=0.01, evaluation_seconds=0.1, start_seconds=0.5)
SLOW = Throughput(update_seconds=0.03, evaluation_seconds=0.3, start_seconds=0.5)
THROUGHPUTS = {"fast": FAST, "slow": SLOW}


def cost(updates: int) -> float:
    """Return the seconds of one training of each model, with 10 evaluations."""
    return sum(model.training(updates, 10 + TEST_EVALUATIONS) for model in THROUGHPUTS.values())


@pytest.mark.parametrize("seconds", [600.0, 3600.0, 36_000.0])
def test_the_search_and_ten_repetitions_of_all_fit(seconds: float) -> None:
    budget = allocate(THROUGHPUTS, seconds, evaluations=10, repetitions=29)
    assert (budget.trials + 10) * cost(budget.updates) <= seconds * (1 - KEPT_BACK) * 1.001
    assert FEWEST_UPDATES <= budget.updates <= MOST_UPDATES


def test_more_time_gives_more_updates_up_to_their_maximum_then_more_trials() -> None:
    budgets = [allocate(THROUGHPUTS, seconds, evaluations=10, repetitions=29) for seconds in (900, 9000, 90_000)]
    assert budgets[0].updates < budgets[1].updates < budgets[2].updates == MOST_UPDATES
    assert budgets[2].trials > budgets[0].trials


def test_given_updates_and_trials_are_used() -> None:
    budget = allocate(THROUGHPUTS, 3600, evaluations=10, repetitions=29, updates=300, trials=3)
    assert (budget.updates, budget.trials) == (300, 3)
    assert budget.repetitions <= 29


def test_no_more_repetitions_than_requested() -> None:
    assert allocate(THROUGHPUTS, 36_000, evaluations=10, repetitions=3).repetitions == 3


def test_error_of_too_few_minutes_gives_the_time_needed() -> None:
    with pytest.raises(BudgetError, match=r"1\.0 minutes over all slots are too short: 7 trainings of 5000 updates"):
        allocate(THROUGHPUTS, 60, evaluations=10, repetitions=29, updates=5000)


SLOWEST = Throughput(update_seconds=9.0, evaluation_seconds=10.0, start_seconds=1.0)


def test_slowest_models_are_postponed_until_the_others_fit() -> None:
    throughputs = {
        "slowest": SLOWEST,
        **THROUGHPUTS,
        "slower": Throughput(**SLOW.model_dump() | {"update_seconds": 3.0}),
    }
    budget, postponed = allocate_to_fastest(throughputs, 900, evaluations=10, repetitions=29)
    assert budget == allocate(THROUGHPUTS, 900, evaluations=10, repetitions=29)
    assert list(postponed) == ["slower", "slowest"]
    one_training = SLOWEST.training(budget.updates, 10 + TEST_EVALUATIONS)
    assert postponed["slowest"] == pytest.approx((budget.trials + 10) * one_training / (1 - KEPT_BACK))


def test_no_model_is_postponed_if_all_fit() -> None:
    expected = allocate(THROUGHPUTS, 3600, evaluations=10, repetitions=29)
    assert allocate_to_fastest(THROUGHPUTS, 3600, evaluations=10, repetitions=29) == (expected, {})


def test_time_that_is_too_short_for_the_fastest_model_is_refused_with_the_time_of_all() -> None:
    with pytest.raises(BudgetError, match="7 trainings of 5000 updates of each of 2 models take about"):
        allocate_to_fastest(THROUGHPUTS, 60, evaluations=10, repetitions=29, updates=5000)
