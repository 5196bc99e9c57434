"""The figures of the results page: all cells against the published values, learning curves, and both protocols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from harness.analysis.reproduction import Reproduction, worse_by
from harness.records import MetricFacts
from harness.report.document import Picture
from harness.report.figures.style import (
    GREY,
    STYLE,
    WIDTH,
    ModelStyle,
    add_floor,
    all_positive,
    floors_of,
    label_of,
    model_styles,
    picture,
)
from published_table import Run

LINE_HEIGHT = 0.26
"""Inches per cell of the forest plot."""
LINEAR_MARGINS = 4.0
"""Margins on each side of the published value for which the forest plot is linear."""
PANEL = (3.5, 2.6)
"""Width and height of a panel with learning curves, in inches."""
FILLED = {"paper": "white", "fair": None}
"""Colour of a marker by protocol; None: the model's."""


@dataclass(frozen=True)
class Place:
    """Our mean and its interval as a difference from the published value: positive is worse, 1 is the task's margin."""

    mean: float
    low: float
    high: float


def place_of(cell: Reproduction, metric: MetricFacts) -> Place:
    """Return where a cell lies in the forest plot.  Without an interval, low and high are the mean."""
    interval = cell.ours.interval
    ends = (cell.ours.mean, cell.ours.mean) if interval is None else (interval.low, interval.high)
    worse = (worse_by(value, cell.published, metric) for value in (cell.ours.mean, *ends))
    mean, *bounds = (by / (metric.margin or 1) if math.isfinite(by) else math.nan for by in worse)
    return Place(mean, min(bounds), max(bounds))


def pictures(runs: Sequence[Run]) -> list[Picture]:
    """Return the figures for which there are complete cells."""
    styles = model_styles({run.report.study_id: run.report for run in runs}.values())
    with matplotlib.rc_context(STYLE):
        drawn = [forest(runs, styles), learning(runs, styles), protocols(runs, styles)]
    return [figure for figure in drawn if figure is not None]


def forest(runs: Sequence[Run], styles: dict[str, ModelStyle]) -> Picture | None:
    """Draw all cells against the published values, in multiples of the margin."""
    lines = [
        (f"{run.row}  {cell.model}", run.report.protocol, styles[cell.model], place_of(cell, run.section.metric))
        for run in runs
        for cell in run.section.reproductions
    ]
    if not lines:
        return None
    figure = Figure(figsize=(WIDTH, 1.1 + LINE_HEIGHT * len(lines)))
    axes = figure.add_subplot()
    axes.axvspan(-1, 1, color="#eeeeee", zorder=0)
    axes.axvline(0, color=GREY, linewidth=1)
    for height, (_, protocol, style, at) in enumerate(lines):
        reach = [[at.mean - at.low], [at.high - at.mean]]
        axes.errorbar(
            [at.mean], [height], xerr=reach, color=style.colour, marker=style.marker,
            markerfacecolor=FILLED[protocol] or style.colour, capsize=3, markersize=6,
        )  # fmt: skip
    axes.set_yticks(range(len(lines)), [f"{name} ({protocol})" for name, protocol, _, _ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    # On a linear scale, one cell far from its published value hides the differences between all others.
    axes.set_xscale("symlog", linthresh=LINEAR_MARGINS, linscale=3)
    ticks = [-100, *range(-4, 5, 2), 10, 30, 100, 300]
    left, right = axes.get_xlim()
    axes.set_xticks([tick for tick in ticks if left <= tick <= right])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("difference from the published value, in margins of the task (→ worse)")
    return picture(
        "forest",
        figure,
        "Every cell against its published value, with the 95 % interval of its mean. Grey: within the task's margin. "
        "Open markers: protocol paper; filled: protocol fair. "
        f"The scale is logarithmic beyond {LINEAR_MARGINS:g} margins.",
    )


def learning(runs: Sequence[Run], styles: dict[str, ModelStyle]) -> Picture | None:
    """Draw the median validation score against updates, one panel per row; protocol fair if there are both."""
    shown = [studies for studies in studies_by_row(runs) if any(any(_curves(run).values()) for run in studies)]
    if not shown:
        return None
    across = min(2, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(PANEL[0] * across, PANEL[1] * down))
    for number, studies in enumerate(shown):
        _panel(figure.add_subplot(down, across, number + 1), studies, styles)
    return picture("learning", figure, "Median validation score of the repetitions against updates.")


def studies_by_row(runs: Sequence[Run]) -> list[list[Run]]:
    """Return for each row its studies under protocol fair, or under protocol paper if it has no other."""
    rows = dict.fromkeys(run.row for run in runs)
    of_row = ([run for run in runs if run.row == row] for row in rows)
    return [[run for run in own if run.report.protocol == "fair"] or own for own in of_row]


def _curves(run: Run) -> dict[str, list[dict[int, float]]]:
    name = run.section.metric.name
    return {
        result.facts.cell.model: [
            dict(curve)
            for entry in result.finals
            if (curve := run.report.curves.get(entry.trial.key, {}).get(name)) is not None
        ]
        for result in run.section.results
    }


def _panel(axes: Axes, studies: Sequence[Run], styles: dict[str, ModelStyle]) -> None:
    """Draw the studies of one row; each may have trained other models."""
    run = studies[0]
    # If two studies trained a model, the last is shown, as in the table.
    shown = {model: curves for study in studies for model, curves in _curves(study).items()}
    for model, curves in shown.items():
        common = sorted(set.intersection(*map(set, curves))) if curves else []
        if common:
            style = styles[model]
            middle = [median(curve[update] for curve in curves) for update in common]
            axes.plot(common, middle, color=style.colour, linestyle=style.dash, label=style.label)
    if run.section.metric.scale == "log" and all_positive(axes):
        axes.set_yscale("log")
    add_floor(axes, run.section.metric, floors_of(run.section))
    axes.set_title(f"{run.row} ({run.report.protocol})", fontsize=9)
    axes.set_xlabel("updates")
    axes.set_ylabel(label_of(run.section.metric, "validation"), fontsize=8)
    axes.legend(fontsize=7)


def protocols(runs: Sequence[Run], styles: dict[str, ModelStyle]) -> Picture | None:
    """Draw the cells that have both protocols, each against its published value."""
    places = {
        (run.row, cell.model, run.report.protocol): place_of(cell, run.section.metric)
        for run in runs
        for cell in run.section.reproductions
    }
    both = [(row, model) for row, model, protocol in places if protocol == "paper" and (row, model, "fair") in places]
    if not both:
        return None
    figure = Figure(figsize=(WIDTH * 0.7, WIDTH * 0.6))
    axes = figure.add_subplot()
    for row, model in both:
        at = [places[row, model, protocol].mean for protocol in ("paper", "fair")]
        axes.plot(*([value] for value in at), styles[model].marker, color=styles[model].colour)
        axes.annotate(f"{row} {model}", (at[0], at[1]), fontsize=7, xytext=(4, 4), textcoords="offset points")
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1)
    axes.set_xlabel("protocol paper: margins worse than published")
    axes.set_ylabel("protocol fair: margins worse than published")
    return picture(
        "protocols",
        figure,
        "Cells below the line are better at the row's size and after a search than at the published setting.",
    )
