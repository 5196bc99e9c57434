from __future__ import annotations

import math
from itertools import combinations
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.tuning_curves import Crossing, TuningCurve, crossings, tuning_curve


def curve(*expected: float) -> TuningCurve:
    return TuningCurve(expected, expected, expected)


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_expected_best_is_the_mean_over_all_subsets(better: Literal["lower", "higher"]) -> None:
    scores = [0.3, 0.9, 0.1, 0.5, 0.5, 0.7]
    best = max if better == "higher" else min
    expected = tuning_curve(scores, better).expected
    for k in range(1, 7):
        assert expected[k - 1] == pytest.approx(np.mean([best(subset) for subset in combinations(scores, k)]))


def test_expected_best_of_uniform_draws_is_unbiased() -> None:
    # The best of k uniform draws is k / (k + 1) in expectation; the plug-in estimator gives 0.887 and 0.927.
    draws = np.random.default_rng(5).uniform(size=(3000, 20)).tolist()
    means = np.mean([tuning_curve(sample, "higher").expected for sample in draws], axis=0)
    assert means[9] == pytest.approx(10 / 11, abs=0.002)
    assert means[19] == pytest.approx(20 / 21, abs=0.002)


def test_band_holds_the_best_of_k_at_its_nominal_rate() -> None:
    scores = np.arange(200.0)
    band = tuning_curve(scores.tolist(), "higher")
    drawn = np.random.default_rng(1).choice(scores, size=(20000, 5)).max(axis=1)
    within = np.mean((drawn >= band.low[4]) & (drawn <= band.high[4]))
    assert within == pytest.approx(0.8, abs=0.02)


def test_log_scale_averages_logarithms() -> None:
    assert tuning_curve([1e-4, 1e-2], "lower", "log").expected == pytest.approx((1e-3, 1e-4))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=12), st.sampled_from(["linear", "log"]))
def test_more_trials_are_never_worse_and_all_trials_give_the_best(scores: list[float], scale: str) -> None:
    best = tuning_curve(scores, "lower", "log" if scale == "log" else "linear")
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in zip(best.expected, best.expected[1:], strict=False))
    assert best.expected[-1] == pytest.approx(min(scores))
    assert all(low <= high for low, high in zip(best.low, best.high, strict=True))


def test_curve_of_no_scores_is_rejected() -> None:
    with pytest.raises(ValueError, match="no scores"):
        tuning_curve([], "lower")


def test_crossing_names_the_leader_before_and_after() -> None:
    curves = {"gru": curve(3.0, 2.5, 2.4, 2.4), "tcn": curve(5.0, 2.6, 2.0, 1.0, 0.5)}
    assert crossings(curves, "lower") == (Crossing("gru", "tcn", 2),)
    assert crossings(curves, "higher") == (Crossing("tcn", "gru", 2),)
    assert crossings({}, "lower") == ()


def test_curves_that_do_not_cross_have_no_crossing() -> None:
    assert crossings({"a": curve(2.0, 1.0), "b": curve(math.inf, 1.5)}, "lower") == ()
