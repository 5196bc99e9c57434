"""The always-valid sign test, from its definition, and the pairs that it needs."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from harness.analysis.sign_test import ALTERNATIVES, needed_pairs, sign_p_value


def test_the_p_value_is_one_over_the_mixture_of_likelihood_ratios() -> None:
    ratios = [
        weight / 2 * sum((2 * rate) ** a * (2 - 2 * rate) ** b for a, b in ((8, 2), (2, 8)))
        for rate, weight in ALTERNATIVES
    ]
    assert sign_p_value(8, 2) == pytest.approx(min(1, 1 / sum(ratios)))
    assert sum(weight for _, weight in ALTERNATIVES) == pytest.approx(1)


def test_the_evidence_is_a_martingale_so_pairs_may_be_added_until_decided() -> None:
    """The expected evidence after n pairs of equal models is 1, over all outcomes."""
    for n in (1, 7, 30):
        evidence = [
            sum(
                weight / 2 * ((2 * r) ** w * (2 - 2 * r) ** (n - w) + (2 * r) ** (n - w) * (2 - 2 * r) ** w)
                for r, weight in ALTERNATIVES
            )
            for w in range(n + 1)
        ]
        expected = sum(stats.binom.pmf(w, n, 0.5) * each for w, each in enumerate(evidence))
        assert expected == pytest.approx(1)
        assert [sign_p_value(w, n - w) for w in range(n + 1)] == pytest.approx([min(1, 1 / e) for e in evidence])


def test_a_tie_counts_against_the_claim() -> None:
    assert sign_p_value(9, 0, 2) > sign_p_value(9, 0)
    evidence = sum(weight / 2 * ((2 * r) ** 9 * (2 - 2 * r) ** 2 + (2 - 2 * r) ** 11) for r, weight in ALTERNATIVES)
    assert sign_p_value(9, 0, 2) == pytest.approx(1 / evidence)
    assert sign_p_value(9, 0, 2) == sign_p_value(0, 9, 2)
    assert sign_p_value(0, 0, 20) == 1


@pytest.mark.parametrize(
    ("wins", "losses", "ties", "claims", "rate"),
    [(9, 0, 0, 1, 10 / 11), (3, 2, 0, 12, 0.75), (5, 5, 20, 6, 0.75), (60, 40, 0, 6, 61 / 102)],
)
def test_needed_pairs_are_the_fewest_that_decide_if_the_leader_wins_at_its_rate(
    wins: int, losses: int, ties: int, claims: int, rate: float
) -> None:
    needed, n = needed_pairs(wins, losses, ties, claims), wins + losses + ties
    assert needed is not None
    for number, decides in [(needed - 1, False), (needed, True)]:
        won = wins + math.floor(rate * (number - n))
        evidence = sum(w / 2 * (2 * r) ** won * (2 - 2 * r) ** (number - won) for r, w in ALTERNATIVES)
        assert (claims / evidence <= 0.05) is decides


def test_needed_pairs_of_a_coin_are_too_many_and_of_few_pairs_those_of_a_meaningful_difference() -> None:
    assert needed_pairs(30, 30) is None
    assert needed_pairs(300, 250, claims=12) is None
    assert needed_pairs(3, 2) == needed_pairs(3, 2, claims=1)
    assert (needed_pairs(3, 2) or 0) < (needed_pairs(3, 2, claims=12) or 0)
