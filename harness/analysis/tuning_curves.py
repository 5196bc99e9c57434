"""The benefit of tuning: the best validation score of k trials, for every k up to the number that ran."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from harness.analysis.statistics import Scale

BAND = (0.1, 0.9)
"""Quantiles of the best of k that the band spans."""


@dataclass(frozen=True)
class TuningCurve:
    """Values by k, from 1 trial to all of them."""

    expected: tuple[float, ...]
    low: tuple[float, ...]
    """With `high`, the band in which the best of k falls in 80 % of searches."""
    high: tuple[float, ...]
    scale: Scale = "linear"
    """Scale on which `expected` is a mean."""


@dataclass(frozen=True)
class Crossing:
    """Two models of which one leads up to k trials and the other from k + 1 on, in expectation."""

    before: str
    after: str
    k: int


def tuning_curve(scores: Sequence[float], better: Literal["lower", "higher"], scale: Scale = "linear") -> TuningCurve:
    """Return the expected best of k independent draws from one space; means are taken on `scale`.

    scores: of all trials, with a substitute score for failed ones. The expectation is the unbiased one over subsets of
    k (Tang et al. 2020): of B sorted scores the i-th is the best of k with weight C(i - 1, k - 1) / C(B, k). The band
    is that of k draws from the B with replacement.
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
    means, bottom, top = (tuple(_plain(sign * value, scale) for value in one) for one in (expected, *ends))
    return TuningCurve(means, bottom, top, scale)


def _plain(value: float, scale: Scale) -> float:
    return math.exp(value) if scale == "log" else value


def crossings(curves: dict[str, TuningCurve], better: Literal["lower", "higher"]) -> tuple[Crossing, ...]:
    """Return the k at which the leading model changes, over as many trials as all models have."""
    if not curves:
        return ()
    best = min if better == "lower" else max
    common = min(len(curve.expected) for curve in curves.values())
    leaders = [best(curves, key=lambda name: curves[name].expected[k]) for k in range(common)]
    return tuple(
        Crossing(before, after, k) for k, (before, after) in enumerate(pairwise(leaders), start=1) if before != after
    )
