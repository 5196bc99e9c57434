"""Posterior of the best model and power of a comparison: plain numbers in, plain numbers out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]

DRAWS = 20_000
"""Draws from the posterior; from ten repetitions on, the Monte Carlo error of a probability is about 0.004.

It is larger with fewer repetitions if the means differ by many standard deviations: few draws then have most of the
weight.
"""
SHRINKAGE = 2.0
"""First parameter of the Beta(SHRINKAGE, 1) prior of the shrinkage factor; its mean is two thirds."""


def best_probabilities(values: Array, *, seed: int = 0) -> Array:
    """Return each model's probability of having the best mean.  values: (models, n), higher is better.

    Hierarchical normal model with an effect of each repetition that all models share: model means are drawn from one
    normal distribution, so close means are shrunk towards each other.  The shrinkage factor B = s^2 / (s^2 + tau^2) has
    a Beta(2, 1) prior (Strawderman 1971), the residual variance a reference prior.  Approximate where scores are far
    from normal, or where models differ much in spread.  Rows that are equal get equal probabilities.
    """
    models, n = values.shape
    if models == 1 or n < 2:
        return np.full(models, 1 / models)
    distinct, place, count = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) == 1:
        return np.full(models, 1 / models)
    means, weights = _posterior_means(distinct, np.random.default_rng(seed))
    share = np.bincount(means.argmax(axis=1), weights=weights, minlength=len(distinct)) / weights.sum()
    probabilities: Array = (share / count)[place.ravel()]
    return probabilities


def _posterior_means(values: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Return draws of the models' means, (draws, models), and the weight of each draw."""
    models, n = values.shape
    means = values.mean(axis=1)
    residual = values - means[:, None] - values.mean(axis=0) + means.mean()
    within, between = float((residual**2).sum()), float(((means - means.mean()) ** 2).sum())
    if within <= 1e-24 * max(between, 1e-300):  # every repetition agrees exactly
        return np.repeat(means[None], DRAWS, axis=0), np.ones(DRAWS)
    variance = within / random.chisquare((models - 1) * (n - 1), DRAWS) / n  # of one mean
    shape, rate = (models - 1) / 2 + SHRINKAGE, between / (2 * variance)
    rate = np.maximum(rate, 1e-9)
    mass = np.maximum(special.gammainc(shape, rate), 1e-300)
    factor = special.gammaincinv(shape, random.random(DRAWS) * mass) / rate  # truncated gamma on (0, 1)
    factor = np.clip(factor, 1e-9, 1.0)
    logs = -(models - 1) / 2 * np.log(variance) - shape * np.log(rate) + np.log(mass)
    centre = means.mean() + np.sqrt(variance / (models * factor)) * random.standard_normal(DRAWS)
    own = np.sqrt((1 - factor) * variance)[:, None] * random.standard_normal((DRAWS, models))
    drawn: Array = (1 - factor)[:, None] * means + (factor * centre)[:, None] + own
    weights: Array = np.exp(logs - logs.max())
    return drawn, weights


def mean_above_zero(mean: float, spread: float, n: int) -> float:
    """Return one minus the p-value of Student's one-sided t test that a mean is above zero, with n - 1 degrees."""
    if spread == 0:
        return 0.5 if mean == 0 else float(mean > 0)
    return float(special.stdtr(n - 1, mean / spread * math.sqrt(n)))


def student_reach(spread: float, n: int, error: float) -> float:
    """Return the distance from a sample mean to its one-sided confidence limit at this error; infinite at error 0."""
    if error <= 0:
        return math.inf
    return -float(special.stdtrit(n - 1, error)) * spread / math.sqrt(n)


def difference_power(effect: float, n: int, error: float) -> float:
    """Return the power of a one-sided t test: noncentral t below 100 pairs, its normal limit from there on.

    effect: the mean in units of the standard deviation.
    """
    if n < 2 or error <= 0:
        return 0.0
    shift, critical = effect * math.sqrt(n), -float(special.stdtrit(n - 1, error))
    if shift > 30:
        return 1.0
    return float(stats.nct.sf(critical, n - 1, shift)) if n < 100 else float(stats.norm.sf(critical - shift))


def equivalence_power(mean: float, spread: float, n: int, *, margin: float, error: float) -> float:
    """Return a lower bound on the power of two one-sided t tests against the margin (Schuirmann 1987)."""
    if abs(mean) >= margin:
        return 0.0
    sides = [difference_power((margin + side * mean) / spread, n, error) for side in (1, -1)]
    return max(sum(sides) - 1, 0.0)
