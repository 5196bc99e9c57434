"""Draw test scores against the number of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.analysis.comparison import Section
from harness.analysis.leader_changes import LeaderChange
from harness.analysis.size_comparison import SizeComparison
from harness.report.document import Picture
from harness.report.figures.lines import LinePlot, draw_lines, points_of
from harness.report.figures.style import ModelStyle, label_of, picture
from harness.report.report import Report

NAME = "score-against-parameters"
ALIKE = 1.1
"""Sizes within this factor of each other are one size."""


def score_against_parameters(comparison: SizeComparison, styles: Mapping[str, ModelStyle]) -> Picture | None:
    """Draw the scores of a study's task at its sizes, and where the leader changes; None without scores."""
    leaders = comparison.leaders
    changes = leaders.changes if leaders is not None and leaders.verdict == "changes" else ()
    return _drawn(comparison.task, comparison.sections, changes, styles)


def across_studies(reports: Sequence[Report], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield the same figure for every task that several studies have at different sizes."""
    groups: dict[str, dict[str, list[Section]]] = {}
    for report in reports:
        for section in report.sections:
            of_task = groups.setdefault(section.ref.model_dump_json(), {})
            of_task.setdefault(report.study_id, []).append(section)
    for of_study in groups.values():
        sections = [section for group in of_study.values() for section in group]
        drawn = _drawn(sections[0].task, sections, (), styles) if len(of_study) > 1 else None
        if drawn is not None:
            yield drawn


def _drawn(
    task: str, sections: Sequence[Section], changes: Sequence[LeaderChange], styles: Mapping[str, ModelStyle]
) -> Picture | None:
    """Return the figure; None if there are no scores or only one size."""
    points = points_of(sections, lambda _, result: result.setting.parameters if result.setting is not None else None)
    parameters = [int(x) for of_model in points.values() for x, _ in of_model]
    if not parameters or max(parameters) <= ALIKE * min(parameters):
        return None
    first, ends = sections[0], (min(parameters), max(parameters))
    plot = LinePlot(
        points,
        x_label="parameters (trainable, the whole network)",
        y_label=label_of(first.metric, "test"),
        metric=first.metric,
        floor=[(x, first.floor) for x in ends] if first.floor is not None else [],
        log_x=_ticks(sections, ends),
        changes=[(change.parameters, change.interval.low, change.interval.high) for change in changes],
    )
    band = "; dotted: where the leader changes, with its 95 % interval shaded" if changes else ""
    split = any(result.mixed for section in sections for result in section.results)
    without = "; none where some repetitions succeed and some do not" if split else ""
    caption = f"{task}: test score against parameters, means over repetitions with 95 % intervals{without}{band}."
    return picture(f"{NAME}-{task}", draw_lines(plot, styles), caption)


def _ticks(sections: Sequence[Section], ends: tuple[int, int]) -> list[int]:
    """Return the budgets of the sections, or the smallest and the largest network if these have none."""
    budgets = {section.parameters for section in sections if section.parameters is not None}
    return sorted(budgets or ends)
