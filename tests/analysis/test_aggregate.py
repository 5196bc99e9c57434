from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.aggregate import (
    critical_difference,
    indistinct,
    interquartile_interval,
    interquartile_mean,
    mean_ranks,
)


def test_interquartile_mean_is_that_of_the_middle_half() -> None:
    assert interquartile_mean([[0.0, 1.0, 100.0, 3.0], [-50.0, 2.0, 4.0, 9.0]]) == (1 + 2 + 3 + 4) / 4


def test_interval_of_constant_tasks_is_their_mean() -> None:
    interval = interquartile_interval([[0.2, 0.2, 0.2], [0.6, 0.6, 0.6]])
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.4, 0.4))


@pytest.mark.parametrize("n", [8, 12, 40])
def test_interval_of_one_task_is_that_of_yuens_test(n: int) -> None:
    # Against a constant, whose winsorised variance is 0, the test is about a single trimmed mean.
    values = np.random.default_rng(n).standard_t(4, size=n)
    known = stats.ttest_ind(values, np.zeros(n), trim=0.25, equal_var=False).confidence_interval(0.95)
    interval = interquartile_interval([values.tolist()])
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((known.low, known.high))


def test_distance_between_fixed_tasks_does_not_widen_the_interval() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, size=(4, 12))
    near, far = (
        interquartile_interval((noise + distance * np.arange(4)[:, None]).tolist()) for distance in (0.1, 10.0)
    )
    assert near is not None
    assert far is not None
    assert far.high - far.low == pytest.approx(near.high - near.low)


def test_interval_shifts_and_scales_with_the_scores() -> None:
    scores = np.random.default_rng(1).normal(size=(3, 7))
    original, mapped = interquartile_interval(scores.tolist()), interquartile_interval((2 + 3 * scores).tolist())
    assert original is not None
    assert mapped is not None
    assert (mapped.low, mapped.high) == pytest.approx((2 + 3 * original.low, 2 + 3 * original.high))


def test_tasks_count_in_proportion_to_their_repetitions() -> None:
    interval = interquartile_interval([[0.0] * 4 + [1.0] * 4, [1.0] * 40])
    assert interval is not None
    assert (interval.low + interval.high) / 2 == interquartile_mean([[0.0] * 4 + [1.0] * 4, [1.0] * 40]) == 1.0


@pytest.mark.parametrize("tasks", [[[0.1], [0.2, 0.3]], [[0.1, 0.2], [0.2, 0.3]]])
def test_too_few_repetitions_have_no_interval(tasks: list[list[float]]) -> None:
    assert interquartile_interval(tasks) is None


def test_mean_ranks_share_ties() -> None:
    assert mean_ranks({"a": [1.0, 1.0], "b": [2.0, 1.0], "c": [3.0, 5.0]}) == {"a": 1.25, "b": 1.75, "c": 3.0}


@pytest.mark.parametrize(("models", "nine", "eleven"), [(3, 1.105, 0.999), (4, 1.563, 1.414), (5, 2.033, 1.839)])
def test_critical_difference_agrees_with_tables(models: int, nine: float, eleven: float) -> None:
    assert critical_difference(models, 9) == pytest.approx(nine, abs=1e-3)
    assert critical_difference(models, 11) == pytest.approx(eleven, abs=1e-3)


def test_critical_difference_of_demsars_example() -> None:
    # Demšar 2006, section 3.2.2: four classifiers on 14 data sets, q = 2.569, CD = 1.25.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_models_within_the_difference_form_the_largest_groups() -> None:
    ranks = {"d": 3.9, "a": 1.0, "b": 1.8, "c": 2.6}
    assert indistinct(ranks, 1.7) == (("a", "b", "c"), ("c", "d"))
    assert indistinct(ranks, 0.5) == ()
