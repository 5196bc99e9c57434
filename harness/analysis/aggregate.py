"""Aggregate scores over tasks: interquartile means of normalised scores, and mean ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from harness.analysis.statistics import Interval

TRIMMED = 0.25
"""Share of the scores that an interquartile mean drops at either end."""
RELIABLE_REPETITIONS = 20
"""Fewest repetitions at which the interval of an interquartile mean is reliable; below, it is approximate."""


def interquartile_mean(tasks: Sequence[Sequence[float]]) -> float:
    """Return the mean of the middle half of all repetitions of all tasks (Agarwal et al. 2021)."""
    return float(stats.trim_mean(np.concatenate([np.asarray(task, dtype=np.float64) for task in tasks]), TRIMMED))


def interquartile_interval(tasks: Sequence[Sequence[float]], level: float = 0.95) -> Interval | None:
    """Return Yuen's interval (1974) of the interquartile mean, or None if too few repetitions remain for a variance.

    The interval uses Student's t with Welch's degrees of freedom and a winsorised variance for each task: trimmed
    scores are replaced by the limits of those that remain.  The tasks are fixed, so only the spread within each task
    counts.  A percentile bootstrap covers the truth less often; benchmarks/interval_coverage.py compares the two.
    """
    scores = [np.asarray(task, dtype=np.float64) for task in tasks]
    ordered = np.sort(np.concatenate(scores))
    dropped = int(TRIMMED * len(ordered))
    middle = ordered[dropped : len(ordered) - dropped]
    kept = np.asarray([len(task) * len(middle) / len(ordered) for task in scores])  # h of each task, on average
    if kept.min() <= 1:
        return None
    winsorised = [np.clip(task, middle[0], middle[-1]) for task in scores]
    squares = np.asarray([((task - task.mean()) ** 2).sum() for task in winsorised])
    variances = squares * kept / (kept - 1) / len(middle) ** 2
    error = math.sqrt(variances.sum())
    freedom = max(1.0, variances.sum() ** 2 / (variances**2 / (kept - 1)).sum()) if error > 0 else 1.0
    half_width = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(float(middle.mean()) - half_width, float(middle.mean()) + half_width, level)


def mean_ranks(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return model → mean rank over tasks.

    The lowest score of a task has rank 1; equal scores share their mean rank.
    """
    table = np.asarray(list(scores.values()), dtype=np.float64)  # (models, tasks)
    ranks = stats.rankdata(table, axis=0).mean(axis=1)
    return dict(zip(scores, ranks.tolist(), strict=True))


def critical_difference(models: int, tasks: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks (Demšar 2006); a smaller difference is not significant."""
    quantile = float(stats.studentized_range.ppf(1 - alpha, models, math.inf)) / 2**0.5
    return quantile * math.sqrt(models * (models + 1) / (6 * tasks))


def indistinct(ranks: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups of two or more models whose mean ranks differ by less than `difference`, best first."""
    names = sorted(ranks, key=lambda name: ranks[name])
    groups: list[tuple[str, ...]] = []
    for start, first in enumerate(names):
        group = tuple(name for name in names[start:] if ranks[name] - ranks[first] < difference)
        if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
            groups.append(group)
    return tuple(groups)
