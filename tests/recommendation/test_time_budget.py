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
)

FAST = Throughput(update_seconds=0.01, evaluation_seconds=0.1, start_seconds=0.5)
SLOW = Throughput(update_seconds=0.03, evaluation_seconds=0.3, start_seconds=0.5)
PACES = {"fast": FAST, "slow": SLOW}


def cost(updates: int) -> float:
    """Of one training of each, with 10 evaluations."""
    return sum(pace.training(updates, 10 + TEST_EVALUATIONS) for pace in PACES.values())


@pytest.mark.parametrize("seconds", [600.0, 3600.0, 36_000.0])
def test_the_search_and_ten_repetitions_of_all_fit(seconds: float) -> None:
    found = allocate(PACES, seconds, evaluations=10, repetitions=29)
    assert (found.trials + 10) * cost(found.updates) <= seconds * (1 - KEPT_BACK) * 1.001
    assert FEWEST_UPDATES <= found.updates <= MOST_UPDATES


def test_more_time_is_more_updates_until_they_are_enough_then_more_trials() -> None:
    found = [allocate(PACES, seconds, evaluations=10, repetitions=29) for seconds in (900, 9000, 90_000)]
    assert found[0].updates < found[1].updates < found[2].updates == MOST_UPDATES
    assert found[2].trials > found[0].trials


def test_what_is_wished_is_granted() -> None:
    found = allocate(PACES, 3600, evaluations=10, repetitions=29, updates=300, trials=3)
    assert (found.updates, found.trials) == (300, 3)
    assert found.repetitions <= 29


def test_no_more_repetitions_than_asked_for() -> None:
    assert allocate(PACES, 36_000, evaluations=10, repetitions=3).repetitions == 3


def test_too_few_minutes_say_how_many_it_takes() -> None:
    with pytest.raises(BudgetError, match=r"1\.0 minutes \(over all slots\) are too few: 7 trainings of 5000 updates"):
        allocate(PACES, 60, evaluations=10, repetitions=29, updates=5000)
