from __future__ import annotations

import numpy as np
import pytest

from harness.aggregate import (
    critical_difference,
    indistinct,
    interquartile_interval,
    interquartile_mean,
    mean_ranks,
)


def test_interquartile_mean_is_that_of_the_middle_half() -> None:
    assert interquartile_mean([[0.0, 1.0, 100.0, 3.0], [-50.0, 2.0, 4.0, 9.0]]) == (1 + 2 + 3 + 4) / 4


def test_interval_of_constant_tasks_is_their_mean() -> None:
    found = interquartile_interval([[0.2, 0.2], [0.6, 0.6]])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.4, 0.4))


def test_resampling_stays_within_a_task() -> None:
    # Were all runs drawn together, a resample could hold the far task alone.
    found = interquartile_interval([[0.0, 0.1, 0.0, 0.1], [1.0, 1.1, 1.0, 1.1]])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.5, 0.6))


def test_interval_is_the_same_every_time_and_agrees_with_a_plain_bootstrap() -> None:
    random = np.random.default_rng(2)
    tasks = [random.normal(centre, 0.2, size=12).tolist() for centre in (0.3, 0.5, 0.9)]
    found = interquartile_interval(tasks)
    assert found is not None
    assert found == interquartile_interval(tasks)
    resampled = [
        interquartile_mean([random.choice(task, size=len(task)).tolist() for task in tasks]) for _ in range(2000)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_one_repetition_has_no_interval() -> None:
    assert interquartile_interval([[0.1], [0.2, 0.3]]) is None


def test_mean_ranks_share_ties() -> None:
    assert mean_ranks({"a": [1.0, 1.0], "b": [2.0, 1.0], "c": [3.0, 5.0]}) == {"a": 1.25, "b": 1.75, "c": 3.0}


@pytest.mark.parametrize(("models", "nine", "eleven"), [(3, 1.105, 0.999), (4, 1.563, 1.414), (5, 2.033, 1.839)])
def test_critical_difference_is_the_tabulated_one(models: int, nine: float, eleven: float) -> None:
    assert critical_difference(models, 9) == pytest.approx(nine, abs=1e-3)
    assert critical_difference(models, 11) == pytest.approx(eleven, abs=1e-3)


def test_critical_difference_of_demsars_example() -> None:
    # Demšar 2006, section 3.2.2: four classifiers on 14 data sets, q = 2.569, CD = 1.25.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_models_within_the_difference_form_the_largest_groups() -> None:
    ranks = {"d": 3.9, "a": 1.0, "b": 1.8, "c": 2.6}
    assert indistinct(ranks, 1.7) == (("a", "b", "c"), ("c", "d"))
    assert indistinct(ranks, 0.5) == ()
