"""Draw mean ranks as a critical-difference diagram (Demšar 2006)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from harness.analysis.across_tasks import Overall
from harness.report.document import Picture
from harness.report.figures.style import GREY, ModelStyle, axes_of, to_svg

MOST_NUMBERS = 16
"""Most ranks with a number; with more models, only every second or later rank has one."""
BAR_STEP = 0.28
"""Distance of the bars that join models."""
LABEL_STEP = 0.9
"""Distance of the models' labels."""


def rank_picture(comparison: Overall, styles: Mapping[str, ModelStyle]) -> Picture:
    """Draw mean ranks on a line; bars join models whose ranks differ by less than the critical difference."""
    order = sorted(comparison.ranks, key=lambda model: comparison.ranks[model])
    bars, half = len(comparison.groups), (len(order) + 1) // 2
    below = BAR_STEP * max(0, bars - 1)
    with axes_of(height=0.9 + 0.3 * half + 0.1 * bars) as (figure, axes):
        axes.axis("off")
        axes.set_xlim(0.55, len(order) + 0.45)
        axes.set_ylim(-0.5 - LABEL_STEP * half - below, 1.7)
        _add_line(axes, len(order))
        for place, group in enumerate(comparison.groups):
            _add_bar(axes, [comparison.ranks[model] for model in group], -0.25 - BAR_STEP * place)
        _add_models(axes, order, comparison, styles)
        if comparison.difference < len(order) - 1:
            _add_difference(axes, comparison.difference)
    caption = (
        f"Mean ranks over {len(comparison.tasks)} tasks, 1 is best. The critical difference is "
        f"{comparison.difference:.2f} (Nemenyi, 5 %); bars join models that differ by less. Descriptive: tasks are few."
    )
    return Picture("ranks", to_svg(figure), caption)


def _add_line(axes: Axes, models: int) -> None:
    axes.plot([1, models], [0, 0], color="black", linewidth=1)
    for rank in range(1, models + 1):
        axes.plot([rank, rank], [0, 0.18], color="black", linewidth=1)
        if rank == 1 or rank % (1 + models // MOST_NUMBERS) == 0:
            axes.text(rank, 0.3, str(rank), ha="center", va="bottom")


def _add_bar(axes: Axes, ranks: Sequence[float], y: float) -> None:
    axes.plot([min(ranks) - 0.03, max(ranks) + 0.03], [y, y], color=GREY, linewidth=4, solid_capstyle="butt")


def _add_models(axes: Axes, order: Sequence[str], comparison: Overall, styles: Mapping[str, ModelStyle]) -> None:
    """Label the better half of the models on the left and the others on the right."""
    half = (len(order) + 1) // 2
    below = BAR_STEP * max(0, len(comparison.groups) - 1)
    for place, model in enumerate(order):
        left, rank, style = place < half, comparison.ranks[model], styles[model]
        y = -1.0 - LABEL_STEP * (place if left else len(order) - 1 - place) - below
        end = 0.95 if left else len(order) + 0.05
        axes.plot([rank, rank, end], [0, y, y], color=style.colour, linewidth=1.4)
        axes.plot([rank], [0], style.marker, color=style.colour, markersize=6)
        label = f"{style.label}  {rank:.2f}" if left else f"{rank:.2f}  {style.label}"
        axes.text(end - 0.03 if left else end + 0.03, y, label, ha="right" if left else "left", va="center")


def _add_difference(axes: Axes, difference: float) -> None:
    axes.plot([1, 1 + difference], [1.2, 1.2], color="black", linewidth=1.4, marker="|")
    axes.text(1 + difference / 2, 1.3, "critical difference", ha="center", va="bottom", fontsize=8)
