"""Comparisons of two models and the error that they share, against closed forms and laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.statistics import SamplingError, highest_rate
from harness.recommendation.gains import Scoring
from harness.recommendation.pairwise import POWER, ErrorBudget, ladder, needed
from harness.recommendation.race import interim_look, probabilities
from tests.support.scores import LOOKS, TWO, apart, field_of, looked, normal, pair


@pytest.mark.parametrize("models", [2, 4, 9])
def test_claims_of_all_models_and_looks_share_the_permitted_error(models: int) -> None:
    budget = ErrorBudget.of(0.95, looks=ladder(100_000), models=models)
    spent = sum(budget.share(n) for n in budget.looks)
    assert 0.9999 < spent < 1
    assert spent * budget.pair * models * (models - 1) <= 0.05
    assert budget.failure * (models - 1) <= 0.05 + 1e-12
    assert (spent * budget.seeds + budget.held_out) * models <= 0.05


@given(st.lists(st.integers(10, 400), min_size=1, max_size=12, unique=True))
def test_no_ladder_of_looks_spends_more_than_the_whole(looks: list[int]) -> None:
    budget = ErrorBudget.of(0.95, looks=sorted(looks), models=2)
    assert 0 < sum(budget.share(n) for n in sorted(looks)) < 1


def test_an_extension_leaves_what_earlier_looks_spent_as_it_was() -> None:
    short, long = (ErrorBudget.of(0.95, looks=ladder(most), models=3) for most in (29, 200))
    assert [short.share(n) for n in ladder(29)] == [long.share(n) for n in ladder(29)]
    assert short.share(39) == long.share(39)  # a look that is not planned yet


def test_half_of_the_error_is_spent_at_24_and_none_below_ten() -> None:
    budget = ErrorBudget.of(0.95, looks=(5, 9, 10, 24), models=2)
    assert (budget.share(5), budget.share(9)) == (0, 0)
    assert budget.share(10) + budget.share(24) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("most", "looks"),
    [(3, (3,)), (5, (5,)), (7, (5, 7)), (29, (5, 10, 15, 20, 29)), (60, (5, 10, 15, 20, 29, 39, 52, 60))],
)
def test_a_ladder_ends_at_the_most(most: int, looks: tuple[int, ...]) -> None:
    assert ladder(most) == looks


def test_the_interval_is_students_at_the_error_of_the_look() -> None:
    scores = {"a": normal(0, 10), "b": normal(1, 10)}
    comparison = pair(scores)
    test = stats.ttest_rel(scores[looked(scores).leader], scores[comparison.rival], alternative="greater")
    assert comparison.probability == pytest.approx(float(test.pvalue))
    assert comparison.difference is not None
    level = 1 - 2 * TWO.pair * TWO.share(10)
    interval = stats.ttest_rel(scores[looked(scores).leader], scores[comparison.rival]).confidence_interval(level)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx((interval.low, interval.high))
    assert comparison.difference.level == pytest.approx(level)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_below_ten_pairs_everything_is_open(n: int) -> None:
    assert pair({"a": [5.0] * n, "b": [0.5] * n}).verdict == "open"
    assert pair({"a": [0.5] * n, "b": [0.5] * n}, Scoring("higher", margin=9.0)).verdict == "open"


def test_one_repetition_decides_nothing() -> None:
    comparison = pair({"a": [1.0], "b": [0.0]})
    assert (comparison.probability, comparison.difference, comparison.verdict) == (0.5, None, "open")


@given(st.integers(0, 10_000), st.floats(0, 3), st.floats(0.01, 3), st.sampled_from([5, 10, 15, 20, 29, 39]))
def test_an_interval_within_the_margin_is_never_lost(seed: int, shift: float, margin: float, n: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(2, n))
    comparison = pair({"a": list(0.1 * first + shift), "b": list(0.1 * second)}, Scoring("higher", margin=margin))
    if (
        comparison.difference is not None
        and -margin < comparison.difference.low
        and comparison.difference.high < margin
    ):
        assert comparison.verdict in ("equivalent", "open")
    if abs(comparison.mean) <= margin:
        assert comparison.verdict != "lost"


def test_a_sure_difference_is_equivalent_within_the_margin_and_lost_beyond_it() -> None:
    noise = np.asarray(normal(0, 29))
    scores = {"a": list(noise + 0.1), "b": list(noise)}
    assert pair(scores, Scoring("higher", margin=0.2, floor=-1e6)).verdict == "equivalent"
    near = Scoring("higher", margin=0.2, floor=-2.5)
    assert pair({model: each[:10] for model, each in scores.items()}, near).verdict == "open"  # a failure may be unseen
    assert pair({"a": list(noise + 0.9), "b": list(noise)}, Scoring("higher", margin=0.2)).verdict == "lost"


def test_identical_scores_are_equivalent_only_where_there_is_a_margin() -> None:
    scores = {"a": normal(0, 29), "b": normal(0, 29)}
    assert pair(scores).verdict == "open"
    assert pair(scores, Scoring("higher", margin=0.01)).verdict == "equivalent"


def test_models_that_left_are_compared_on_what_both_have() -> None:
    look = looked({"a": normal(0, 20), "b": normal(1, 10, mean=-9), "c": normal(2, 10, mean=9)})
    assert look.leader == "a"  # c has a better mean of fewer repetitions
    assert [(comparison.n, comparison.wins, comparison.verdict) for comparison in look.comparisons] == [
        (10, 10, "lost"),
        (10, 0, "open"),
    ]


def test_a_leader_that_is_behind_on_what_both_have_is_not_equivalent() -> None:
    scores = {"a": [-5.0, *[-5.0, -5.1] * 14, *[20.0] * 10], "b": [0.0, *[0.0, 0.1] * 14]}
    comparison = pair(scores, Scoring("higher", margin=1.0))
    assert comparison.difference is not None
    assert comparison.difference.high < -1
    assert (comparison.n, comparison.verdict) == (29, "open")


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")), ids="".join)
def test_the_order_of_models_has_no_effect(order: tuple[str, ...]) -> None:
    scores = {"a": normal(0, 12), "b": normal(0, 12), "c": normal(2, 12, mean=-1), "d": normal(0, 12, mean=-5)}
    first, second = (looked({model: scores[model] for model in names}) for names in ("abcd", order))
    assert first.leader == second.leader == "a"
    assert {comparison.rival: comparison for comparison in first.comparisons} == {
        comparison.rival: comparison for comparison in second.comparisons
    }
    shares = [probabilities(field_of({m: scores[m] for m in names}), list(names)) for names in ("abcd", order)]
    assert shares[0] == shares[1]


@pytest.mark.parametrize(
    ("t", "alone", "beside"), [(3.5, "open", "open"), (4.3, "open", "lost"), (5.5, "lost", "lost")]
)
def test_one_sure_difference_eases_the_others_as_far_as_pairs_can_still_be_equal(
    t: float, alone: str, beside: str
) -> None:
    """Of three models, three pairs may be equal; once two models differ, only one pair (Shaffer 1986)."""
    budget = ErrorBudget.of(0.95, looks=LOOKS, models=3)
    gap = apart(t * float(apart(0).std(ddof=1)) / math.sqrt(10))
    scores = {"a": [0.0] * 10, "b": list(-gap)}
    other = {"c": list(-apart(30) / 10)}
    verdicts = []
    for each in (scores, scores | other):
        look = interim_look(field_of(each), budget)
        verdicts.append(next(comparison.verdict for comparison in look.comparisons if comparison.rival == "b"))
    error = budget.pair * budget.share(10)
    p_value = float(stats.t.sf(t, 9))
    assert (alone == "lost", beside == "lost") == (p_value <= error, p_value <= 3 * error)
    assert verdicts == [alone, beside]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([3.0, 3.1, 2.9, 3.0, 3.05] * 2, "yes"),
        ([3.0, 3.1, 2.9, 3.0, 3.05], "unsure"),  # fewer than 10
        ([9.0, 9.1, 9.0, 9.1, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0] * 2, "yes"),  # half of them failed, as at a plateau
        ([9.0, 9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], "no"),
        ([1.4, 1.3, 1.4, 1.3, 1.4] * 2, "no"),  # within the margin
        ([90.0, 9.0, 0.2, 9.0, 0.1, 9.0, 0.2, 9.0, 0.2, 9.0], "unsure"),
        ([2.0, 1.0] * 5, "no"),  # a mean at the margin
        ([9.0] * 3 + [1.4] * 7, "no"),  # most are within the margin
    ],
)
def test_what_was_learned_is_decided_by_mean_half_and_floor(scores: list[float], expected: str) -> None:
    assert looked({"a": scores}, Scoring("higher", margin=0.5, floor=1.0)).learned == {"a": expected}


def test_a_repetition_at_the_bound_is_not_better_than_the_floor_by_more_than_the_margin() -> None:
    scores = [1.5] * 8 + [5.0] * 4  # the floor is 1 and the margin 0.5
    assert looked({"a": scores}, Scoring("higher", margin=0.5, floor=1.0)).learned == {"a": "no"}


def test_a_mean_above_the_floor_by_less_than_the_reach_of_the_held_out_answers_is_unsure() -> None:
    scores = [70.0, 71.0] * 10
    known = {"a": SamplingError(12, 5.0)}
    reach = known["a"].reach(TWO.held_out)
    for floor, expected in ((50.0, "unsure"), (70.5 - reach - 1, "yes")):
        scoring = Scoring("higher", margin=1.0, floor=floor, sampling=known)
        assert looked({"a": scores}, scoring).learned == {"a": expected}
    assert looked({"a": scores}, Scoring("higher", margin=1.0, floor=50.0)).learned == {"a": "yes"}


def test_the_needed_repetitions_decide_with_the_stated_power() -> None:
    random = np.random.default_rng(0)
    shown = pair({"a": list(random.normal(size=10) + 0.8), "b": list(random.normal(size=10))})
    n = needed(shown, margin=0.0, budget=TWO)
    assert shown.verdict == "open"
    assert n is not None
    drawn = shown.mean + shown.spread * random.normal(size=(400, n))
    verdicts = [pair({"a": list(gaps), "b": [0.0] * n}).verdict for gaps in drawn]
    assert verdicts.count("lost") / 400 >= POWER - 0.06
    shorter = max(look for look in ladder(10_000) if look < n)
    if shorter > 10:
        verdicts = [pair({"a": list(gaps), "b": [0.0] * shorter}).verdict for gaps in drawn[:, :shorter]]
        assert verdicts.count("lost") / 400 <= POWER + 0.06


def test_the_needed_repetitions_exclude_a_failure_rate_that_would_reverse_the_answer() -> None:
    shown = pair({"a": [10.001, 10.0] * 5, "b": [9.9, 9.901] * 5}, Scoring("higher", floor=0.0))
    n = needed(shown, margin=0.0, budget=TWO)
    assert shown.verdict == "open"
    assert n is not None
    assert highest_rate(0, n, TWO.failure) * 10 < 0.1 < highest_rate(0, math.ceil(n / 4 * 3) - 1, TWO.failure) * 10


def test_equals_need_the_pairs_of_an_equivalence_and_without_a_margin_no_number_decides() -> None:
    shown = pair({"a": [10.0, 10.001] * 5, "b": [10.001, 10.0] * 5}, Scoring("higher", margin=0.1, floor=0.0))
    assert needed(shown, margin=0.1, budget=TWO) == 29
    assert needed(shown, margin=0.0, budget=TWO) is None


def test_one_repetition_gives_no_estimate_of_what_is_needed() -> None:
    assert needed(pair({"a": [1.0], "b": [0.0]}), margin=0.1, budget=TWO) is None


def test_equal_scores_are_ties_and_no_wins() -> None:
    shown = pair({"a": [2.0] * 6 + [1.0] * 6, "b": [1.0] * 12})
    assert (shown.wins, shown.ties, shown.n) == (6, 6, 12)


def test_a_difference_of_exactly_the_margin_is_not_lost() -> None:
    scores = {"a": [2.0] * 20, "b": [1.0] * 20}
    verdicts = [looked(scores, Scoring("higher", margin=margin)).comparisons[0].verdict for margin in (1.0, 0.99)]
    assert verdicts == ["open", "lost"]
