"""Draw figures across tasks: mean ranks, scores against size, scores against a task option."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.cell_result import CellResult
from harness.analysis.comparison import Section
from harness.analysis.statistics import Interval, Summary, summarise
from harness.records import MetricFacts
from harness.report.document import Picture
from harness.report.figures.ranks import rank_picture
from harness.report.figures.style import (
    LABEL_LIMIT,
    ModelStyle,
    add_floor,
    add_interval,
    add_legend,
    axes_of,
    label_of,
    plain,
    to_svg,
)
from harness.report.formatting import short
from harness.report.report import Report, across_tasks


def draw_across_tasks(reports: Sequence[Report], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield the figures across the tasks of studies with one protocol."""
    sections = [section for report in reports for section in report.sections]
    comparison = across_tasks(reports)
    if comparison is not None:
        yield rank_picture(comparison, styles)
    yield from sizes(sections, styles)
    yield from retention(sections, styles)


@dataclass(frozen=True)
class _LinePlot:
    """One line per model through its mean scores, with their intervals."""

    points: _Points
    x_label: str
    y_label: str
    metric: MetricFacts | None
    """The metric whose scale the y axis has."""
    floor: Sequence[tuple[float, float]]
    """(x, floor) of each point."""
    log_x: bool = False


def sizes(sections: Sequence[Section], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield test score against parameters, for every task at more than one size."""
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(section.ref.model_dump_json(), []).append(section)
    for group in groups.values():
        points = _points(group, lambda _, result: result.setting.parameters if result.setting is not None else None)
        parameters = [x for of_model in points.values() for x, _ in of_model]
        if not parameters or max(parameters) <= 1.1 * min(parameters):
            continue
        first = group[0]
        ends = (min(parameters), max(parameters))
        plot = _LinePlot(
            points,
            x_label="parameters (trainable, the whole network)",
            y_label=label_of(first.metric, "test"),
            metric=first.metric,
            floor=[(x, first.floor) for x in ends] if first.floor is not None else [],
            log_x=True,
        )
        caption = f"{first.task}: test score against size, with 95 % intervals."
        yield Picture(f"size-{first.task}", _draw(plot, styles), caption)


def retention(sections: Sequence[Section], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield test scores against the only option in which three or more tasks of one name and size differ."""
    groups: dict[tuple[str, int | None, tuple[str, ...]], list[Section]] = {}
    for section in sections:
        key = (section.ref.name, section.parameters, tuple(sorted(section.ref.options)))
        groups.setdefault(key, []).append(section)
    for group in groups.values():
        option = varying(group)
        if option is None:
            continue
        yield from _retained(group, option, styles)


def _retained(group: Sequence[Section], option: str, styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield a figure for each metric that the task reports on the test split."""
    task, ranked_metric = group[0].ref.name, group[0].metric.name
    facts = group[0].results[0].facts
    names = dict.fromkeys(name for section in group for result in section.results for name in _test_metrics(result))
    for name in names:
        metric = facts.metric_of(name)
        floors = [(_option(section, option), section.floor) for section in group if name == ranked_metric]
        plot = _LinePlot(
            _points(group, lambda section, _: _option(section, option), metric=name),
            x_label=plain(option),
            y_label=_label(metric, name),
            metric=metric,
            floor=[(x, floor) for x, floor in sorted(floors, key=lambda point: point[0]) if floor is not None],
        )
        spread = "95 % intervals" if name == ranked_metric else "their range"
        caption = f"{task}: test {name} against {option}, means over repetitions with {spread}."
        yield Picture(f"retention-{task}-{name}", _draw(plot, styles), caption)


def _label(metric: MetricFacts | None, name: str) -> str:
    if metric is None:  # stores written by older versions do not describe further metrics
        return f"test {plain(short(name, LABEL_LIMIT))}"
    return label_of(metric.model_copy(update={"name": name}), "test")


def _option(section: Section, name: str) -> float:
    value = section.ref.options[name]
    assert isinstance(value, int | float)  # `varying` returns numeric options only
    return float(value)


def varying(group: Sequence[Section]) -> str | None:
    """Return the only option in which tasks differ, if it is a number with at least three distinct values."""
    options = [section.ref.options for section in group]
    differing = [name for name in options[0] if len({of_task[name] for of_task in options}) > 1]
    if len(differing) != 1:
        return None
    values = {of_task[differing[0]] for of_task in options}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return differing[0] if numeric and len(values) == len(group) >= 3 else None


def _test_metrics(result: CellResult) -> list[str]:
    results = [entry.result for entry in result.finals if entry.result is not None]
    return [name for trial_result in results for name in trial_result.metrics.get("test", {})]


_XOf = Callable[[Section, CellResult], float | None]
_Points = dict[str, list[tuple[float, Summary]]]


def _points(group: Sequence[Section], x_of: _XOf, metric: str | None = None) -> _Points:
    """Return model → (x, summary of test scores) of each of its cells, in order of x.

    metric: name of a metric of the task; None for the one that ranks.
    """
    points: _Points = {}
    for section in group:
        for result in section.results:
            x = x_of(section, result)
            summary = _summary(section, result, metric)
            if x is not None and summary is not None:
                points.setdefault(result.facts.cell.model, []).append((x, summary))
    return {model: sorted(of_model, key=lambda point: point[0]) for model, of_model in points.items()}


def _summary(section: Section, result: CellResult, metric: str | None) -> Summary | None:
    """Summarise the test scores of a cell; None if there are none.

    A metric that does not rank gets its range instead of an interval: for accuracies near 0 or 100 %, Student's
    interval would leave the possible values.
    """
    values = [value for value in result.repeated("test", metric).values() if not math.isnan(value)]
    if not values:
        return None
    ranks = metric is None or metric == section.metric.name
    facts = section.metric if ranks else result.facts.metric_of(metric or "")
    summary = summarise(values, facts.scale if facts is not None and min(values) > 0 else "linear")
    return summary if ranks else replace(summary, interval=Interval(min(values), max(values), 1.0))


def _draw(plot: _LinePlot, styles: Mapping[str, ModelStyle]) -> str:
    with axes_of(plot.metric) as (figure, axes):
        all_x = [x for of_model in plot.points.values() for x, _ in of_model]
        span = max(all_x) - min(all_x)
        for place, (model, of_model) in enumerate(plot.points.items()):
            # Shifted, so that the intervals of one task do not hide each other.
            style, shift = styles[model], place - (len(plot.points) - 1) / 2
            shifted = [x * 1.012**shift if plot.log_x else x + 0.006 * shift * span for x, _ in of_model]
            axes.plot(
                shifted,
                [summary.mean for _, summary in of_model],
                color=style.colour,
                linestyle=style.dash,
                marker=style.marker,
                markersize=5,
                label=style.label,
            )
            for x, (_, summary) in zip(shifted, of_model, strict=True):
                add_interval(axes, x, summary, style)
        if plot.metric is not None:
            add_floor(axes, plot.metric, plot.floor, across=False)
        if plot.log_x:
            axes.set_xscale("log")
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        add_legend(axes)
    return to_svg(figure)
