"""The section that compares models across tasks."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.across_tasks import Overall
from harness.analysis.aggregate import RELIABLE_REPETITIONS
from harness.report.document import Block, Datum, Heading, Notes, Picture, Table, quote
from harness.report.formatting import mean_interval, number, of_number
from harness.report.report import Report, not_over_tasks, over_tasks


def across_tasks_blocks(reports: Sequence[Report], protocol: str, pictures: Sequence[Picture]) -> list[Block]:
    title, found = Heading(f"Over tasks, protocol {protocol}", 1), over_tasks(reports)
    if found is None:
        told = _why_not(reports)
        return [title, *told, *pictures] if told or pictures else []
    rows = tuple(
        (
            Datum(model),
            of_number(found.ranks[model]),
            Datum(mean_interval(found.interquartile[model], found.intervals[model]), found.interquartile[model]),
        )
        for model in sorted(found.ranks, key=lambda model: found.ranks[model])
    )
    return [
        title,
        Table(("model", "mean rank", "interquartile mean [95 %]"), rows),
        Notes(_overall_notes(found)),
        *pictures,
    ]


def _why_not(reports: Sequence[Report]) -> list[Block]:
    models = {row.model for report in reports for row in report.rows if row.setting == "searched"}
    if len(models) < 2 or sum(len(report.sections) for report in reports) < 2:
        return []
    reasons = tuple(f"{quote(task)} does not count: {why}." for task, why in not_over_tasks(reports))
    return [Notes(("No model is ranked over tasks, since fewer than two count.", *reasons))]


def _overall_notes(found: Overall) -> tuple[str, ...]:
    few = found.repetitions < RELIABLE_REPETITIONS
    approximate = f" Approximate: {found.repetitions} repetitions, below {RELIABLE_REPETITIONS}." if few else ""
    told = "; ".join(", ".join(group) for group in found.groups)
    return (
        f"Tasks: {', '.join(found.tasks)}.",
        "interquartile mean: of the middle half of all scores, each 0 at its task's floor and 1 at the mean of its "
        "best model on the metric's scale, both taken as they are; Student's t with winsorised variances, over "
        f"repetitions within each task.{approximate}",
        f"mean rank: by mean score on each of {len(found.tasks)} tasks; Nemenyi's critical difference is "
        f"{number(found.difference)}. A description, no decision: tasks are few and were not drawn at random."
        + (f" Not distinguished: {told}." if told else ""),
        *(f"{task} does not count: {why}." for task, why in found.left_out),
    )
