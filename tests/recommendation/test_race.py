"""Decisions against closed forms and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from harness.recommendation.inference import DRAWS, POWER, needed, probabilities
from harness.recommendation.race import Duel, Errors, Gains, Look, Scores, Scoring, Step, follow, gains, ladder, look

HIGHER = Scoring("higher")
ERROR = 0.01
TWO = Errors.of(0.95, looks=5, models=2)


def field_of(scores: Scores, scoring: Scoring = HIGHER) -> Gains:
    field = gains(scores, scoring)
    assert field is not None
    return field


def looked(scores: Scores, scoring: Scoring = HIGHER) -> Look:
    return look(field_of(scores, scoring), TWO, error=ERROR)


def duel(scores: Scores, scoring: Scoring = HIGHER) -> Duel:
    (only,) = looked(scores, scoring).duels
    return only


def normal(seed: int, n: int, mean: float = 0.0) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, 1, n))


# ---- how scores are read


def test_the_permitted_error_is_shared_out_over_looks_and_rivals() -> None:
    errors = Errors.of(0.95, looks=5, models=4)
    assert errors.look * 5 * 3 + errors.answer * 3 == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("most", "looks"), [(3, (3,)), (5, (5,)), (7, (5, 7)), (29, (5, 10, 15, 20, 29)), (40, (5, 10, 15, 20, 29, 39, 40))]
)
def test_a_ladder_ends_at_the_most(most: int, looks: tuple[int, ...]) -> None:
    assert ladder(most) == looks


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


def test_a_lost_repetition_counts_as_the_worst_and_loses_to_the_worst() -> None:
    field = field_of({"a": [1.0, 2.0], "b": [5.0, math.nan], "c": [9.0, 0.5]}, Scoring("higher", floor=0.7))
    assert list(field.values["b"]) == [5.0, 0.5]
    by_rival = {one.rival: one for one in look(field, TWO, error=ERROR).duels}
    assert (by_rival["b"].wins, by_rival["b"].ties) == (2, 0)  # of c: 0.5 is a score, and b has none


# ---- duels


def test_the_probability_of_a_rival_is_students() -> None:
    one, other = normal(0, 9), normal(1, 9)
    scores = {"a": one, "b": other}
    found = duel(scores)
    test = stats.ttest_rel(scores[looked(scores).leader], scores[found.rival], alternative="greater")
    assert found.probability == pytest.approx(float(test.pvalue))
    assert found.difference is not None
    interval = stats.ttest_rel(scores[looked(scores).leader], scores[found.rival]).confidence_interval(1 - 2 * ERROR)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))


def test_two_repetitions_follow_cauchy_and_decide_nothing() -> None:
    found = duel({"a": [1.0, 3.0], "b": [0.0, 0.0]})
    assert found.probability == pytest.approx(0.5 - math.atan(2) / math.pi)
    assert found.verdict == "open"


def test_one_repetition_tells_nothing() -> None:
    found = duel({"a": [1.0], "b": [0.0]})
    assert (found.probability, found.difference, found.verdict) == (0.5, None, "open")


@pytest.mark.parametrize(("n", "verdict"), [(4, "open"), (5, "lost")])
def test_a_constant_difference_is_lost_where_the_sign_test_agrees(n: int, verdict: str) -> None:
    assert duel({"a": [1.0] * n, "b": [0.5] * n}).verdict == verdict


@pytest.mark.parametrize(("n", "verdict"), [(9, "open"), (10, "equivalent")])
def test_identical_scores_are_equivalent_from_ten_on_without_any_margin(n: int, verdict: str) -> None:
    assert duel({"a": normal(0, n), "b": normal(0, n)}).verdict == verdict


def test_a_sure_difference_within_the_margin_is_equivalent() -> None:
    one = np.asarray(normal(0, 20))
    assert duel({"a": list(one + 0.1), "b": list(one)}, Scoring("higher", margin=0.2)).verdict == "equivalent"
    assert duel({"a": list(one + 0.1), "b": list(one)}, Scoring("higher", margin=0.05)).verdict == "lost"


def test_a_mean_that_few_repetitions_make_is_not_lost() -> None:
    """Six coin flips and six ruins: the mean is sure to a t test at 5 %, the pairs are not."""
    one = [0.0] * 12
    other = [*([0.01, -0.01] * 3), *([-5.0, -5.0, -5.0, -5.0, -5.0, -5.0])]
    found = look(field_of({"a": one, "b": other}), TWO, error=0.05)
    assert found.duels[0].probability < 0.05
    assert (found.duels[0].wins, found.duels[0].verdict) == (9, "open")


def test_models_that_left_are_compared_on_what_both_have() -> None:
    found = looked({"a": normal(0, 10), "b": normal(1, 5, mean=-9)})
    assert found.leader == "a"
    assert (found.duels[0].n, found.duels[0].wins) == (5, 5)


# ---- the floor


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([3.0, 3.1, 2.9, 3.0, 3.05], "yes"),
        ([3.0, 3.0, 3.0, 1.0, 1.0], "yes"),  # two of five failed, as a task with a plateau has them
        ([3.0, 1.0, 1.0, 1.0, 1.0], "no"),
        ([1.4, 1.3, 1.4, 1.3, 1.4], "no"),  # within the margin
        ([9.0, 9.0, 0.2], "unsure"),
        ([9.0], "unsure"),
    ],
)
def test_what_was_learned_is_told_by_mean_majority_and_floor(scores: list[float], expected: str) -> None:
    found = look(field_of({"a": scores}, Scoring("higher", margin=0.5, floor=1.0)), TWO, error=ERROR)
    assert found.learned == {"a": expected}


def test_a_race_in_which_nobody_learns_ends_at_ten() -> None:
    scoring = Scoring("higher", floor=100.0)
    assert not looked({"a": normal(0, 9), "b": normal(1, 9)}, scoring).over
    assert looked({"a": normal(0, 10), "b": normal(1, 10)}, scoring).over


# ---- the probability of being best


@pytest.mark.parametrize("n", [2, 3, 10, 29])
def test_of_two_it_is_students_t(n: int) -> None:
    one, other = normal(0, n, mean=0.3), normal(1, n)
    difference = np.asarray(one) - np.asarray(other)
    t = difference.mean() / difference.std(ddof=1) * math.sqrt(n)
    expected = float(stats.t.cdf(t, n - 1))
    found = probabilities(field_of({"a": one, "b": other}), ["a", "b"])
    assert found["a"] == pytest.approx(expected, abs=4 * math.sqrt(0.25 / DRAWS))
    assert sum(found.values()) == pytest.approx(1)


def test_of_independent_equals_it_is_shared() -> None:
    """Three columns whose covariance is a multiple of the identity and whose means are equal: a third each."""
    basis = np.asarray(stats.ortho_group.rvs(6, random_state=0))
    centred = basis - basis.mean(axis=0)
    columns = np.linalg.qr(centred[:, :5])[0][:, :3]
    columns = columns - columns.mean(axis=0)
    found = probabilities(field_of({str(k): list(columns[:, k]) for k in range(3)}), ["0", "1", "2"])
    assert list(found.values()) == pytest.approx([1 / 3] * 3, abs=0.01)


def test_models_of_the_same_scores_share_and_one_model_has_all() -> None:
    one, other = normal(0, 8), normal(1, 8)
    field = field_of({"a": one, "b": other, "c": one})
    found = probabilities(field, ["a", "b", "c"])
    assert found["a"] == found["c"]
    assert found["a"] + found["c"] == pytest.approx(probabilities(field, ["a", "b"])["a"], abs=0.01)
    assert probabilities(field, ["a"]) == {"a": 1.0}


def test_it_is_the_same_in_every_process() -> None:
    field = field_of({"a": normal(0, 8), "b": normal(1, 8), "c": normal(2, 8)})
    assert probabilities(field, ["a", "b", "c"]) == probabilities(field, ["a", "b", "c"])


def test_it_is_right_as_often_as_it_says() -> None:
    """3 models, true means drawn widely against the error of a mean: of those said 0.8 to 0.97, as many are right."""
    random = np.random.default_rng(0)
    said: list[tuple[float, bool]] = []
    for _ in range(300):
        means = random.normal(0, 0.6, 3)
        drawn = means + random.normal(0, 1, (10, 1)) + random.normal(0, 1, (10, 3))  # pairs share a part
        found = probabilities(field_of({str(k): list(drawn[:, k]) for k in range(3)}), ["0", "1", "2"])
        best = max(found, key=found.__getitem__)
        said.append((found[best], int(best) == int(means.argmax())))
    expected = sum(chance for chance, _ in said)
    right = sum(right for _, right in said)
    deviation = math.sqrt(sum(chance * (1 - chance) for chance, _ in said))
    assert abs(right - expected) < 4 * deviation + 0.05 * len(said)  # the prior is flat, the world is not
    sure = [right for chance, right in said if chance >= 0.95]
    assert len(sure) > 50
    assert sum(sure) >= 0.95 * len(sure) - 3 * math.sqrt(0.95 * 0.05 * len(sure))


# ---- what it would cost


def power_of(n: int, draw: Callable[[np.random.Generator, int], Sequence[Sequence[float]]], wanted: str) -> float:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        one, other = draw(random, n)
        hits += duel({"a": one, "b": other}, Scoring("higher", margin=0.8)).verdict == wanted
    return hits / 300


def test_the_needed_repetitions_find_a_difference_with_the_stated_power() -> None:
    shown = Duel("b", 10, 8, 0, None, mean=1.2, spread=1.0, probability=0.1, verdict="open")
    n = needed(shown, margin=0.8, error=ERROR)
    assert n is not None

    def draw(random: np.random.Generator, n: int) -> tuple[list[float], list[float]]:
        other = random.normal(size=n)
        return list(other + random.normal(1.2, 1, n)), list(other)

    assert power_of(n, draw, "lost") == pytest.approx(POWER, abs=0.12)


def test_the_needed_repetitions_find_an_equivalence_with_the_stated_power() -> None:
    shown = Duel("b", 10, 5, 0, None, mean=0.0, spread=1.0, probability=0.5, verdict="open")
    n = needed(shown, margin=0.8, error=ERROR)
    assert n is not None

    def draw(random: np.random.Generator, n: int) -> tuple[list[float], list[float]]:
        other = random.normal(size=n)
        return list(other + random.normal(0, 1, n)), list(other)

    assert power_of(n, draw, "equivalent") == pytest.approx(POWER, abs=0.12)


def test_equals_without_a_margin_are_never_told_apart() -> None:
    shown = Duel("b", 10, 5, 0, None, mean=0.0, spread=1.0, probability=0.5, verdict="open")
    assert needed(shown, margin=0.0, error=ERROR) is None


def test_one_repetition_says_nothing_of_what_is_needed() -> None:
    assert needed(duel({"a": [1.0], "b": [0.0]}), margin=0.1, error=ERROR) is None


# ---- the race


def raced(world: np.ndarray, scoring: Scoring, looks: Sequence[int]) -> Step:
    """world: (models, repetitions).  Every repetition that is asked for is handed in."""
    models = [str(index) for index in range(len(world))]
    errors = Errors.of(0.95, looks=len(looks), models=len(models))
    held = dict.fromkeys(models, 0)
    while True:
        step = follow({model: list(world[int(model)][: held[model]]) for model in models}, scoring, looks, errors)
        if not step.models:
            return step
        assert all(held[model] < step.repetitions for model in step.models)
        held |= dict.fromkeys(step.models, step.repetitions)


def test_a_race_asks_all_first_and_drops_who_has_lost() -> None:
    random = np.random.default_rng(1)
    world = random.normal(0, 1, (1, 29)) + random.normal(0, 0.1, (4, 29)) + np.asarray([[0.0], [0.02], [-9.0], [-9.0]])
    first = follow({str(k): [] for k in range(4)}, HIGHER, (5, 10), Errors.of(0.95, looks=2, models=4))
    assert (first.repetitions, first.models) == (5, ("0", "1", "2", "3"))
    second = follow({str(k): list(world[k][:5]) for k in range(4)}, HIGHER, (5, 10), Errors.of(0.95, looks=2, models=4))
    assert (second.repetitions, second.models, second.lost) == (10, ("0", "1"), {"2": 5, "3": 5})


def test_a_race_of_one_ends_at_its_first_look() -> None:
    assert raced(np.zeros((1, 29)), HIGHER, ladder(29)).repetitions == 5


def test_a_clear_race_ends_early_and_an_even_one_at_its_end() -> None:
    random = np.random.default_rng(2)
    world = random.normal(0, 1, (2, 29))
    assert raced(world + np.asarray([[20.0], [0.0]]), HIGHER, ladder(29)).repetitions == 5
    assert raced(world, HIGHER, ladder(29)).repetitions == 29


def test_the_truly_best_is_rarely_dropped() -> None:
    """With 4 models, one better by a tenth of a spread, over 5 looks: at most the race's half of the error."""
    random = np.random.default_rng(3)
    better, races = np.asarray([[0.1], [0.0], [0.0], [0.0]]), 200
    dropped = sum("0" in raced(random.normal(0, 1, (4, 29)) + better, HIGHER, ladder(29)).lost for _ in range(races))
    assert dropped <= stats.binom.ppf(0.999, races, 0.025)


def test_what_is_wanted_next_depends_on_the_scores_alone() -> None:
    """Repetitions beyond a look, as an extended race leaves them, change no earlier look."""
    world = np.random.default_rng(4).normal(0, 1, (3, 40)) + np.asarray([[0.0], [0.0], [-6.0]])
    errors = Errors.of(0.95, looks=5, models=3)
    short = follow({str(k): list(world[k][:10]) for k in range(3)}, HIGHER, ladder(29), errors)
    long = follow({"0": list(world[0]), "1": list(world[1][:10]), "2": list(world[2])}, HIGHER, ladder(29), errors)
    assert short.lost == long.lost
    assert long.models == ("1",)
