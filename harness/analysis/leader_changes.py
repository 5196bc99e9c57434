"""The size at which the leading model changes, with its interval, on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.sign_test import MINIMUM_PAIRS
from harness.analysis.statistics import Interval

Array = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class LeaderChange:
    """A change of the leading model between two neighbouring sizes."""

    before: int
    """Index of the model that leads below."""
    after: int
    parameters: float
    interval: Interval
    """In parameters.  0 or infinity: the end lies outside the sizes that were compared."""

    @property
    def bounded(self) -> bool:
        """Whether at least one end of the interval is among the sizes."""
        return self.interval.low > 0 or math.isfinite(self.interval.high)


@dataclass(frozen=True)
class Leaders:
    """The leading model at every size."""

    verdict: Literal["same", "changes", "undetermined"]
    """same and changes: in at least 95 % of resamples no model but those of `indices` leads at any size.  changes: also
    every change has an interval with an end among the sizes."""
    indices: tuple[int, ...]
    """Index of the model with the best mean, by size."""
    changes: tuple[LeaderChange, ...]


def find_leaders(gains: Array, parameters: Sequence[int], *, seed: int = 0) -> Leaders:
    """Return who leads at every size, and the sizes between which that changes.

    gains: (models, sizes, repetitions), higher is better; repetition r of all models and sizes shares its seeds.
    parameters: in ascending order, at least two.

    A change lies where the mean difference of the two models is zero, interpolated linearly over log parameters.  Its
    interval is the percentile interval of the bootstrap over repetitions (Efron 1979), each of which is drawn with its
    scores at all sizes, expanded for few repetitions (Hesterberg 2015).  As any decision, it needs `MINIMUM_PAIRS`
    repetitions; with fewer, nothing is determined.
    """
    indices = _leaders(gains.mean(axis=2))
    repetitions = gains.shape[2]
    if repetitions < MINIMUM_PAIRS:
        return Leaders("undetermined", indices, ())
    drawn = np.random.default_rng(seed).multinomial(repetitions, np.full(repetitions, 1 / repetitions), RESAMPLES)
    means: Array = np.einsum("msr,br->bms", gains, drawn / repetitions)
    logs = np.log(np.asarray(parameters, dtype=np.float64))
    changes = tuple(
        _change(gains.mean(axis=2), means, logs, (before, after), place, repetitions)
        for place, (before, after) in enumerate(pairwise(indices))
        if before != after
    )
    if _share_led_by(indices, means) < 1 - expanded_tail(1 - LEVEL, repetitions):
        return Leaders("undetermined", indices, changes)
    if all(change.bounded for change in changes):
        return Leaders("changes" if changes else "same", indices, changes)
    return Leaders("undetermined", indices, changes)


def _share_led_by(models: Sequence[int], means: Array) -> float:
    """Return the share of resamples in which one of these models has the best mean at every size.

    means: (resamples, models, sizes).
    """
    named = means[:, sorted(set(models))].max(axis=1)
    return float((named >= means.max(axis=1)).all(axis=1).mean())


def expanded_tail(tail: float, n: int) -> float:
    """Return the share of resamples to cut off for a one-sided error of `tail` with n repetitions (Hesterberg 2015).

    Percentiles of the bootstrap are too narrow for few values: they lack Student's factor and n / (n - 1).
    """
    return float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.isf(tail, n - 1)))


def _leaders(means: Array) -> tuple[int, ...]:
    """Return the index of the best mean by size; of equal ones, that which leads at the size before.

    means: (models, sizes).
    """
    leaders: list[int] = []
    for of_size in means.T:
        stays = leaders and of_size[leaders[-1]] == of_size.max()
        leaders.append(leaders[-1] if stays else int(of_size.argmax()))
    return tuple(leaders)


def _change(
    means: Array, drawn: Array, logs: Array, models: tuple[int, int], place: int, repetitions: int
) -> LeaderChange:
    """Return the change of leader between the sizes `place` and `place + 1`.

    means: (models, sizes).  drawn: the same of every resample.
    """
    before, after = models
    estimate = float(_zeros(means[None, before] - means[None, after], logs)[0, place])
    of_resamples = _nearest(drawn[:, before] - drawn[:, after], logs, estimate)
    tail = expanded_tail((1 - LEVEL) / 2, repetitions)
    ends = np.quantile(of_resamples, (tail, 1 - tail), method="inverted_cdf")
    low, high = (float(end) for end in np.exp(ends))
    return LeaderChange(before, after, math.exp(estimate), Interval(low, high, LEVEL))


def _zeros(differences: Array, logs: Array) -> Array:
    """Return where each line falls below zero between neighbouring sizes, NaN where it does not.

    differences: (lines, sizes).  The result is (lines, sizes - 1).
    """
    left, right = differences[:, :-1], differences[:, 1:]
    falls = (left >= 0) & (right < 0)
    share = left / np.where(falls, left - right, 1.0)
    zeros: Array = np.where(falls, logs[:-1] + share * np.diff(logs), np.nan)
    return zeros


def _nearest(differences: Array, logs: Array, estimate: float) -> Array:
    """Return the zero of each line that is nearest to the estimate.

    A line that never falls below zero gives infinity if it begins above it, and minus infinity if it begins below.
    """
    zeros = _zeros(differences, logs)
    distance = np.abs(zeros - estimate)
    place = np.where(np.isnan(distance), np.inf, distance).argmin(axis=1)
    nearest = np.take_along_axis(zeros, place[:, None], axis=1)[:, 0]
    outside = np.where(differences[:, 0] >= 0, np.inf, -np.inf)
    found: Array = np.where(np.isnan(nearest), outside, nearest)
    return found
