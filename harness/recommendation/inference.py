"""Posterior of the best model and power of a comparison: plain numbers in, plain numbers out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]

DRAWS = 20_000
"""Draws from the posterior; the Monte Carlo error of a probability is at most 0.004 (one standard error)."""
GRID = 4_000
"""Points at which the posterior density of the variance is computed, over all values that have any weight."""
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
    means = _posterior_means(distinct, np.random.default_rng(seed))
    share = np.bincount(means.argmax(axis=1), minlength=len(distinct)) / len(means)
    probabilities: Array = (share / count)[place.ravel()]
    return probabilities


def _posterior_means(values: Array, random: np.random.Generator) -> Array:
    """Return draws of the models' means, (draws, models)."""
    models, n = values.shape
    means = values.mean(axis=1)
    residual = values - means[:, None] - values.mean(axis=0) + means.mean()
    within, between = float((residual**2).sum()), float(((means - means.mean()) ** 2).sum())
    if within <= 1e-24 * max(between, 1e-300):  # every repetition agrees exactly
        return np.repeat(means[None], DRAWS, axis=0)
    variance = _variances(within / n, between, models, (models - 1) * (n - 1), random)
    shape, rate, mass = _shrinkage(variance, between, models)
    factor = special.gammaincinv(shape, random.random(DRAWS) * mass) / rate  # truncated gamma on (0, 1)
    factor = np.clip(factor, 1e-9, 1.0)
    centre = means.mean() + np.sqrt(variance / (models * factor)) * random.standard_normal(DRAWS)
    own = np.sqrt((1 - factor) * variance)[:, None] * random.standard_normal((DRAWS, models))
    drawn: Array = (1 - factor)[:, None] * means + (factor * centre)[:, None] + own
    return drawn


def _variances(within: float, between: float, models: int, degrees: int, random: np.random.Generator) -> Array:
    """Return draws of the variance of one model's mean, from its posterior on a grid of its logarithm.

    within: residual sum of squares over n.  between: sum of squares of the means.  degrees: of freedom of `within`.
    """
    decay = (degrees + models - 1) / 2  # the density falls as exp(-decay x) for large logarithms x
    low = math.log(within) - math.log(4 * degrees + 200)
    grid = np.linspace(low, math.log(max(within, between)) + 5 + 40 / decay, GRID)
    variance = np.exp(grid)
    shape, rate, mass = _shrinkage(variance, between, models)
    logs = -degrees / 2 * grid - within / (2 * variance)  # the residuals, with a reference prior
    logs += -(models - 1) / 2 * grid - shape * np.log(rate) + np.log(mass)  # the means
    cumulated = np.cumsum(np.exp(logs - logs.max()))
    places = (np.arange(DRAWS) + random.random(DRAWS)) / DRAWS * cumulated[-1]
    drawn: Array = np.exp(random.permutation(np.interp(places, cumulated, grid)))
    return drawn


def _shrinkage(variance: Array, between: float, models: int) -> tuple[float, Array, Array]:
    """Return shape and rate of the gamma posterior of the shrinkage factor, and its mass below 1, for each variance."""
    shape = (models - 1) / 2 + SHRINKAGE
    rate = np.maximum(between / (2 * variance), 1e-9)
    return shape, rate, np.maximum(special.gammainc(shape, rate), 1e-300)


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
