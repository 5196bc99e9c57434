"""Draw how often the leader is the best model against its reported P(best), from the numbers of `worlds.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

Line = Mapping[str, Any]  # a line of JSON, hence Any
GREY = "#767676"
BLUE, ORANGE = "#0072b2", "#d55e00"


def draw(after: Sequence[Line], before: Sequence[Line] | None, path: Path) -> None:
    """Write the plot as SVG, one panel per number of models.  after, before: `calibration` of `worlds.py --json`."""
    counts = sorted({models_of(line) for line in after})
    figure = Figure(figsize=(2.4 * len(counts), 2.9), layout="constrained")
    for panel, (axes, models) in enumerate(zip(figure.subplots(1, len(counts), sharey=True), counts, strict=True)):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, label="calibrated")
        if before is not None:
            _points(axes, [line for line in before if models_of(line) == models], ORANGE, "before", offset=-0.012)
        _points(axes, [line for line in after if models_of(line) == models], BLUE, "now", offset=0.0)
        axes.set(title=f"{models} models", xlabel="P(best) said", xlim=(0.1, 1.02), ylim=(0, 1.02))
        if panel == 0:
            axes.set_ylabel("share of races in which\nthe leader is the best")
            axes.legend(fontsize=7, frameon=False)
    with mpl.rc_context({"svg.hashsalt": "worlds"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def models_of(line: Line) -> int:
    """Return the number of models of a calibration case."""
    return int(str(line["name"]).split(",")[0])


def _points(axes: Axes, lines: Sequence[Line], colour: str, label: str, *, offset: float) -> None:
    """Draw each bin over all cases, with Clopper and Pearson's interval at 95 %."""
    for place in range(max(len(line["bins"]) for line in lines)):
        cells = [line["bins"][place] for line in lines if line["bins"][place] is not None]
        if not cells:
            continue
        n, right = sum(cell[2] for cell in cells), sum(cell[1] for cell in cells)
        said = float(np.average([cell[0] for cell in cells], weights=[cell[2] for cell in cells]))
        interval = stats.binomtest(right, n).proportion_ci()
        reach = [[max(right / n - interval.low, 0.0)], [max(interval.high - right / n, 0.0)]]
        axes.errorbar(
            [said + offset], [right / n], yerr=reach, fmt="o", color=colour, markersize=4, linewidth=1, label=label
        )
        label = "_" + label
