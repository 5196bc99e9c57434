"""Figures of one task, drawn by matplotlib; `draw` makes those of whole reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.analysis.cell_result import Curves
from harness.analysis.comparison import Section
from harness.report.document import Picture
from harness.report.figures.across_tasks import over_all
from harness.report.figures.style import (
    GREY,
    HEIGHT,
    NAMES_FIT,
    NAMES_SLANT,
    PANELS,
    STYLE,
    WIDTH,
    Look,
    add_floor,
    add_interval,
    add_legend,
    all_positive,
    axes_of,
    floors_of,
    label_of,
    looks,
    to_svg,
)
from harness.report.report import Report, by_protocol


def draw(reports: Sequence[Report]) -> dict[tuple[str, str, str], tuple[Picture, ...]]:
    """Return study id, task and part of its section → figures; ("", protocol, "overall") → those across tasks."""
    look = looks(reports)
    drawn: dict[tuple[str, str, str], tuple[Picture, ...]] = {}
    with matplotlib.rc_context(STYLE):
        for report in reports:
            for section in report.sections:
                made = {
                    "comparison": (scores(section, look), learning(section, report.curves, look)),
                    "tuning": (best_of_k(section, look, trajectory=report.sampler != "random"),),
                }
                for part, pictures in made.items():
                    drawn[report.study_id, section.task, part] = tuple(one for one in pictures if one is not None)
        for protocol, of_protocol in by_protocol(reports).items():
            drawn["", protocol, "overall"] = tuple(over_all(of_protocol, look))
    return drawn


def scores(section: Section, look: Mapping[str, Look]) -> Picture | None:
    """Draw every repetition's test score, with the interval of the mean beside them."""
    shown = [(row, one.scores("test")) for row, one in zip(section.rows, section.standings, strict=True)]
    shown = [(row, values) for row, values in shown if values]
    if not shown:
        return None
    with axes_of(section.metric) as (figure, axes):
        for place, (row, values) in enumerate(shown):
            style = look[row.model]
            spread = [place - 0.22 + 0.16 * (i / max(1, len(values) - 1)) for i in range(len(values))]
            axes.plot(spread, values, style.mark, color=style.colour, markersize=3.5, alpha=0.55, markeredgewidth=0)
            if row.test is not None:
                add_interval(axes, place + 0.12, row.test, style)
            if row.published is not None:
                axes.plot([place - 0.3, place + 0.3], [row.published] * 2, ":", color="black", linewidth=1.2)
        if any(row.published is not None for row, _ in shown):
            axes.plot([], [], ":", color="black", linewidth=1.2, label="published")
        add_floor(axes, section.metric, floors_of(section))
        _names(axes, [look[row.model].label for row, _ in shown])
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_ylabel(label_of(section.metric, "test"))
        axes.grid(visible=False, axis="x")
        if axes.get_legend_handles_labels()[1]:
            add_legend(axes)
    caption = f"{section.task}: test scores of all repetitions, their mean and its 95 % interval."
    return Picture(f"scores-{section.task}", to_svg(figure), caption)


def _names(axes: Axes, names: Sequence[str]) -> None:
    """Below the axis, as they find room."""
    axes.set_xticks(range(len(names)), names)
    if len(names) > NAMES_SLANT:
        axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    elif len(names) * max(map(len, names)) > NAMES_FIT:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")


def learning(section: Section, curves: Curves, look: Mapping[str, Look]) -> Picture | None:
    """Validation against updates: each repetition thin, their median thick."""
    name = section.metric.name
    known = {
        one.facts.cell.model: [c for entry in one.finals if (c := curves.get(entry.trial.key, {}).get(name))]
        for one in section.standings
    }
    if not any(known.values()):
        return None
    with axes_of(section.metric, height=HEIGHT + 0.4) as (figure, axes):
        for model, own in known.items():
            style = look[model]
            for curve in own:
                axes.plot(*zip(*curve, strict=True), color=style.colour, linewidth=0.6, alpha=0.35)
            if own:
                middle = _median_curve(own)
                axes.plot(
                    *zip(*middle, strict=True), label=f"{style.label}, {len(own)} seeds", color=style.colour,
                    linewidth=2, linestyle=style.dash, marker=style.mark, markersize=4,
                    markevery=max(1, len(middle) // 6),
                )  # fmt: skip
        add_floor(axes, section.metric, floors_of(section))
        _published(axes, section, look)
        axes.set_xlabel("updates")
        axes.set_ylabel(label_of(section.metric, "validation"))
        add_legend(axes)
    caption = f"{section.task}: validation during the repetitions, each thin, their median thick"
    lines = ["grey dashes: the floor"] if section.floor is not None else []
    lines += ["dots, with the model's mark at the right: published test values"] if _any_published(section) else []
    return Picture(f"learning-{section.task}", to_svg(figure), f"{'; '.join([caption, *lines])}.")


def _any_published(section: Section) -> bool:
    return any(row.published is not None for row in section.rows)


def _published(axes: Axes, section: Section, look: Mapping[str, Look]) -> None:
    for row in section.rows:
        if row.published is not None:
            style = look[row.model]
            axes.axhline(row.published, color=style.colour, linewidth=1.1, linestyle=":")
            axes.plot(
                [1], [row.published], style.mark, color=style.colour, markersize=4, clip_on=False,
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
    if _any_published(section):
        axes.plot([], [], ":", color="black", linewidth=1.1, label="published (test)")


def _median_curve(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Return the median at every update at which at least half of the curves have a value."""
    values: dict[int, list[float]] = {}
    for curve in curves:
        for update, value in curve:
            values.setdefault(update, []).append(value)
    return [(update, median(found)) for update, found in sorted(values.items()) if 2 * len(found) >= len(curves)]


def best_of_k(section: Section, look: Mapping[str, Look], *, trajectory: bool) -> Picture | None:
    """Draw the expected best validation score against the number of trials: one panel per model, the others in thin
    lines.
    """
    if not section.tuning or max(len(curve.expected) for curve in section.tuning.values()) < 2:
        return None
    rows = -(-len(section.tuning) // PANELS)
    figure = Figure(figsize=(WIDTH, 0.5 + 2.0 * rows))
    panels = figure.subplots(rows, min(PANELS, len(section.tuning)), sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[len(section.tuning) :]:
        panel.set_visible(False)
    for panel, model in zip(panels, section.tuning, strict=False):
        _tuned(panel, section, model, look, band=not trajectory)
    if section.metric.scale == "log" and all(map(all_positive, panels)):
        panels[0].set_yscale("log")
    figure.supxlabel("search trials, in the order they ran" if trajectory else "search trials, k", fontsize=9)
    figure.supylabel(label_of(section.metric, "best validation").replace("validation ", "validation\n", 1), fontsize=9)
    what = "best score so far" if trajectory else "expected best of k trials; shaded: 80 % of searches"
    lines = ["the other models thin"] if len(section.tuning) > 1 else []
    lines += ["grey dashes: the floor"] if section.floor is not None else []
    lines += ["grey dots: where the leader changes"] if section.crossings else []
    return Picture(f"best-of-k-{section.task}", to_svg(figure), f"{section.task}: {'; '.join([what, *lines])}.")


def _tuned(axes: Axes, section: Section, model: str, look: Mapping[str, Look], *, band: bool) -> None:
    for name, curve in section.tuning.items():
        k, style, own = range(1, len(curve.expected) + 1), look[name], name == model
        if own and band:
            axes.fill_between(k, curve.low, curve.high, color=style.colour, alpha=0.18, linewidth=0)
        axes.plot(
            k,
            curve.expected,
            color=style.colour,
            linewidth=1.8 if own else 0.7,
            linestyle=style.dash,
            marker=style.mark if own else "",
            markersize=4,
            markevery=max(1, len(k) // 8),
            zorder=3 if own else 2,
        )
    for one in section.crossings:
        axes.axvline(one.k + 0.5, color=GREY, linewidth=0.8, linestyle=":")
    if section.floor is not None:
        axes.axhline(section.floor, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    title = look[model].label
    axes.set_title(title, fontsize=9 if len(title) < 14 else 7, color=look[model].colour, fontweight="bold")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
