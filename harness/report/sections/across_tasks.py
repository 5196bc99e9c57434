"""The section that compares models across tasks."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.across_tasks import Overall, is_one_task_by_size
from harness.analysis.aggregate import RELIABLE_REPETITIONS
from harness.report.document import Block, Datum, Heading, Notes, Picture, Table, quote
from harness.report.formatting import mean_interval, number, of_number
from harness.report.report import Report, across_tasks, uncounted_tasks


def across_tasks_blocks(reports: Sequence[Report], protocol: str, pictures: Sequence[Picture]) -> list[Block]:
    """Return the section of one protocol; empty if there is nothing to compare."""
    title, comparison = Heading(f"Across tasks, protocol {protocol}", 1), across_tasks(reports)
    if comparison is None:
        reasons = _why_not(reports)
        return [title, *reasons, *pictures] if reasons or pictures else []
    return [title, _table(comparison), Notes(_notes(comparison)), *pictures]


def _table(comparison: Overall) -> Table:
    ranks, means = comparison.ranks, comparison.interquartile
    rows = tuple(
        (
            Datum(model),
            of_number(ranks[model]),
            Datum(mean_interval(means[model], comparison.intervals[model]), means[model]),
        )
        for model in sorted(ranks, key=lambda model: ranks[model])
    )
    return Table(("model", "mean rank", "interquartile mean (95 % CI)"), rows)


def _why_not(reports: Sequence[Report]) -> list[Block]:
    models = {row.model for report in reports for row in report.rows if row.setting == "searched"}
    sections = [section for report in reports for section in report.sections]
    if len(models) < 2 or len(sections) < 2 or is_one_task_by_size(sections):
        return []
    reasons = tuple(f"{quote(task)} does not count: {reason}." for task, reason in uncounted_tasks(reports))
    return [Notes(("No model is ranked across tasks, since fewer than two tasks count.", *reasons))]


def _notes(comparison: Overall) -> tuple[str, ...]:
    few = comparison.repetitions < RELIABLE_REPETITIONS
    approximate = f" Approximate: {comparison.repetitions} repetitions, below {RELIABLE_REPETITIONS}." if few else ""
    groups = "; ".join(", ".join(group) for group in comparison.groups)
    return (
        f"Tasks: {', '.join(comparison.tasks)}.",
        "interquartile mean: mean of the middle half of all normalised scores. A score of 0 is the task's floor and 1 "
        "is the mean of its best model, on the metric's scale; both are treated as known. Interval: Student's t with "
        f"winsorised variances, over repetitions within each task.{approximate}",
        f"mean rank: by mean score on each of {len(comparison.tasks)} tasks; Nemenyi's critical difference is "
        f"{number(comparison.difference)}. This is descriptive, not a decision: tasks are few and were not drawn at "
        "random." + (f" No significant difference: {groups}." if groups else ""),
        *(f"{task} does not count: {reason}." for task, reason in comparison.left_out),
    )
