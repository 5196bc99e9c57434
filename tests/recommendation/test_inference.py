"""The posterior of the best model and the power of a comparison, against closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import linalg, special, stats

from harness.recommendation.inference import (
    SHRINKAGE,
    best_probabilities,
    difference_power,
    equivalence_power,
    mean_above_zero,
    student_reach,
)


def test_equal_rows_share_and_one_model_has_all() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 8))
    probabilities = best_probabilities(np.stack([first, second, first]))
    assert probabilities[0] == probabilities[2]
    assert probabilities.sum() == pytest.approx(1)
    assert list(best_probabilities(first[None])) == [1.0]
    assert list(best_probabilities(np.zeros((4, 1)))) == [0.25] * 4
    assert list(best_probabilities(np.stack([first, first]))) == [0.5, 0.5]


def test_two_equal_means_share() -> None:
    values = np.asarray([[1.0, -1.0, 2.0, -2.0], [-1.0, 1.0, -2.0, 2.0]])
    assert list(best_probabilities(values)) == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_difference_without_any_spread_is_sure() -> None:
    assert list(best_probabilities(np.asarray([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]))) == [1.0, 0.0]


def test_two_models_follow_the_integral_over_the_shrinkage_factor() -> None:
    """With many repetitions the variance is known: P = E[Phi(sqrt(1 - B) d / s)] over B given the difference d."""
    random = np.random.default_rng(1)
    values = random.normal(size=(2, 2000))
    values -= values.mean(axis=1, keepdims=True)
    values[0] += 0.08
    scale = math.sqrt(float((values[0] - values[1]).var(ddof=1)) / 2000)
    grid = (np.arange(20_000) + 0.5) / 20_000
    weight = grid ** (SHRINKAGE - 1) * np.sqrt(grid) * np.exp(-grid * (0.08 / scale) ** 2 / 2)
    expected = float((weight * special.ndtr(np.sqrt(1 - grid) * 0.08 / scale)).sum() / weight.sum())
    assert best_probabilities(values)[0] == pytest.approx(expected, abs=0.012)


def integrated_best(values: NDArray[np.float64]) -> list[float]:
    """Integrate P(best) over a grid of log variance and shrinkage factor.

    Orthonormal contrasts remove the effect of each repetition and the common mean.  What is left is normal: contrasts
    of single scores have the residual variance, and contrasts of means have s^2 + tau^2 = s^2 / B.
    """
    models, n = values.shape
    means, across = values.mean(axis=1), linalg.helmert(models)
    single, contrasts = (across @ values @ linalg.helmert(n).T).ravel(), across @ means
    least = math.log(float((single**2).mean())) - 5
    most = math.log(max(float((single**2).mean()), float((contrasts**2).mean()))) + 25
    variance = np.exp(np.linspace(least, most, 400))[:, None]  # a flat prior of its logarithm
    factor = (np.arange(120)[None] + 0.5) / 120
    of_mean = variance / n
    logs = stats.beta.logpdf(factor, SHRINKAGE, 1)
    logs = logs + np.sum(stats.norm.logpdf(single[:, None, None], scale=np.sqrt(variance)), axis=0)
    logs = logs + np.sum(stats.norm.logpdf(contrasts[:, None, None], scale=np.sqrt(of_mean / factor)), axis=0)
    weights = np.exp(logs - logs.max())
    # Given both, a model's mean is normal around (1 - B) times its sample mean, with variance (1 - B) s^2.
    nodes, share = np.polynomial.hermite_e.hermegauss(16)
    apart = np.sqrt((1 - factor) / of_mean)
    best = []
    for model in range(models):
        beaten = [special.ndtr(nodes[:, None, None] + apart * (means[model] - means[other]))
                  for other in range(models) if other != model]  # fmt: skip
        inner = np.einsum("n,nvb->vb", share / share.sum(), np.prod(beaten, axis=0))
        best.append(float((weights * inner).sum() / weights.sum()))
    return best


@pytest.mark.parametrize(("models", "n", "gap"), [(2, 5, 0.5), (3, 3, 1.0), (4, 2, 1.0), (4, 6, 1.0), (2, 2, 9.0)])
def test_few_repetitions_follow_the_integral_over_variance_and_shrinkage(models: int, n: int, gap: float) -> None:
    """With few repetitions the differences between models also inform the variance."""
    random = np.random.default_rng(0)
    values = random.normal(size=(models, n)) + random.normal(size=n)
    values[0] += gap
    drawn = np.stack([best_probabilities(values, seed=seed) for seed in range(8)])
    expected = np.asarray(integrated_best(values))
    assert np.abs(drawn - expected).max() < 0.015
    assert np.abs(drawn.mean(axis=0) - expected).max() < 0.005


def test_an_effect_of_the_repetition_that_all_share_has_no_effect() -> None:
    values = np.random.default_rng(2).normal(size=(3, 10))
    shared = 100 * np.random.default_rng(3).normal(size=10)
    assert best_probabilities(values + shared) == pytest.approx(best_probabilities(values), abs=1e-6)


def test_another_scale_has_no_effect() -> None:
    values = np.random.default_rng(4).normal(size=(3, 10))
    assert best_probabilities(1e-6 * values) == pytest.approx(best_probabilities(values), abs=1e-6)


def test_the_seed_alone_decides_the_draws() -> None:
    values = np.random.default_rng(5).normal(size=(3, 10))
    assert list(best_probabilities(values, seed=1)) == list(best_probabilities(values, seed=1))
    assert list(best_probabilities(values, seed=1)) != list(best_probabilities(values, seed=2))


@pytest.mark.parametrize(("models", "n"), [(2, 10), (5, 10), (9, 5), (9, 29)])
def test_it_is_right_as_often_as_it_says(models: int, n: int) -> None:
    """True means drawn from the prior: of what is said, the expected share is right within Monte Carlo noise."""
    random = np.random.default_rng(models + n)
    said, right = [], []
    for _ in range(250):
        factor = random.random() ** (1 / SHRINKAGE)  # Beta(SHRINKAGE, 1)
        spread = math.sqrt((1 - factor) / factor / n)
        means = spread * random.normal(size=models)
        probabilities = best_probabilities(means[:, None] + random.normal(size=n) + random.normal(size=(models, n)))
        said.append(probabilities)
        right.append(int(means.argmax()))
    shares = np.asarray(said)
    for chosen in (shares.max(axis=1) >= 0, shares.max(axis=1) >= 0.5):
        top = shares[chosen].max(axis=1)
        hits = (shares[chosen].argmax(axis=1) == np.asarray(right)[chosen]).sum()
        deviation = math.sqrt(float((top * (1 - top)).sum()))
        assert abs(hits - top.sum()) <= 3.5 * deviation


# ---- Student


@pytest.mark.parametrize(("mean", "expected"), [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)])
def test_a_mean_without_spread_is_sure(mean: float, expected: float) -> None:
    assert mean_above_zero(mean, 0.0, 10) == expected


def test_reach_and_p_value_agree() -> None:
    reach = student_reach(2.0, 12, 0.01)
    assert mean_above_zero(reach, 2.0, 12) == pytest.approx(0.99)
    assert student_reach(2.0, 12, 0.0) == math.inf
    assert student_reach(2.0, 12, 1e-20) > student_reach(2.0, 12, 1e-10)


@pytest.mark.parametrize("n", [12, 99, 100])
def test_power_is_the_share_of_samples_that_decide(n: int) -> None:
    random = np.random.default_rng(n)
    effect = 3.0 / math.sqrt(n)
    drawn = random.normal(effect, 1, (4000, n))
    t = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * math.sqrt(n)
    share = float((t > stats.t.ppf(0.995, n - 1)).mean())
    assert difference_power(effect, n, 0.005) == pytest.approx(share, abs=0.03)


def test_power_of_an_equivalence_is_that_of_both_sides() -> None:
    random = np.random.default_rng(0)
    drawn = random.normal(0.1, 1, (4000, 40))
    reach = stats.t.ppf(0.99, 39) * drawn.std(axis=1, ddof=1) / math.sqrt(40)
    inside = (np.abs(drawn.mean(axis=1)) + reach < 0.8).mean()
    assert equivalence_power(0.1, 1.0, 40, margin=0.8, error=0.01) == pytest.approx(float(inside), abs=0.03)
    assert equivalence_power(0.8, 1.0, 40, margin=0.8, error=0.01) == 0
