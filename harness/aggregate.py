"""Models over many tasks: interquartile means of normalised scores, and mean ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.statistics import Interval

RESAMPLES = 9999
RELIABLE_REPETITIONS = 20
"""Below, a bootstrap interval covers less than it says."""


def interquartile_mean(tasks: Sequence[Sequence[float]]) -> float:
    """The mean of the middle half of all repetitions of all tasks (Agarwal et al. 2021)."""
    return float(stats.trim_mean(np.concatenate([np.asarray(task, dtype=np.float64) for task in tasks]), 0.25))


def interquartile_interval(tasks: Sequence[Sequence[float]], level: float = 0.95, seed: int = 0) -> Interval | None:
    """Percentile bootstrap, the repetitions of each task drawn anew among themselves; None where a task has one."""
    if any(len(task) < 2 for task in tasks):
        return None

    def statistic(*drawn: NDArray[np.float64], axis: int) -> Any:  # Any: what scipy hands back, an array or a number
        return stats.trim_mean(np.concatenate(drawn, axis=axis), 0.25, axis=axis)

    found = stats.bootstrap(
        tuple(np.asarray(task, dtype=np.float64) for task in tasks),
        statistic,
        confidence_level=level,
        n_resamples=RESAMPLES,
        batch=1000,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high), level)


def mean_ranks(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Model → mean rank over tasks, 1 for the lowest score; equal scores share their mean rank."""
    table = np.asarray(list(scores.values()), dtype=np.float64)  # (models, tasks)
    ranks = stats.rankdata(table, axis=0).mean(axis=1)
    return dict(zip(scores, ranks.tolist(), strict=True))


def critical_difference(models: int, tasks: int, alpha: float = 0.05) -> float:
    """Nemenyi's: mean ranks that differ by less are not told apart (Demšar 2006)."""
    quantile = float(stats.studentized_range.ppf(1 - alpha, models, math.inf)) / 2**0.5
    return quantile * math.sqrt(models * (models + 1) / (6 * tasks))


def indistinct(ranks: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """The largest groups of at least two models whose mean ranks differ by less than `difference`, best first."""
    names = sorted(ranks, key=lambda name: ranks[name])
    groups: list[tuple[str, ...]] = []
    for start, first in enumerate(names):
        group = tuple(name for name in names[start:] if ranks[name] - ranks[first] < difference)
        if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
            groups.append(group)
    return tuple(groups)
