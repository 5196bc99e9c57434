"""Draw the figures of a task with matplotlib; `draw` makes all figures of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from harness.analysis.cell_result import CellResult, Curve, Curves
from harness.analysis.comparison import Section
from harness.report.document import Picture
from harness.report.figures.across_tasks import draw_across_tasks
from harness.report.figures.sizes import score_against_parameters
from harness.report.figures.style import (
    GREY,
    HEIGHT,
    NAMES_FIT,
    NAMES_SLANT,
    PANELS,
    STYLE,
    WIDTH,
    ModelStyle,
    ShownFigure,
    add_floor,
    add_interval,
    add_legend,
    all_positive,
    axes_of,
    floors_of,
    label_of,
    model_styles,
    picture,
)
from harness.report.report import Report, by_protocol


def draw(reports: Sequence[Report]) -> dict[tuple[str, str, str], tuple[Picture, ...]]:
    """Return (study id, task, part of the section) → pictures; ("", protocol, "overall") → pictures across tasks."""
    styles = model_styles(reports)
    drawn: dict[tuple[str, str, str], tuple[Picture, ...]] = {}
    with matplotlib.rc_context(STYLE):
        for report in reports:
            for section in report.sections:
                parts = {
                    "comparison": (scores(section, styles), learning(section, report.curves, styles)),
                    "tuning": (best_of_k(section, styles, trajectory=report.sampler != "random"),),
                }
                for part, pictures in parts.items():
                    known = tuple(picture for picture in pictures if picture is not None)
                    drawn[report.study_id, section.task, part] = known
            for sizes in report.sizes:
                by_size = score_against_parameters(sizes, styles)
                drawn[report.study_id, sizes.task, "sizes"] = () if by_size is None else (by_size,)
        for protocol, of_protocol in by_protocol(reports).items():
            drawn["", protocol, "overall"] = tuple(draw_across_tasks(of_protocol, styles))
    return drawn


def scores(section: Section, styles: Mapping[str, ModelStyle]) -> Picture | None:
    """Draw the test score of every repetition, and the mean with its interval; None if there are no scores."""
    shown = [(row, result.scores("test")) for row, result in zip(section.rows, section.results, strict=True)]
    shown = [(row, values) for row, values in shown if values]
    if not shown:
        return None
    with axes_of(section.metric) as (figure, axes):
        for place, (row, values) in enumerate(shown):
            style = styles[row.model]
            spread = [place - 0.22 + 0.16 * (i / max(1, len(values) - 1)) for i in range(len(values))]
            axes.plot(spread, values, style.marker, color=style.colour, markersize=3.5, alpha=0.55, markeredgewidth=0)
            if row.test is not None:
                add_interval(axes, place + 0.12, row.test, style)
            if row.published is not None:
                axes.plot([place - 0.3, place + 0.3], [row.published] * 2, ":", color="black", linewidth=1.2)
        if any(row.published is not None for row, _ in shown):
            axes.plot([], [], ":", color="black", linewidth=1.2, label="published")
        add_floor(axes, section.metric, floors_of(section))
        _add_names(axes, [styles[row.model].label for row, _ in shown])
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_ylabel(label_of(section.metric, "test"))
        axes.grid(visible=False, axis="x")
        if axes.get_legend_handles_labels()[1]:
            add_legend(axes)
    caption = f"{section.task}: test scores of all repetitions, their mean and its 95 % interval."
    return picture(f"scores-{section.task}", figure, caption)


def _add_names(axes: Axes, names: Sequence[str]) -> None:
    """Write names below the axis: horizontal, slanted or vertical, depending on their length and number."""
    axes.set_xticks(range(len(names)), names)
    if len(names) > NAMES_SLANT:
        axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    elif len(names) * max(map(len, names)) > NAMES_FIT:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")


def learning(section: Section, curves: Curves, styles: Mapping[str, ModelStyle]) -> Picture | None:
    """Draw validation scores against updates: each repetition thin, their median thick; None without curves."""
    known = {result.facts.cell.model: _own_curves(result, curves, section.metric.name) for result in section.results}
    if not any(known.values()):
        return None
    with axes_of(section.metric, height=HEIGHT + 0.4) as (figure, axes):
        for model, own in known.items():
            _add_curves(axes, own, styles[model])
        add_floor(axes, section.metric, floors_of(section))
        _add_published(axes, section, styles)
        axes.set_xlabel("updates")
        axes.set_ylabel(label_of(section.metric, "validation"))
        add_legend(axes)
    caption = f"{section.task}: validation score during the repetitions, each thin, their median thick"
    lines = ["grey dashes: the floor"] if section.floor is not None else []
    lines += ["dots, with the model's marker at the right: published test values"] if _any_published(section) else []
    return picture(f"learning-{section.task}", figure, f"{'; '.join([caption, *lines])}.")


def _own_curves(result: CellResult, curves: Curves, metric: str) -> list[Curve]:
    own = (curves.get(entry.trial.key, {}).get(metric) for entry in result.finals)
    return [curve for curve in own if curve]


def _add_curves(axes: Axes, curves: Sequence[Curve], style: ModelStyle) -> None:
    for curve in curves:
        axes.plot(*zip(*curve, strict=True), color=style.colour, linewidth=0.6, alpha=0.35)
    if curves:
        middle = _median_curve(curves)
        axes.plot(
            *zip(*middle, strict=True), label=f"{style.label}, {len(curves)} seeds", color=style.colour, linewidth=2,
            linestyle=style.dash, marker=style.marker, markersize=4, markevery=max(1, len(middle) // 6),
        )  # fmt: skip


def _any_published(section: Section) -> bool:
    return any(row.published is not None for row in section.rows)


def _add_published(axes: Axes, section: Section, styles: Mapping[str, ModelStyle]) -> None:
    for row in section.rows:
        if row.published is not None:
            style = styles[row.model]
            axes.axhline(row.published, color=style.colour, linewidth=1.1, linestyle=":")
            axes.plot(
                [1], [row.published], style.marker, color=style.colour, markersize=4, clip_on=False,
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
    if _any_published(section):
        axes.plot([], [], ":", color="black", linewidth=1.1, label="published (test)")


def _median_curve(curves: Sequence[Curve]) -> list[tuple[int, float]]:
    """Return the median at every update at which at least half of the curves have a value."""
    values: dict[int, list[float]] = {}
    for curve in curves:
        for update, value in curve:
            values.setdefault(update, []).append(value)
    return [(update, median(known)) for update, known in sorted(values.items()) if 2 * len(known) >= len(curves)]


def best_of_k(section: Section, styles: Mapping[str, ModelStyle], *, trajectory: bool) -> Picture | None:
    """Draw the expected best validation score against the number of trials; None with fewer than two trials.

    Each model has a panel, which shows the other models as thin lines.  trajectory: the curves are best scores so far.
    """
    if not section.tuning or max(len(curve.expected) for curve in section.tuning.values()) < 2:
        return None
    rows = -(-len(section.tuning) // PANELS)
    figure = ShownFigure(figsize=(WIDTH, 0.5 + 2.0 * rows))
    panels = figure.subplots(rows, min(PANELS, len(section.tuning)), sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[len(section.tuning) :]:
        panel.set_visible(False)
    for panel, model in zip(panels, section.tuning, strict=False):
        _add_tuning(panel, section, model, styles, band=not trajectory)
    if section.metric.scale == "log" and all(map(all_positive, panels)):
        panels[0].set_yscale("log")
    trials = "search trials, in the order they ran" if trajectory else "search trials, k"
    figure.supxlabel("updates of the search" if section.rungs else trials, fontsize=9)
    figure.supylabel(label_of(section.metric, "best validation").replace("validation ", "validation\n", 1), fontsize=9)
    what = "best score so far" if trajectory else "expected best of k trials; shaded: 80 % of searches"
    lines = ["other models thin"] if len(section.tuning) > 1 else []
    lines += ["grey dashes: the floor"] if section.floor is not None else []
    lines += ["grey dots: where the leader changes"] if section.crossings else []
    return picture(f"best-of-k-{section.task}", figure, f"{section.task}: {'; '.join([what, *lines])}.")


def _add_tuning(axes: Axes, section: Section, model: str, styles: Mapping[str, ModelStyle], *, band: bool) -> None:
    for name, curve in section.tuning.items():
        k, style, own = curve.updates or range(1, len(curve.expected) + 1), styles[name], name == model
        if own and band:
            axes.fill_between(k, curve.low, curve.high, color=style.colour, alpha=0.18, linewidth=0)
        axes.plot(
            k,
            curve.expected,
            color=style.colour,
            linewidth=1.8 if own else 0.7,
            linestyle=style.dash,
            marker=style.marker if own else "",
            markersize=4,
            markevery=max(1, len(k) // 8),
            zorder=3 if own else 2,
        )
    for crossing in section.crossings:
        axes.axvline(crossing.k + 0.5, color=GREY, linewidth=0.8, linestyle=":")
    if section.floor is not None:
        axes.axhline(section.floor, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    title = styles[model].label
    axes.set_title(title, fontsize=9 if len(title) < 14 else 7, color=styles[model].colour, fontweight="bold")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
