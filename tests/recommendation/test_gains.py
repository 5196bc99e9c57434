"""Scores read as gains, and what failures may cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.statistics import SamplingError, highest_rate
from harness.recommendation.gains import Failures, Scoring, gains
from harness.recommendation.pairwise import EQUIVALENT_PAIRS, ErrorBudget, compare_pair
from tests.support.scores import HIGHER, TWO, field_of, looked, normal, pair


def test_lower_scores_on_a_log_scale_are_gains_in_factors() -> None:
    field = field_of({"a": [1.0], "b": [math.e]}, Scoring("lower", margin=0.5, scale="log", floor=math.e**2))
    assert [float(values[0]) for values in field.values.values()] == pytest.approx([0.0, -1.0])
    assert field.floor == pytest.approx(-2.0)
    assert (field.margin, field.linear) == (0.5, False)


def test_a_zero_on_a_log_scale_makes_it_linear_and_takes_the_margin_away() -> None:
    field = field_of({"a": [0.0, 1.0], "b": [2.0, 2.0]}, Scoring("lower", margin=0.5, scale="log"))
    assert list(field.values["a"]) == [-0.0, -1.0]
    assert (field.margin, field.linear) == (0.0, True)


def test_sampling_error_of_a_log_metric_is_relative_to_the_geometric_mean() -> None:
    known = {"a": SamplingError(12, 0.2), "gone": SamplingError(12, 9.0)}
    scores = {"a": [1.0, 4.0, math.nan], "b": [1.0, 1.0, 1.0]}
    log = field_of(scores, Scoring("lower", scale="log", sampling=known))
    assert set(log.sampling) == {"a"}
    assert log.sampling["a"].standard_error == pytest.approx(0.1)
    assert field_of(scores, Scoring("lower", sampling=known)).sampling == {"a": SamplingError(12, 0.2)}


def test_no_score_at_all_is_no_field() -> None:
    assert gains({"a": [math.nan], "b": []}, HIGHER) is None


@pytest.mark.parametrize(("floor", "counts"), [(0.7, 0.5), (0.2, 0.2), (None, 0.5)])
def test_a_repetition_without_a_score_counts_as_the_worst_score_or_the_floor(
    floor: float | None, counts: float
) -> None:
    scores = {"a": [1.0, 2.0], "b": [5.0, math.nan], "c": [9.0, 0.5]}
    assert list(field_of(scores, Scoring("higher", floor=floor)).values["b"]) == [5.0, counts]


def test_a_repetition_without_a_score_loses_to_the_worst_score_and_equal_scores_tie() -> None:
    look = looked({"a": [1.0, 2.0, 3.0], "b": [1.0, math.nan, 2.0], "c": [0.0, 0.0, 0.0]})
    by_rival = {comparison.rival: comparison for comparison in look.comparisons}
    assert look.leader == "a"
    assert (by_rival["b"].wins, by_rival["b"].ties) == (2, 1)
    worst = compare_pair(field_of({"b": [1.0, math.nan], "c": [2.0, 0.0]}), "c", "b", TWO)
    assert (worst.wins, worst.ties) == (2, 0)


def test_scores_below_the_floor_count_as_the_floor_between_models() -> None:
    comparison = pair({"a": [2.0] * 10, "b": [-500.0, 1.5] * 5}, Scoring("higher", floor=1.0))
    assert comparison.mean == pytest.approx(0.75)


def test_failures_are_the_worse_half_and_cost_the_way_to_the_worst() -> None:
    failures = Failures.of(np.asarray([10.0] * 9 + [0.0]), worst=-2.0)
    assert (failures.failed, failures.succeeded, failures.mean) == (1, 10.0, 9.0)
    rate = highest_rate(1, 10, 0.05)
    assert stats.binom.cdf(1, 10, rate) == pytest.approx(0.05)
    assert failures.hidden_loss(0.05) == pytest.approx(9.0 - (10.0 - 12.0 * rate))


def test_no_failure_in_n_hides_a_rate_of_which_none_is_as_probable_as_the_error() -> None:
    failures = Failures.of(np.asarray([10.0] * 29), worst=0.0)
    rate = failures.hidden_loss(0.05) / 10
    assert (1 - rate) ** 29 == pytest.approx(0.05)
    assert rate < 0.1  # what `EQUIVALENT_PAIRS` promises
    assert failures.hidden_loss(0.05, 100) / 10 == pytest.approx(1 - 0.05**0.01)


@pytest.mark.parametrize(("gap", "verdict"), [(0.9, "open"), (1.1, "lost")])
def test_nothing_is_lost_that_unseen_failures_of_the_leader_would_reverse(gap: float, verdict: str) -> None:
    """29 pairs without a failure: the failure rate may be 9.8 %, which costs 0.98 where a failure costs 10."""
    leader = 10 + 0.001 * np.asarray(normal(0, 29))
    rival = leader - gap + 0.001 * np.asarray(normal(1, 29))
    assert pair({"a": list(leader), "b": list(rival)}, Scoring("higher", floor=0.0)).verdict == verdict


def test_failures_that_were_seen_count_at_their_highest_rate() -> None:
    leader = np.asarray([10.0] * 96 + [0.0] * 4) + 0.001 * np.asarray(normal(0, 100))
    budget = ErrorBudget.of(0.95, looks=(100,), models=2)
    for gap, verdict in ((0.8, "open"), (3.0, "lost")):  # 4 of 100 may be 9 %
        field = field_of({"a": list(leader), "b": [10.0 - gap] * 100}, Scoring("higher", floor=0.0))
        assert compare_pair(field, "a", "b", budget).verdict == verdict


def test_equivalence_waits_for_29_pairs_where_failures_may_be_unseen() -> None:
    assert EQUIVALENT_PAIRS == 29
    for n, verdict in ((20, "open"), (29, "equivalent")):
        scores = {"a": [10 + x / 1e3 for x in normal(0, n)], "b": [10 + x / 1e3 for x in normal(1, n)]}
        assert pair(scores, Scoring("higher", margin=0.5, floor=0.0)).verdict == verdict
        assert pair(scores, Scoring("higher", margin=0.5, floor=9.0)).verdict == "equivalent"  # a failure costs 1
