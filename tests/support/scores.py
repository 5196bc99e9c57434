"""Scores of simulated races, and what is read from them."""

from __future__ import annotations

import numpy as np

from harness.recommendation.gains import Gains, Scores, Scoring, gains
from harness.recommendation.pairwise import ErrorBudget, PairwiseComparison, ladder
from harness.recommendation.race import InterimLook, interim_look

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


def apart(mean: float, n: int = 10) -> np.ndarray:
    """Differences of this mean; their spread is about 1."""
    return mean + np.asarray([1.0, -1.0] * n)[:n] - (n % 2) / n
