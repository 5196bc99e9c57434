from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.equivalence_test import equivalence_p_value
from harness.analysis.paired_tests import Decision, correct, decide, noether_pairs, power
from harness.analysis.sign_test import fewest_pairs
from harness.analysis.statistics import proportion

NAN = math.nan


def against(*gains: float) -> Decision:
    """A model against another that scores 0, higher is better."""
    return decide(gains, [0.0] * len(gains), better="higher")


def test_pairs_to_find_a_meaningful_probability_are_the_published_ones() -> None:
    # Bouthillier et al. 2021: 29 at 5 % and 5 %; 17 at a power of 80 %.
    assert noether_pairs(0.75, alpha=0.05, power=0.95) == 29
    assert noether_pairs(0.75, alpha=0.05, power=0.8) == 17


@pytest.mark.parametrize("probability", [0.5, 0.2, 1.1])
def test_no_number_of_pairs_finds_a_coin(probability: float) -> None:
    with pytest.raises(ValueError, match="not above a half"):
        noether_pairs(probability)


@pytest.mark.parametrize(("better", "verdict"), [("higher", "better"), ("lower", "worse")])
def test_ten_wins_of_ten_decide_in_the_direction_of_the_metric(
    better: Literal["lower", "higher"], verdict: str
) -> None:
    decision = decide([2.0] * 10, [1.0] * 10, better=better)
    assert (decision.verdict, decision.needed) == (verdict, None)


def test_ten_of_ten_decide_and_nine_do_not() -> None:
    assert against(*[1.0] * 10).verdict == "better"
    nine = against(*[1.0] * 9, -1.0)
    assert (nine.verdict, nine.needed) == ("undecided", 15)
    assert nine.interval == proportion(9, 10).interval


def test_verdicts_of_a_task_share_the_error() -> None:
    alone = [against(*[1.0] * 10)] * 3
    assert [decision.verdict for decision in alone] == ["better"] * 3
    assert alone[0].p_sign * 3 > 0.05
    assert [decision.verdict for decision in correct(alone)] == ["undecided"] * 3
    assert correct(alone)[0].needed == 14
    assert [each.verdict for each in correct([against(*[1.0] * 13, -1.0)] * 3)] == ["better"] * 3
    assert [decision.verdict for decision in correct([against(*[1.0] * 29)] * 36)] == ["better"] * 36


def test_an_equivalence_is_one_more_claim_that_shares_the_error() -> None:
    second = list(np.linspace(80.0, 90.0, 12))
    first = [score + 0.1 + 0.09 * (-1) ** n for n, score in enumerate(second)]
    near = decide(first, second, better="higher", margin=0.215)
    assert (near.verdict, near.within) == ("equivalent", True)
    assert near.p_equivalent is not None
    assert 0.05 / 3 < near.p_equivalent < 0.05 / 2
    assert 6 * near.p_sign < 0.05
    assert {each.verdict for each in correct([near] * 3)} == {"undecided"}  # never better: it is within the margin
    difference = np.asarray(first) - second
    error = float(stats.sem(difference))
    assert near.p_equivalent == pytest.approx(equivalence_p_value(difference.mean(), error, 12, 0.215))


def test_nine_wins_of_nine_are_too_few_pairs() -> None:
    decision = against(*[1.0] * 9)
    assert decision.interval.low > 0.5
    assert (decision.verdict, decision.needed) == ("undecided", 12)


def test_ties_count_half_and_widen_the_interval() -> None:
    decision = against(*[1.0] * 6, 0.0, 0.0, -1.0, -1.0)
    assert (decision.wins, decision.ties, decision.probability) == (6, 2, 0.7)
    assert (decision.interval.low, decision.interval.high) == (
        proportion(6, 10).interval.low,
        proportion(8, 10).interval.high,
    )


def test_equal_scores_are_equivalent_only_where_the_task_states_a_margin() -> None:
    scores = [90.0, 91.0] * 5
    assert decide(scores, scores, better="higher", margin=0.5).verdict == "equivalent"
    assert decide(scores, scores, better="higher").verdict == "undecided"


def test_sure_difference_within_the_margin_is_equivalent() -> None:
    second = list(np.linspace(80.0, 90.0, 12))
    first = [score + 0.1 for score in second]
    assert decide(first, second, better="higher", margin=0.05).verdict == "better"
    assert decide(first, second, better="higher", margin=0.2).verdict == "equivalent"


def test_margin_of_a_log_metric_is_a_factor() -> None:
    second = [10.0**exponent for exponent in range(-10, 0)]
    first = [1.5 * score for score in second]
    assert decide(first, second, better="lower", margin=math.log(2), scale="log").verdict == "equivalent"
    assert decide(first, second, better="lower", margin=math.log(1.4), scale="log").verdict == "worse"


def test_equivalence_needs_ten_pairs() -> None:
    assert decide([1.0] * 9, [1.0] * 9, better="higher", margin=0.5).verdict == "undecided"


def test_repetition_without_a_score_loses_its_pair() -> None:
    decision = decide([5.0] * 10, [NAN] * 10, better="lower")
    assert (decision.verdict, decision.difference) == ("better", None)
    both = decide([NAN] * 10, [NAN] * 10, better="lower", margin=1.0)
    assert (both.verdict, both.ties) == ("undecided", 10)


def test_score_without_a_logarithm_leaves_equivalence_open() -> None:
    decision = decide([0.0] * 10, [1e-9] * 10, better="lower", margin=1.0, scale="log")
    assert (decision.verdict, decision.difference) == ("better", None)


def test_lists_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 scores are no pairs"):
        decide([1.0, 2.0], [1.0], better="lower")
    with pytest.raises(ValueError, match="no pairs"):
        decide([], [], better="lower")


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1, max_size=30), st.floats(0, 2))
def test_the_other_side_gets_the_opposite_verdict(pairs: list[tuple[float, float]], margin: float) -> None:
    first, second = [list(side) for side in zip(*pairs, strict=True)]
    forth, back = (decide(a, b, better="lower", margin=margin) for a, b in ((first, second), (second, first)))
    opposite = {"better": "worse", "worse": "better"}
    assert back.verdict == opposite.get(forth.verdict, forth.verdict)
    assert back.probability == pytest.approx(1 - forth.probability)
    assert back.needed == forth.needed
    reverse = forth.reversed
    assert (reverse.verdict, reverse.wins, reverse.ties, reverse.needed) == (
        back.verdict,
        back.wins,
        back.ties,
        back.needed,
    )
    assert (reverse.interval.low, reverse.interval.high) == pytest.approx((back.interval.low, back.interval.high))


def test_false_claims_between_equal_models_are_rarer_than_five_percent() -> None:
    for n in (10, 29, 30):
        decided = [wins for wins in range(n + 1) if against(*[1.0] * wins, *[-1.0] * (n - wins)).verdict != "undecided"]
        assert 0 < sum(stats.binom.pmf(wins, n, 0.5) for wins in decided) <= 0.05


def test_power_is_the_share_of_samples_that_decide() -> None:
    random = np.random.default_rng(3)
    samples = (random.random((800, 20)) < 0.8).astype(float)
    decided = np.mean([against(*(sample - 0.5)).verdict == "better" for sample in samples])
    assert power(20, 0.8) == pytest.approx(decided, abs=0.04)
    assert power(9, 1.0) == 0.0


@pytest.mark.parametrize(("models", "equivalence", "fewest"), [(2, False, 10), (4, False, 12), (4, True, 14)])
def test_fewest_pairs_are_decided_and_one_fewer_is_not(models: int, equivalence: bool, fewest: int) -> None:
    assert fewest_pairs(models, equivalence=equivalence) == fewest
    others = math.comb(models, 2) * (2 if equivalence else 1) - 1
    undecided = [against(*[1.0, -1.0] * 10)] * others
    (first, *_) = correct([against(*[1.0] * fewest), *undecided])
    assert first.verdict == "better"
    (first, *_) = correct([against(*[1.0] * (fewest - 1)), *undecided])
    assert first.verdict == "undecided"
