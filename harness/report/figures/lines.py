"""One line per model through its mean scores, over the size or an option of a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from harness.analysis.cell_result import CellResult
from harness.analysis.comparison import Section
from harness.analysis.statistics import Interval, Summary, summarise
from harness.records import MetricFacts
from harness.report.figures.style import GREY, ModelStyle, add_floor, add_interval, add_legend, axes_of
from harness.report.formatting import count

MOST_TICKS = 6
"""Most ticks with horizontal text on a logarithmic axis."""

XOf = Callable[[Section, CellResult], float | None]
Points = dict[str, list[tuple[float, Summary]]]


@dataclass(frozen=True)
class LinePlot:
    """One line per model through its mean scores, with their intervals."""

    points: Points
    x_label: str
    y_label: str
    metric: MetricFacts | None
    """The metric whose scale the y axis has."""
    floor: Sequence[tuple[float, float]]
    """(x, floor) of each point."""
    log_x: Sequence[int] = ()
    """Ticks of a logarithmic x axis; empty: the axis is linear."""
    changes: Sequence[tuple[float, float, float]] = ()
    """(x, low, high) of each change of the leader: a line, and the shaded interval within the axes."""


def points_of(group: Sequence[Section], x_of: XOf, metric: str | None = None) -> Points:
    """Return model → (x, summary of test scores) of each of its cells, in order of x.

    metric: name of a metric of the task; None for the one that ranks.
    """
    points: Points = {}
    for section in group:
        for result in section.results:
            x = x_of(section, result)
            summary = _summary(section, result, metric)
            if x is not None and summary is not None:
                points.setdefault(result.facts.cell.model, []).append((x, summary))
    return {model: sorted(of_model, key=lambda point: point[0]) for model, of_model in points.items()}


def _summary(section: Section, result: CellResult, metric: str | None) -> Summary | None:
    """Summarise the test scores of a cell; None if there are none.

    The mean has no interval if some runs succeed and some do not (see `CellResult.summary`).  A metric that does not
    rank gets its range instead of an interval: for accuracies near 0 or 100 %, Student's interval would leave the
    possible values.
    """
    if metric is None or metric == section.metric.name:
        return result.summary("test")
    values = [value for value in result.repeated("test", metric).values() if not math.isnan(value)]
    if not values:
        return None
    facts = result.facts.metric_of(metric)
    summary = summarise(values, facts.scale if facts is not None and min(values) > 0 else "linear")
    return replace(summary, interval=Interval(min(values), max(values), 1.0))


def draw_lines(plot: LinePlot, styles: Mapping[str, ModelStyle]) -> Figure:
    """Draw the lines, shifted a little, so that the intervals of one task do not hide each other."""
    with axes_of(plot.metric) as (figure, axes):
        all_x = [x for of_model in plot.points.values() for x, _ in of_model]
        span = max(all_x) - min(all_x)
        for place, (model, of_model) in enumerate(plot.points.items()):
            shift = place - (len(plot.points) - 1) / 2
            shifted = [x * 1.012**shift if plot.log_x else x + 0.006 * shift * span for x, _ in of_model]
            _add_line(axes, shifted, [summary for _, summary in of_model], styles[model])
        if plot.metric is not None:
            add_floor(axes, plot.metric, plot.floor, across=False)
        if plot.log_x:
            _set_log_x(axes, plot.log_x)
        _add_changes(axes, plot.changes, (min(all_x), max(all_x)))
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        add_legend(axes)
    return figure


def _add_line(axes: Axes, x: Sequence[float], summaries: Sequence[Summary], style: ModelStyle) -> None:
    axes.plot(
        x,
        [summary.mean for summary in summaries],
        color=style.colour,
        linestyle=style.dash,
        marker=style.marker,
        markersize=5,
        label=style.label,
    )
    for place, summary in zip(x, summaries, strict=True):
        add_interval(axes, place, summary, style)


def _add_changes(axes: Axes, changes: Sequence[tuple[float, float, float]], ends: tuple[float, float]) -> None:
    for place, (x, low, high) in enumerate(changes):
        axes.axvspan(max(low, ends[0]), min(high, ends[1]), color=GREY, alpha=0.12, linewidth=0, zorder=0)
        axes.axvline(x, color=GREY, linewidth=1, linestyle=":", label="leader changes" if place == 0 else None)


def _set_log_x(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ticks, [count(tick) for tick in ticks], rotation=30 if len(ticks) > MOST_TICKS else 0)
    axes.xaxis.set_minor_locator(NullLocator())
