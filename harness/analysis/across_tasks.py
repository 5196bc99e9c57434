"""Compare models across the tasks of one or more studies.

The comparison is descriptive: there are few tasks, and they were not drawn at random.
"""

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

AT_SEVERAL_SIZES = "it is one task at several sizes, which are no independent tasks"


@dataclass(frozen=True)
class Overall:
    """Scores and ranks over the tasks on which every model is ranked."""

    tasks: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    """Tasks that do not count, each with the reason."""
    repetitions: int
    """Smallest number of repetitions of any cell."""
    interquartile: Mapping[str, float]
    """Model → mean of the middle half of its normalised scores.

    A score of 0 is the task's floor and 1 is the mean of its best model, on the metric's scale.
    """
    intervals: Mapping[str, Interval | None]
    """Model → 95 % interval of `interquartile`, over the repetitions within each task."""
    ranks: Mapping[str, float]
    """Model → mean rank by mean score; 1 is best."""
    difference: float
    """Nemenyi's critical difference of mean ranks."""
    groups: tuple[tuple[str, ...], ...]
    """Groups of models whose mean ranks differ by less than `difference`."""


def overall(sections: Sequence[Section]) -> Overall | None:
    """Return the comparison across tasks, or None if fewer than two models or two tasks count."""
    models = _models(sections)
    counted = [section for section, reason in _reasons(sections) if not reason]
    if len(models) < 2 or len(counted) < 2:
        return None
    scores = {model: [_normalised(section, model) for section in counted] for model in models}
    signed = {model: [_signed_mean(section, model) for section in counted] for model in models}
    ranks = mean_ranks(signed)
    difference = critical_difference(len(models), len(counted))
    return Overall(
        tasks=tuple(section.task for section in counted),
        left_out=uncounted(sections),
        repetitions=min(len(of_task) for of_model in scores.values() for of_task in of_model),
        interquartile={model: interquartile_mean(of_model) for model, of_model in scores.items()},
        intervals={model: interquartile_interval(of_model) for model, of_model in scores.items()},
        ranks=ranks,
        difference=difference,
        groups=indistinct(ranks, difference),
    )


def uncounted(sections: Sequence[Section]) -> tuple[tuple[str, str], ...]:
    """Return the tasks that do not count, each with the reason."""
    return tuple((section.task, reason) for section, reason in _reasons(sections) if reason)


def _reasons(sections: Sequence[Section]) -> list[tuple[Section, str]]:
    """Return each section with the reason why it does not count, '' if it does."""
    models, sized = _models(sections), _at_several_sizes(sections)
    return [
        (section, AT_SEVERAL_SIZES if section.ref.model_dump_json() in sized else _excluded(section, models))
        for section in sections
    ]


def is_one_task_by_size(sections: Sequence[Section]) -> bool:
    """Return whether all sections are of one task at several sizes, so that there is nothing to compare across."""
    return len({section.ref.model_dump_json() for section in sections}) == 1 and bool(_at_several_sizes(sections))


def _at_several_sizes(sections: Sequence[Section]) -> set[str]:
    """Return the tasks with several parameter budgets: counted at each of them, one task would count several times."""
    sizes: dict[str, set[int | None]] = {}
    for section in sections:
        sizes.setdefault(section.ref.model_dump_json(), set()).add(section.parameters)
    return {task for task, known in sizes.items() if len(known) > 1}


def _models(sections: Sequence[Section]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.model for section in sections for row in section.rows if row.setting == "searched"))


def _excluded(section: Section, models: Sequence[str]) -> str:
    """Return why the task does not count, or '' if it does."""
    ranked = {row.model for row in section.rows if row.rank is not None}
    missing = [model for model in models if model not in ranked]
    if missing:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not ranked on it"
    if not ranked:
        return "it has no ranked cell"
    if section.floor is None:
        return "its floor is unknown"
    return "" if _gain(section, _best(section)) > 0 else "no model is better than the floor"


def _result_of(section: Section, model: str) -> CellResult:
    return next(result for result in section.results if result.facts.cell.model == model)


def _best(section: Section) -> float:
    return next(row.test.mean for row in section.rows if row.rank == 1 and row.test is not None)


def _gain(section: Section, score: float) -> float:
    """Return how much better than the floor a score is, on the metric's scale."""
    assert section.floor is not None  # `_excluded` rejects sections without a floor
    sign = 1 if section.metric.better == "lower" else -1
    if section.scale == "log" and section.floor > 0:
        return sign * (math.log(section.floor) - math.log(score))
    return sign * (section.floor - score)


def _normalised(section: Section, model: str) -> list[float]:
    gain_of_best = _gain(section, _best(section))
    return [_gain(section, score) / gain_of_best for score in _result_of(section, model).scores("test")]


def _signed_mean(section: Section, model: str) -> float:
    """Return the mean test score with the sign that makes lower better."""
    mean = next(row.test.mean for row in section.rows if row.model == model and row.test is not None)
    return mean if section.metric.better == "lower" else -mean
