"""Shared parts of all figures: the style of each model, axes with labels, and SVG output."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.comparison import Section
from harness.analysis.statistics import Summary
from harness.records import MetricFacts
from harness.report.document import Picture
from harness.report.formatting import number, short
from harness.report.report import Report

# Okabe and Ito's palette without yellow, which is hardly visible on white paper; markers distinguish models without
# colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (8, 2)), ":")
GREY = "#666666"
WIDTH, HEIGHT = 7.0, 3.4
"""Size of a figure in inches."""
NAMES_FIT = 60
"""Most characters below an axis in horizontal text."""
NAMES_SLANT = 12
"""Most names below an axis in slanted text; more are vertical."""
NAME_LIMIT = 24
"""Most characters of a model's name."""
LABEL_LIMIT = 20
"""Most characters of a metric's name next to an axis."""
PANELS = 4
"""Most panels in a row."""

STYLE: dict[Any, Any] = {  # Any: matplotlib types each setting by name
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
class ModelStyle:
    """How one model looks in every figure."""

    label: str
    """The model's name, shortened if it is longer than `NAME_LIMIT`."""
    colour: str
    marker: str
    dash: Any
    """Any: matplotlib accepts a name or a pattern for a line's dashes."""


def model_styles(reports: Iterable[Report]) -> dict[str, ModelStyle]:
    """Return model → style, in alphabetical order, so that reports of the same models look alike."""
    models = sorted({row.model for report in reports for row in report.rows})
    labels = _labels(models)
    return {model: _model_style(labels[model], *divmod(place, len(COLOURS))) for place, model in enumerate(models)}


def _labels(models: Sequence[str]) -> dict[str, str]:
    """Return model → unique label."""
    shown = {model: short(model, NAME_LIMIT) for model in models}
    uses = Counter(shown.values())
    return {model: f"{text} #{place}" if uses[text] > 1 else text for place, (model, text) in enumerate(shown.items())}


def _model_style(label: str, cycle: int, place: int) -> ModelStyle:
    """Return a style; each cycle through the colours combines them with different markers and dashes."""
    marker = MARKERS[(place + cycle) % len(MARKERS)]
    return ModelStyle(label, COLOURS[place], marker, DASHES[(place + 2 * cycle) % len(DASHES)])


class ShownFigure(Figure):
    """A figure that notebooks display.  They display other figures only after pyplot is imported."""

    def _repr_svg_(self) -> str:
        with matplotlib.rc_context(STYLE):
            return svg_of(self)


@contextmanager
def axes_of(metric: MetricFacts | None = None, *, height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure and its axes; the y axis becomes logarithmic if the metric's scale and all values allow it."""
    figure = ShownFigure(figsize=(WIDTH, height))
    axes = figure.add_subplot()
    yield figure, axes
    if metric is not None and metric.scale == "log" and all_positive(axes):
        axes.set_yscale("log")


def all_positive(axes: Axes) -> bool:
    """Return whether all finite and infinite y values of the lines are positive; NaN is ignored."""
    values = [float(value) for line in axes.get_lines() for value in np.asarray(line.get_ydata(), dtype=np.float64)]
    return all(value > 0 for value in values if not math.isnan(value))


def svg_of(figure: Figure) -> str:
    """Return the figure as SVG without a date, so that equal figures have equal text."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def picture(name: str, figure: Figure, caption: str) -> Picture:
    """Return the figure with its SVG."""
    return Picture(name, svg_of(figure), caption, figure)


def label_of(metric: MetricFacts, where: str) -> str:
    """Return an axis label: split, metric, unit and the better direction."""
    unit = f", {plain(short(metric.unit, NAME_LIMIT // 2))}" if metric.unit else ""
    return f"{where} {plain(short(metric.name, LABEL_LIMIT))}{unit} ({'↓' if metric.better == 'lower' else '↑'} better)"


def plain(text: str) -> str:
    """Escape dollars, which begin mathematics in matplotlib."""
    return text.replace("$", r"\$")


def add_legend(axes: Axes) -> None:
    """Add the legend to the right of the axes."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=2.6)


def add_floor(axes: Axes, metric: MetricFacts, floor: Sequence[tuple[float, float]], *, across: bool = True) -> None:
    """Draw the floor as a line; call it after the data are drawn.

    The floor is only named in the legend if a linear axis would leave the data less than a third of its length.
    floor: (x, floor) of each point.  across: draw from edge to edge, at the first floor.
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
    """Return the floor of a task as `add_floor` takes it; empty if it is unknown."""
    return [(0.0, section.floor)] if section.floor is not None else []


def add_interval(axes: Axes, x: float, summary: Summary, style: ModelStyle) -> None:
    """Draw a mean with its interval at x."""
    low, high = (
        (summary.mean, summary.mean) if summary.interval is None else (summary.interval.low, summary.interval.high)
    )
    lengths = [[max(0.0, summary.mean - low)], [max(0.0, high - summary.mean)]]
    axes.errorbar(
        [x], [summary.mean], lengths, color=style.colour, marker=style.marker, capsize=3, markersize=5, linewidth=1.4
    )
