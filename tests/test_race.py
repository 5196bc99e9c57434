"""Races against closed forms and laws; tests/test_worlds.py simulates whole races."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.gains import Failures, Gains, Scores, Scoring, gains
from harness.pairwise import (
    EQUIVALENT_PAIRS,
    POWER,
    ErrorBudget,
    PairwiseComparison,
    compare_pair,
    ladder,
    needed,
)
from harness.race import InterimLook, Step, follow, interim_look, probabilities
from harness.statistics import HeldOut, highest_rate

HIGHER = Scoring("higher")
LOOKS = ladder(40)
TWO = ErrorBudget.of(0.95, looks=LOOKS, models=2)


def field_of(scores: Scores, scoring: Scoring = HIGHER) -> Gains:
    field = gains(scores, scoring)
    assert field is not None
    return field


def looked(scores: Scores, scoring: Scoring = HIGHER) -> InterimLook:
    return interim_look(field_of(scores, scoring), TWO)


def pair(scores: Scores, scoring: Scoring = HIGHER) -> PairwiseComparison:
    (only,) = looked(scores, scoring).comparisons
    return only


def normal(seed: int, n: int, mean: float = 0.0) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, 1, n))


# ---- the permitted error


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


# ---- how scores are read


def test_lower_scores_on_a_log_scale_are_gains_in_factors() -> None:
    field = field_of({"a": [1.0], "b": [math.e]}, Scoring("lower", margin=0.5, scale="log", floor=math.e**2))
    assert [float(values[0]) for values in field.values.values()] == pytest.approx([0.0, -1.0])
    assert field.floor == pytest.approx(-2.0)
    assert (field.margin, field.linear) == (0.5, False)


def test_a_zero_on_a_log_scale_makes_it_linear_and_takes_the_margin_away() -> None:
    field = field_of({"a": [0.0, 1.0], "b": [2.0, 2.0]}, Scoring("lower", margin=0.5, scale="log"))
    assert list(field.values["a"]) == [-0.0, -1.0]
    assert (field.margin, field.linear) == (0.0, True)


def test_no_score_at_all_is_no_field() -> None:
    assert gains({"a": [math.nan], "b": []}, HIGHER) is None


@pytest.mark.parametrize(("floor", "counts"), [(0.7, 0.5), (0.2, 0.2), (None, 0.5)])
def test_a_repetition_without_a_score_counts_as_the_worst_score_or_the_floor(
    floor: float | None, counts: float
) -> None:
    scores = {"a": [1.0, 2.0], "b": [5.0, math.nan], "c": [9.0, 0.5]}
    assert list(field_of(scores, Scoring("higher", floor=floor)).values["b"]) == [5.0, counts]


def test_a_repetition_without_a_score_loses_to_the_worst_score_and_equal_scores_tie() -> None:
    found = looked({"a": [1.0, 2.0, 3.0], "b": [1.0, math.nan, 2.0], "c": [0.0, 0.0, 0.0]})
    by_rival = {one.rival: one for one in found.comparisons}
    assert found.leader == "a"
    assert (by_rival["b"].wins, by_rival["b"].ties) == (2, 1)
    worst = compare_pair(field_of({"b": [1.0, math.nan], "c": [2.0, 0.0]}), "c", "b", TWO)
    assert (worst.wins, worst.ties) == (2, 0)


def test_scores_below_the_floor_count_as_the_floor_between_models() -> None:
    found = pair({"a": [2.0] * 10, "b": [-500.0, 1.5] * 5}, Scoring("higher", floor=1.0))
    assert found.mean == pytest.approx(0.75)


# ---- comparisons


def test_the_interval_is_students_at_the_error_of_the_look() -> None:
    scores = {"a": normal(0, 10), "b": normal(1, 10)}
    found = pair(scores)
    test = stats.ttest_rel(scores[looked(scores).leader], scores[found.rival], alternative="greater")
    assert found.probability == pytest.approx(float(test.pvalue))
    assert found.difference is not None
    level = 1 - 2 * TWO.pair * TWO.share(10)
    interval = stats.ttest_rel(scores[looked(scores).leader], scores[found.rival]).confidence_interval(level)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.difference.level == pytest.approx(level)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_below_ten_pairs_everything_is_open(n: int) -> None:
    assert pair({"a": [5.0] * n, "b": [0.5] * n}).verdict == "open"
    assert pair({"a": [0.5] * n, "b": [0.5] * n}, Scoring("higher", margin=9.0)).verdict == "open"


def test_one_repetition_says_nothing() -> None:
    found = pair({"a": [1.0], "b": [0.0]})
    assert (found.probability, found.difference, found.verdict) == (0.5, None, "open")


@given(st.integers(0, 10_000), st.floats(0, 3), st.floats(0.01, 3), st.sampled_from([5, 10, 15, 20, 29, 39]))
def test_an_interval_within_the_margin_is_never_lost(seed: int, shift: float, margin: float, n: int) -> None:
    random = np.random.default_rng(seed)
    one, other = random.normal(size=(2, n))
    found = pair({"a": list(0.1 * one + shift), "b": list(0.1 * other)}, Scoring("higher", margin=margin))
    if found.difference is not None and -margin < found.difference.low and found.difference.high < margin:
        assert found.verdict in ("equivalent", "open")
    if abs(found.mean) <= margin:
        assert found.verdict != "lost"


def test_a_sure_difference_is_equivalent_within_the_margin_and_lost_beyond_it() -> None:
    one = np.asarray(normal(0, 29))
    scores = {"a": list(one + 0.1), "b": list(one)}
    assert pair(scores, Scoring("higher", margin=0.2, floor=-1e6)).verdict == "equivalent"
    near = Scoring("higher", margin=0.2, floor=-2.5)
    assert pair({model: each[:10] for model, each in scores.items()}, near).verdict == "open"  # a failure may be unseen
    assert pair({"a": list(one + 0.9), "b": list(one)}, Scoring("higher", margin=0.2)).verdict == "lost"


def test_identical_scores_are_equivalent_only_where_there_is_a_margin() -> None:
    scores = {"a": normal(0, 29), "b": normal(0, 29)}
    assert pair(scores).verdict == "open"
    assert pair(scores, Scoring("higher", margin=0.01)).verdict == "equivalent"


def test_models_that_left_are_compared_on_what_both_have() -> None:
    found = looked({"a": normal(0, 20), "b": normal(1, 10, mean=-9), "c": normal(2, 10, mean=9)})
    assert found.leader == "a"  # c has a better mean of fewer repetitions
    assert [(one.n, one.wins, one.verdict) for one in found.comparisons] == [(10, 10, "lost"), (10, 0, "open")]


def test_a_leader_that_is_behind_on_what_both_have_is_not_equivalent() -> None:
    scores = {"a": [-5.0, *[-5.0, -5.1] * 14, *[20.0] * 10], "b": [0.0, *[0.0, 0.1] * 14]}
    found = pair(scores, Scoring("higher", margin=1.0))
    assert found.difference is not None
    assert found.difference.high < -1
    assert (found.n, found.verdict) == (29, "open")


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_models_has_no_effect(order: list[str]) -> None:
    scores = {"a": normal(0, 12), "b": normal(0, 12), "c": normal(2, 12, mean=-1), "d": normal(0, 12, mean=-5)}
    first, second = (looked({model: scores[model] for model in names}) for names in ("abcd", order))
    assert first.leader == second.leader == "a"
    assert {one.rival: one for one in first.comparisons} == {one.rival: one for one in second.comparisons}
    shares = [probabilities(field_of({m: scores[m] for m in names}), list(names)) for names in ("abcd", order)]
    assert shares[0] == shares[1]


def apart(mean: float, n: int = 10) -> np.ndarray:
    """Differences of this mean; their spread is about 1."""
    return mean + np.asarray([1.0, -1.0] * n)[:n] - (n % 2) / n


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
        found = interim_look(field_of(each), budget)
        verdicts.append(next(one.verdict for one in found.comparisons if one.rival == "b"))
    error = budget.pair * budget.share(10)
    p_value = float(stats.t.sf(t, 9))
    assert (alone == "lost", beside == "lost") == (p_value <= error, p_value <= 3 * error)
    assert verdicts == [alone, beside]


# ---- failures


def test_failures_are_the_worse_half_and_cost_the_way_to_the_worst() -> None:
    found = Failures.of(np.asarray([10.0] * 9 + [0.0]), worst=-2.0)
    assert (found.failed, found.succeeded, found.mean) == (1, 10.0, 9.0)
    rate = highest_rate(1, 10, 0.05)
    assert stats.binom.cdf(1, 10, rate) == pytest.approx(0.05)
    assert found.hidden_loss(0.05) == pytest.approx(9.0 - (10.0 - 12.0 * rate))


def test_no_failure_in_n_hides_a_rate_of_which_none_is_as_probable_as_the_error() -> None:
    found = Failures.of(np.asarray([10.0] * 29), worst=0.0)
    rate = found.hidden_loss(0.05) / 10
    assert (1 - rate) ** 29 == pytest.approx(0.05)
    assert rate < 0.1  # what `EQUIVALENT_PAIRS` promises
    assert found.hidden_loss(0.05, 100) / 10 == pytest.approx(1 - 0.05**0.01)


@pytest.mark.parametrize(("gap", "verdict"), [(0.9, "open"), (1.1, "lost")])
def test_nothing_is_lost_that_unseen_failures_of_the_leader_would_reverse(gap: float, verdict: str) -> None:
    """29 pairs without a failure: the failure rate may be 9.8 %, which costs 0.98 where a failure costs 10."""
    one = 10 + 0.001 * np.asarray(normal(0, 29))
    rival = one - gap + 0.001 * np.asarray(normal(1, 29))
    assert pair({"a": list(one), "b": list(rival)}, Scoring("higher", floor=0.0)).verdict == verdict


def test_failures_that_were_seen_count_at_their_highest_rate() -> None:
    one = np.asarray([10.0] * 96 + [0.0] * 4) + 0.001 * np.asarray(normal(0, 100))
    budget = ErrorBudget.of(0.95, looks=(100,), models=2)
    for gap, verdict in ((0.8, "open"), (3.0, "lost")):  # 4 of 100 may be 9 %
        field = field_of({"a": list(one), "b": [10.0 - gap] * 100}, Scoring("higher", floor=0.0))
        assert compare_pair(field, "a", "b", budget).verdict == verdict


def test_equivalence_waits_for_29_pairs_where_failures_may_be_unseen() -> None:
    assert EQUIVALENT_PAIRS == 29
    for n, verdict in ((20, "open"), (29, "equivalent")):
        scores = {"a": [10 + x / 1e3 for x in normal(0, n)], "b": [10 + x / 1e3 for x in normal(1, n)]}
        assert pair(scores, Scoring("higher", margin=0.5, floor=0.0)).verdict == verdict
        assert pair(scores, Scoring("higher", margin=0.5, floor=9.0)).verdict == "equivalent"  # a failure costs 1


# ---- the floor


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


def test_a_mean_above_the_floor_by_less_than_the_reach_of_the_held_out_answers_is_unsure() -> None:
    scores = [70.0, 71.0] * 10
    reach = HeldOut(12, chance=0.5, unit=100.0).reach(TWO.held_out)
    for floor, expected in ((50.0, "unsure"), (70.5 - reach - 1, "yes")):
        scoring = Scoring("higher", margin=1.0, floor=floor, held_out=HeldOut(12, chance=0.5, unit=100.0))
        assert looked({"a": scores}, scoring).learned == {"a": expected}
    assert looked({"a": scores}, Scoring("higher", margin=1.0, floor=50.0)).learned == {"a": "yes"}


# ---- repetitions that are needed


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


def test_one_repetition_says_nothing_of_what_is_needed() -> None:
    assert needed(pair({"a": [1.0], "b": [0.0]}), margin=0.1, budget=TWO) is None


# ---- the race


def raced(
    validation: np.ndarray, looks: Sequence[int], test: np.ndarray | None = None, scoring: Scoring = HIGHER
) -> Step:
    """Hand in every repetition that is asked for.  validation, test: (models, repetitions)."""
    test = validation if test is None else test
    names = [str(index) for index in range(len(validation))]
    budget = ErrorBudget.of(0.95, looks=looks, models=len(names))
    held = dict.fromkeys(names, 0)
    while True:
        seen = [{name: list(each[int(name)][: held[name]]) for name in names} for each in (validation, test)]
        step = follow(seen[0], seen[1], budget, on_validation=scoring, on_test=scoring)
        if not step.models:
            return step
        assert all(held[name] < step.repetitions for name in step.models)
        held |= dict.fromkeys(step.models, step.repetitions)


def test_a_race_asks_all_first_and_drops_who_is_worse_on_validation() -> None:
    random = np.random.default_rng(1)
    world = random.normal(0, 1, (1, 29)) + random.normal(0, 0.1, (4, 29)) + np.asarray([[0.0], [0.02], [-9.0], [-9.0]])
    budget = ErrorBudget.of(0.95, looks=(5, 10, 15), models=4)

    def after(n: int) -> Step:
        scores = {str(k): list(world[k][:n]) for k in range(4)}
        return follow(scores, scores, budget, on_validation=HIGHER, on_test=HIGHER)

    assert (after(0).repetitions, after(0).models) == (5, ("0", "1", "2", "3"))
    assert (after(5).repetitions, after(5).models) == (10, ("0", "1", "2", "3"))
    assert (after(10).repetitions, after(10).models, after(10).lost) == (15, ("0", "1"), {"2": 10, "3": 10})


def test_a_race_of_one_ends_at_the_first_look_that_claims() -> None:
    assert raced(np.zeros((1, 29)), ladder(29)).repetitions == 10


def test_a_clear_race_ends_early_and_an_even_one_at_its_end() -> None:
    world = np.random.default_rng(2).normal(0, 1, (2, 29))
    clear, even = raced(world + np.asarray([[20.0], [0.0]]), ladder(29)), raced(world, ladder(29))
    assert (clear.repetitions, clear.reads) == (10, (10,))
    assert (even.repetitions, even.reads) == (29, (29,))


def test_a_model_that_test_leaves_open_trains_on_whatever_validation_says() -> None:
    random = np.random.default_rng(3)
    test = random.normal(0, 1, (2, 29))
    step = raced(test + np.asarray([[30.0], [0.0]]), ladder(29), test=test)
    assert (step.repetitions, step.lost["1"]) == (29, 10)
    assert step.reads == (10, 15, 20, 29)


def test_a_model_that_comes_back_is_judged_on_all_its_repetitions() -> None:
    """On validation `2` is out after 10 and `1` after 15; test needs 15 pairs for either."""
    world = np.stack([np.zeros(29), -apart(1.3, 29), -apart(1.3, 29)])
    validation = world.copy()
    validation[2] = -30 - 0.1 * apart(0, 29)
    step = raced(validation, ladder(29), test=world)
    assert (step.repetitions, step.lost, step.reads) == (15, {"1": 15, "2": 10}, (15,))


def test_a_race_in_which_no_model_learns_ends_at_ten() -> None:
    scoring = Scoring("higher", floor=100.0)
    world = np.random.default_rng(4).normal(0, 1, (3, 29))
    assert raced(world, ladder(29), scoring=scoring).repetitions == 10


def test_validation_scores_are_read_against_the_floor_of_validation() -> None:
    """Both models are better than the floor of either split; against the other split's floor they would not be."""
    random = np.random.default_rng(5)
    test = np.asarray([[0.5], [0.9]]) + 0.01 * random.normal(size=(2, 29))
    scores = [{str(k): list(each[k][:10]) for k in range(2)} for each in (test + 1, test)]
    budget = ErrorBudget.of(0.95, looks=ladder(29), models=2)
    of_test, of_validation = Scoring("lower", floor=1.2), Scoring("lower", floor=2.2)
    step = follow(scores[0], scores[1], budget, on_validation=of_validation, on_test=of_test)
    assert (step.models, step.lost) == ((), {"1": 10})
    wrong = follow(scores[0], scores[1], budget, on_validation=of_test, on_test=of_test)
    assert wrong.lost == {}


def test_what_is_wanted_next_depends_on_the_scores_alone() -> None:
    """Repetitions beyond a look, as an extended race leaves them, change no earlier look."""
    world = np.random.default_rng(4).normal(0, 1, (3, 40)) + np.asarray([[0.0], [0.0], [-6.0]])
    budget = ErrorBudget.of(0.95, looks=ladder(29), models=3)
    short = {str(k): list(world[k][:10]) for k in range(3)}
    long = {"0": list(world[0]), "1": list(world[1][:10]), "2": list(world[2])}
    found = [follow(each, each, budget, on_validation=HIGHER, on_test=HIGHER) for each in (short, long)]
    assert found[0].lost == found[1].lost == {"2": 10}
    assert found[1].models == ("1",)


def test_an_extension_replays_the_looks_of_the_race_before_it() -> None:
    world = np.random.default_rng(6).normal(0, 1, (4, 60)) + np.asarray([[0.0], [0.0], [-1.5], [-3.0]])
    short, long = raced(world, ladder(29)), raced(world, ladder(60))
    assert short.lost.items() <= long.lost.items()
