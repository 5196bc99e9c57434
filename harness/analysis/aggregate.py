"""Models over many tasks: interquartile means of normalised scores, and mean ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from harness.analysis.statistics import Interval

TRIMMED = 0.25
"""Share of the scores that an interquartile mean leaves out at either end."""
RELIABLE_REPETITIONS = 20
"""Below, an interval of an interquartile mean is approximate."""


def interquartile_mean(tasks: Sequence[Sequence[float]]) -> float:
    """The mean of the middle half of all repetitions of all tasks (Agarwal et al. 2021)."""
    return float(stats.trim_mean(np.concatenate([np.asarray(task, dtype=np.float64) for task in tasks]), TRIMMED))


def interquartile_interval(tasks: Sequence[Sequence[float]], level: float = 0.95) -> Interval | None:
    """Return Yuen's interval (1974): Student's t with winsorized variances, one per task, and Welch's degrees of
    freedom.

    Trimmed values are replaced by the trimming limits. The tasks are fixed, so only the spread within each counts. A
    bootstrap covers less: benchmarks/interval_coverage.py has both. None if too few repetitions remain.
    """
    scores = [np.asarray(task, dtype=np.float64) for task in tasks]
    ordered = np.sort(np.concatenate(scores))
    dropped = int(TRIMMED * len(ordered))
    held = ordered[dropped : len(ordered) - dropped]
    kept = np.asarray([len(task) * len(held) / len(ordered) for task in scores])  # h of each task, on average
    if kept.min() <= 1:
        return None
    winsorised = [np.clip(task, held[0], held[-1]) for task in scores]
    squares = np.asarray([((one - one.mean()) ** 2).sum() for one in winsorised])
    parts = squares * kept / (kept - 1) / len(held) ** 2
    error = math.sqrt(parts.sum())
    freedom = max(1.0, parts.sum() ** 2 / (parts**2 / (kept - 1)).sum()) if error > 0 else 1.0
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(float(held.mean()) - reach, float(held.mean()) + reach, level)


def mean_ranks(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Model → mean rank over tasks, 1 for the lowest score; equal scores share their mean rank."""
    table = np.asarray(list(scores.values()), dtype=np.float64)  # (models, tasks)
    ranks = stats.rankdata(table, axis=0).mean(axis=1)
    return dict(zip(scores, ranks.tolist(), strict=True))


def critical_difference(models: int, tasks: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference: mean ranks that differ by less are not distinguished (Demšar 2006)."""
    quantile = float(stats.studentized_range.ppf(1 - alpha, models, math.inf)) / 2**0.5
    return quantile * math.sqrt(models * (models + 1) / (6 * tasks))


def indistinct(ranks: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups of at least two models whose mean ranks differ by less than `difference`, best
    first.
    """
    names = sorted(ranks, key=lambda name: ranks[name])
    groups: list[tuple[str, ...]] = []
    for start, first in enumerate(names):
        group = tuple(name for name in names[start:] if ranks[name] - ranks[first] < difference)
        if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
            groups.append(group)
    return tuple(groups)
