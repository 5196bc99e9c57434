"""Models over the tasks of one or more studies: a description, since tasks are few and none was drawn at random."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.aggregate import (
    critical_difference,
    indistinct,
    interquartile_interval,
    interquartile_mean,
    mean_ranks,
)
from harness.analysis.cell_result import CellResult
from harness.analysis.comparison import Section
from harness.analysis.statistics import Interval


@dataclass(frozen=True)
class Overall:
    """A comparison over the tasks on which every model of the study is ranked."""

    tasks: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    """Task, and why it does not count."""
    repetitions: int
    """Fewest of any cell."""
    interquartile: Mapping[str, float]
    """Model → mean of the middle half of its normalized scores on the metric's scale: 0 at a task's floor, 1 at the
    mean of its best model."""
    intervals: Mapping[str, Interval | None]
    """95 % intervals of `interquartile`, over the repetitions within each task."""
    ranks: Mapping[str, float]
    """Model → mean rank by mean score."""
    difference: float
    """Nemenyi's critical difference of mean ranks."""
    groups: tuple[tuple[str, ...], ...]
    """Groups of models whose mean ranks differ by less."""


def overall(sections: Sequence[Section]) -> Overall | None:
    """Return the comparison; None with fewer than two models or two tasks."""
    models = _models(sections)
    counted = [section for section in sections if not _excluded(section, models)]
    if len(models) < 2 or len(counted) < 2:
        return None
    scores = {model: [_normalised(section, model) for section in counted] for model in models}
    signed = {model: [_signed_mean(section, model) for section in counted] for model in models}
    ranks = mean_ranks(signed)
    difference = critical_difference(len(models), len(counted))
    return Overall(
        tasks=tuple(section.task for section in counted),
        left_out=uncounted(sections),
        repetitions=min(len(task) for each in scores.values() for task in each),
        interquartile={model: interquartile_mean(each) for model, each in scores.items()},
        intervals={model: interquartile_interval(each) for model, each in scores.items()},
        ranks=ranks,
        difference=difference,
        groups=indistinct(ranks, difference),
    )


def uncounted(sections: Sequence[Section]) -> tuple[tuple[str, str], ...]:
    """Task, and why it does not count."""
    models = _models(sections)
    return tuple((section.task, why) for section in sections if (why := _excluded(section, models)))


def _models(sections: Sequence[Section]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.model for one in sections for row in one.rows if row.setting == "searched"))


def _excluded(section: Section, models: Sequence[str]) -> str:
    ranked = {row.model for row in section.rows if row.rank is not None}
    missing = [model for model in models if model not in ranked]
    if missing:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not ranked on it"
    if not ranked:
        return "it has no cell that is ranked"
    if section.floor is None:
        return "no floor is known"
    return "" if _gain(section, _best(section)) > 0 else "no model is better than the floor"


def _of(section: Section, model: str) -> CellResult:
    return next(one for one in section.standings if one.facts.cell.model == model)


def _best(section: Section) -> float:
    return next(row.test.mean for row in section.rows if row.rank == 1 and row.test is not None)


def _gain(section: Section, score: float) -> float:
    """Return how much better a score is than the floor, on the metric's scale."""
    assert section.floor is not None  # excluded else
    sign = 1 if section.metric.better == "lower" else -1
    if section.scale == "log" and section.floor > 0:
        return sign * (math.log(section.floor) - math.log(score))
    return sign * (section.floor - score)


def _normalised(section: Section, model: str) -> list[float]:
    whole = _gain(section, _best(section))
    return [_gain(section, score) / whole for score in _of(section, model).scores("test")]


def _signed_mean(section: Section, model: str) -> float:
    mean = next(row.test.mean for row in section.rows if row.model == model and row.test is not None)
    return mean if section.metric.better == "lower" else -mean
