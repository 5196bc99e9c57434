"""The posterior probability of being best, and the repetitions that would decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special, stats

from harness.analysis.paired_tests import MINIMUM_PAIRS, noether_pairs
from harness.recommendation.race import LADDER, SIGN_ERROR, Array, Duel, Gains

DRAWS = 20_000
"""Of the posterior: a probability is exact to 0.004."""

POWER = 0.8
"""How likely the repetitions that are said to be needed decide."""

MOST_NEEDED = 10_000


def probabilities(field: Gains, models: Sequence[str], *, seed: int = 0) -> dict[str, float]:
    """Model → the probability that its mean is the best of these, given the repetitions that they share.

    The means' posterior under normal scores and a reference prior by which every difference of two of them has
    Student's t distribution with n - 1 degrees of freedom, as in the paired test (Geisser & Cornfield 1963): a
    multivariate t, drawn with a fixed seed.  Models of the same scores share.  Without two repetitions all are alike.
    """
    n = field.common(*models)
    if len(models) == 1 or n < 2:
        return {model: 1 / len(models) for model in models}
    values = np.stack([field.values[model][:n] for model in models])  # (models, n)
    distinct, place, count = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    best = _posterior_means(distinct, seed).argmax(axis=1)  # (draws,)
    shares = np.bincount(best, minlength=len(distinct)) / DRAWS / count
    return {model: float(shares[index]) for model, index in zip(models, place.ravel(), strict=True)}


def _posterior_means(values: Array, seed: int) -> Array:
    """values: (models, n).  Draws of the means: (draws, models)."""
    models, n = values.shape
    variances, directions = np.linalg.eigh(np.cov(values, ddof=1).reshape(models, models))
    root = directions * np.sqrt(np.maximum(variances, 0) / n)  # (models, models): a square root of the covariance
    draw = np.random.default_rng(seed)
    normal = draw.standard_normal((DRAWS, models)) @ root.T
    drawn: Array = values.mean(axis=1) + normal * np.sqrt((n - 1) / draw.chisquare(n - 1, DRAWS))[:, None]
    return drawn


def needed(duel: Duel, *, margin: float, error: float) -> int | None:
    """Repetitions in all that would decide an open duel with probability `POWER`, were the difference and the spread
    that are seen the true ones; None where `MOST_NEEDED` would not, or fewer than two are seen."""
    if duel.n < 2:
        return None
    if duel.spread == 0:
        return max(MINIMUM_PAIRS, duel.n + 1) if duel.mean == 0 or abs(duel.mean) <= margin else LADDER[0]
    found = [
        n
        for n in (
            _fewest(lambda n: _lost_power(duel, n, error)),
            _fewest(lambda n: _equal_power(duel, n, margin, error)),
        )
        if n is not None
    ]
    return max(min(found), duel.n + 1) if found else None


def _fewest(power: Callable[[int], float]) -> int | None:
    """The fewest repetitions of enough power, which grows with them."""
    if power(MOST_NEEDED) < POWER:
        return None
    low, high = 1, MOST_NEEDED
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _lost_power(duel: Duel, n: int, error: float) -> float:
    """How likely n repetitions find the leader better; 0 where the sign test would not agree."""
    wins = duel.wins + duel.ties / 2
    share = max(wins, duel.n - wins) / duel.n
    if share <= 0.5 or n < max(noether_pairs(share, SIGN_ERROR, POWER), LADDER[0]):
        return 0.0
    return _beyond(abs(duel.mean) / duel.spread, n, error)


def _equal_power(duel: Duel, n: int, margin: float, error: float) -> float:
    """How likely n repetitions find the two equivalent: both one-sided tests succeed (a bound)."""
    if n < MINIMUM_PAIRS or abs(duel.mean) >= margin:
        return 0.0
    sides = [_beyond((margin + side * duel.mean) / duel.spread, n, error) for side in (1, -1)]
    return max(sum(sides) - 1, 0.0)


def _beyond(effect: float, n: int, error: float) -> float:
    """The power of a one-sided t test: noncentral t, and its normal limit where that is exact enough."""
    shift = effect * math.sqrt(n)
    if n < 2:
        return 0.0
    critical = float(special.stdtrit(n - 1, 1 - error))
    if shift > 30:
        return 1.0
    return float(stats.nct.sf(critical, n - 1, shift)) if n < 100 else float(stats.norm.sf(critical - shift))
