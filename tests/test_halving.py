"""The rungs of successive halving: lengths, numbers of trials, and the total of updates."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.halving import Rung, last_start, plan_rungs, rung_of, total_updates


def test_bracket_of_an_example() -> None:
    rungs = plan_rungs(trials=20, updates=1800, evaluate_every=90, reduction=3, minimum_updates=200)
    # 1800 / 9 = 200 and 1800 / 3 = 600, rounded up to evaluations.
    assert rungs == (Rung(270, 71), Rung(630, 23), Rung(1800, 7))
    assert total_updates(rungs) == 71 * 270 + 23 * 360 + 7 * 1170
    assert last_start(rungs) == 630


def test_single_rung_if_the_first_would_be_too_short() -> None:
    rungs = plan_rungs(trials=20, updates=500, evaluate_every=25, reduction=3, minimum_updates=200)
    assert rungs == (Rung(500, 20),)
    assert last_start(rungs) == 0


def test_single_rung_if_no_trial_would_be_pruned() -> None:
    assert plan_rungs(trials=1, updates=1800, evaluate_every=90, reduction=3, minimum_updates=200) == (Rung(1800, 1),)


def test_rung_of_a_trial() -> None:
    rungs = (Rung(200, 9), Rung(600, 3), Rung(1800, 1))
    assert [rung_of(updates, rungs) for updates in (40, 200, 201, 600, 1000, 1800)] == [0, 0, 1, 1, 2, 2]


@given(
    trials=st.integers(1, 40),
    updates=st.integers(1, 5000),
    evaluations=st.integers(1, 40),
    reduction=st.integers(2, 5),
    minimum=st.integers(1, 1000),
)
def test_bracket_is_the_largest_within_the_budget(
    trials: int, updates: int, evaluations: int, reduction: int, minimum: int
) -> None:
    every = -(-updates // evaluations)
    rungs = plan_rungs(
        trials=trials, updates=updates, evaluate_every=every, reduction=reduction, minimum_updates=minimum
    )
    budget = trials * updates
    assert budget - updates < total_updates(rungs) <= budget
    assert rungs[-1].updates == updates
    assert rungs[0].trials >= trials
    assert rungs[0].updates >= min(minimum, updates)
    assert all(rung.updates % every == 0 for rung in rungs[:-1])
    for rung, following in pairwise(rungs):
        assert rung.updates < following.updates
        assert rung.trials >= following.trials >= 1
        assert following.trials == max(rung.trials // reduction, 1)
