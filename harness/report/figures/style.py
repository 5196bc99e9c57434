"""The common style of all figures: markers of a model, labelled axes, and SVG output."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.comparison import Section
from harness.analysis.statistics import Summary
from harness.records import MetricFacts
from harness.report.formatting import number
from harness.report.report import Report

# Okabe and Ito's palette without its yellow, which is lost on white paper; marks tell models apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (8, 2)), ":")
GREY = "#666666"
WIDTH, HEIGHT = 7.0, 3.4
"""Inches."""
NAMES_FIT = 60
"""Characters below an axis."""
NAMES_SLANT = 12
"""Most names below an axis that are slanted; more are upright."""
NAME_LIMIT = 24
LABEL_LIMIT = 20
"""Characters of a metric's name beside an axis."""
PANELS = 4
"""Panels per row."""

STYLE: dict[Any, Any] = {  # Any: matplotlib types every one of its settings by name
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "seqharness",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Look:
    label: str
    """The model's name, shortened if it would take the figure's space."""
    colour: str
    mark: str
    dash: Any
    """Any: what matplotlib takes for a line's dashes, a name or a pattern."""


def looks(reports: Iterable[Report]) -> dict[str, Look]:
    """Return the style of each model, in alphabetical order, so that reports of the same models look alike."""
    models = sorted({row.model for report in reports for row in report.rows})
    labels = _labels(models)
    return {model: _look(labels[model], *divmod(place, len(COLOURS))) for place, model in enumerate(models)}


def _labels(models: Sequence[str]) -> dict[str, str]:
    """Return distinct labels by model."""
    shown = {model: short(model, NAME_LIMIT) for model in models}
    often = Counter(shown.values())
    return {model: f"{text} #{place}" if often[text] > 1 else text for place, (model, text) in enumerate(shown.items())}


def short(text: str, limit: int) -> str:
    """Return a long text without its middle."""
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - half]}…{text[-half:]}"


def _look(label: str, turn: int, place: int) -> Look:
    """Return a combination of colour, marker and dashes that differs in every turn through the colours."""
    return Look(label, COLOURS[place], MARKS[(place + turn) % len(MARKS)], DASHES[(place + 2 * turn) % len(DASHES)])


@contextmanager
def axes_of(metric: MetricFacts | None = None, *, height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_subplot()
    yield figure, axes
    if metric is not None and metric.scale == "log" and all_positive(axes):
        axes.set_yscale("log")


def all_positive(axes: Axes) -> bool:
    values = [float(value) for line in axes.get_lines() for value in np.asarray(line.get_ydata(), dtype=np.float64)]
    return all(value > 0 for value in values if not math.isnan(value))


def to_svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def label_of(metric: MetricFacts, where: str) -> str:
    """An axis label: what, on which split, in which unit, and which way is better."""
    unit = f", {plain(short(metric.unit, NAME_LIMIT // 2))}" if metric.unit else ""
    return f"{where} {plain(short(metric.name, LABEL_LIMIT))}{unit} ({'↓' if metric.better == 'lower' else '↑'} better)"


def plain(text: str) -> str:
    """A dollar would begin mathematics."""
    return text.replace("$", r"\$")


def add_legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=2.6)


def add_floor(axes: Axes, metric: MetricFacts, floor: Sequence[tuple[float, float]], *, across: bool = True) -> None:
    """Draw the floor as a line, after the data; only name it if a linear axis would leave them less than a third.

    floor: (x, floor) of each point. across: from edge to edge, at the first floor.
    """
    if not floor:
        return
    low, high = axes.get_ylim()
    outside = max(low - floor[0][1], floor[0][1] - high)
    if metric.scale == "linear" and outside > 2 * (high - low):
        axes.plot([], [], " ", label=f"floor {number(floor[0][1])}, off the axis")
    elif across:
        axes.axhline(floor[0][1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="floor")
    else:
        axes.plot(*zip(*floor, strict=True), color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="floor")


def floors_of(section: Section) -> list[tuple[float, float]]:
    return [(0.0, section.floor)] if section.floor is not None else []


def add_interval(axes: Axes, x: float, summary: Summary, style: Look) -> None:
    low, high = (
        (summary.mean, summary.mean) if summary.interval is None else (summary.interval.low, summary.interval.high)
    )
    reach = [[max(0.0, summary.mean - low)], [max(0.0, high - summary.mean)]]
    axes.errorbar(
        [x], [summary.mean], reach, color=style.colour, marker=style.mark, capsize=3, markersize=5, linewidth=1.4
    )
