"""Tuning curves: the best validation score of k trials, for every k up to the number of trials run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from harness.analysis.statistics import Scale

BAND = (0.1, 0.9)
"""Quantiles of the best of k trials between which the band lies."""


@dataclass(frozen=True)
class TuningCurve:
    """The best of k trials, for k from 1 to the number of trials."""

    expected: tuple[float, ...]
    low: tuple[float, ...]
    """Lower end of the band that holds the best of k trials in 80 % of searches; `high` is its upper end."""
    high: tuple[float, ...]
    scale: Scale = "linear"
    """Scale on which `expected` is a mean."""
    updates: tuple[int, ...] = ()
    """Under pruning: updates of the first k trials together, in the order in which they ended; empty otherwise."""


@dataclass(frozen=True)
class Crossing:
    """A change of the leading model: in expectation `before` leads up to k trials, and `after` from k + 1 on."""

    before: str
    after: str
    k: int


def tuning_curve(scores: Sequence[float], better: Literal["lower", "higher"], scale: Scale = "linear") -> TuningCurve:
    """Return the expected best of k independent draws from one search space.

    scores: validation scores of all trials, with a substitute score for each failed trial.  scale: means are taken on
    it.  The expectation is the unbiased one over subsets of k (Tang et al. 2020): of B sorted scores, the i-th is the
    best of k with weight C(i - 1, k - 1) / C(B, k).  The band is that of k draws from the B scores with replacement.
    Raises ValueError if there are no scores.
    """
    if not scores:
        raise ValueError("no scores to draw from")
    sign = -1.0 if better == "lower" else 1.0
    plain = np.asarray(scores, dtype=np.float64)
    values = np.sort(sign * (np.log(plain) if scale == "log" else plain))
    count = len(values)
    expected, low, high = [], [], []
    for k in range(1, count + 1):
        weights = [math.comb(i - 1, k - 1) / math.comb(count, k) for i in range(1, count + 1)]
        expected.append(float(np.dot(weights, values)))
        below = (np.arange(1, count + 1) / count) ** k
        first, last = (values[int(np.searchsorted(below, share - 1e-12))] for share in BAND)
        low.append(float(first))
        high.append(float(last))
    ends = (low, high) if better == "higher" else (high, low)
    means, bottom, top = (tuple(_plain(sign * value, scale) for value in curve) for curve in (expected, *ends))
    return TuningCurve(means, bottom, top, scale)


def _plain(value: float, scale: Scale) -> float:
    return math.exp(value) if scale == "log" else value


def crossings(curves: dict[str, TuningCurve], better: Literal["lower", "higher"]) -> tuple[Crossing, ...]:
    """Return the changes of the leading model, by k, over the number of trials that all models have."""
    if not curves:
        return ()
    best = min if better == "lower" else max
    common = min(len(curve.expected) for curve in curves.values())
    leaders = [best(curves, key=lambda name: curves[name].expected[k]) for k in range(common)]
    return tuple(
        Crossing(before, after, k) for k, (before, after) in enumerate(pairwise(leaders), start=1) if before != after
    )
