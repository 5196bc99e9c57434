"""The always-valid test of equivalence, from its definition, and its error when pairs are added until it decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from harness.analysis.equivalence_test import PRIOR_VARIANCE, equivalence_p_value, t_evidence


@pytest.mark.parametrize(("t", "n"), [(0.0, 10), (1.5, 2), (3.0, 15), (6.0, 40)])
def test_the_evidence_is_the_ratio_of_the_densities_of_t_averaged_over_effects(t: float, n: int) -> None:
    def ratio(effect: float) -> float:
        prior = stats.norm.pdf(effect, scale=math.sqrt(PRIOR_VARIANCE))
        return float(stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) / stats.t.pdf(t, n - 1) * prior)

    expected, _ = integrate.quad(ratio, -6, 6, limit=200, points=[t / math.sqrt(n)])
    assert math.exp(t_evidence(t, n)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n", [2, 10, 60])
def test_the_expected_evidence_is_one_where_the_hypothesis_holds(n: int) -> None:
    expected, _ = integrate.quad(lambda t: math.exp(t_evidence(t, n)) * stats.t.pdf(t, n - 1), -np.inf, np.inf)
    assert expected == pytest.approx(1, rel=1e-4)


def test_a_difference_of_the_margin_is_rarely_called_equivalent_at_any_number_of_pairs() -> None:
    random = np.random.default_rng(5)
    spread, studies, looks = 0.1, 1000, range(10, 61, 5)
    drawn = spread + spread * random.standard_normal((studies, looks[-1]))
    false = sum(any(p_value(each[:n], margin=spread) <= 0.05 for n in looks) for each in drawn)
    assert false > 0
    assert stats.binomtest(false, studies, 0.05, alternative="greater").pvalue > 0.01
    of_fixed_size = sum(
        any(stats.ttest_1samp(each[:n], spread, alternative="less").pvalue <= 0.05 for n in looks) for each in drawn
    )
    assert of_fixed_size > 2 * 0.05 * studies  # so these looks do find a test that must not be repeated


def p_value(differences: np.ndarray, margin: float) -> float:
    n = len(differences)
    return equivalence_p_value(float(differences.mean()), float(stats.sem(differences)), n, margin)


def test_equal_means_are_found_to_be_equivalent_where_the_margin_is_wide() -> None:
    random = np.random.default_rng(6)
    found = [p_value(random.standard_normal(20), margin=1.5) <= 0.05 for _ in range(200)]
    assert np.mean(found) > 0.95


def test_a_mean_outside_the_margin_is_no_evidence_and_equal_differences_within_it_are_much() -> None:
    assert equivalence_p_value(-0.5, 0.01, 20, 0.5) == 1.0
    assert equivalence_p_value(0.6, 0.0, 20, 0.5) == 1.0
    assert equivalence_p_value(0.1, 0.0, 10, 0.5) < 1e-4
    assert equivalence_p_value(0.1, 0.0, 10, 0.5) == pytest.approx(equivalence_p_value(0.1, 1e-12, 10, 0.5))
    assert equivalence_p_value(0.1, 0.0, 1, 0.5) == 1.0
