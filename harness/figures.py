"""Pictures of a report, drawn by matplotlib into SVG: the same colour and mark for a model in all of them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.comparison import Section
from harness.document import Picture
from harness.overall import Overall
from harness.records import MetricFacts
from harness.report import Report, by_protocol, over_tasks
from harness.results import Curves, Standing
from harness.statistics import Summary, summarise

# Okabe and Ito's palette without its yellow, which is lost on white paper; marks tell models apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (8, 2)), ":")
GREY = "#666666"
WIDTH, HEIGHT = 7.0, 3.4
"""Inches."""

_STYLE: dict[Any, Any] = {  # Any: matplotlib types every one of its settings by name
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
    colour: str
    mark: str
    dash: Any
    """Any: what matplotlib takes for a line's dashes, a name or a pattern."""


def looks(reports: Iterable[Report]) -> dict[str, Look]:
    """By model, in the order of the alphabet, so that reports of the same models look alike."""
    models = sorted({row.model for report in reports for row in report.rows})
    return {
        model: Look(COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)], DASHES[(i + i // len(COLOURS)) % len(DASHES)])
        for i, model in enumerate(models)
    }


def draw(reports: Sequence[Report]) -> dict[tuple[str, str, str], tuple[Picture, ...]]:
    """Study id, task and part of its section → pictures; ("", protocol, "overall") → those over tasks."""
    look = looks(reports)
    drawn: dict[tuple[str, str, str], tuple[Picture, ...]] = {}
    with matplotlib.rc_context(_STYLE):
        for report in reports:
            for section in report.sections:
                made = {
                    "comparison": (scores(section, look), learning(section, report.curves, look)),
                    "tuning": (best_of_k(section, look, trajectory=report.sampler != "random"),),
                }
                for part, pictures in made.items():
                    drawn[report.study_id, section.task, part] = tuple(one for one in pictures if one is not None)
        for protocol, of_protocol in by_protocol(reports).items():
            drawn["", protocol, "overall"] = tuple(_over_tasks(of_protocol, look))
    return drawn


def _over_tasks(reports: Sequence[Report], look: Mapping[str, Look]) -> Iterator[Picture]:
    sections = [section for report in reports for section in report.sections]
    found = over_tasks(reports)
    if found is not None:
        yield rank_picture(found, look)
    yield from sizes(sections, look)
    yield from retention(sections, look)


@contextmanager
def _axes(metric: MetricFacts | None = None, *, height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_subplot()
    yield figure, axes
    if metric is not None and metric.scale == "log" and _all_positive(axes):
        axes.set_yscale("log")


def _all_positive(axes: Axes) -> bool:
    values = [float(value) for line in axes.get_lines() for value in np.asarray(line.get_ydata(), dtype=np.float64)]
    return all(value > 0 for value in values if not math.isnan(value))


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _of(metric: MetricFacts, where: str) -> str:
    """An axis label: what, on which split, in which unit, and which way is better."""
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{where} {_plain(metric.name)}{unit} ({'↓' if metric.better == 'lower' else '↑'} better)"


def _plain(text: str) -> str:
    """A dollar would begin mathematics."""
    return text.replace("$", r"\$")


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=2.6)


def _floor(axes: Axes, section: Section) -> None:
    if section.floor is not None:
        axes.axhline(section.floor, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="floor")


def scores(section: Section, look: Mapping[str, Look]) -> Picture | None:
    """Every repetition's test score, and the interval of the mean beside them."""
    shown = [(row, one.scores("test")) for row, one in zip(section.rows, section.standings, strict=True)]
    shown = [(row, values) for row, values in shown if values]
    if not shown:
        return None
    with _axes(section.metric) as (figure, axes):
        for place, (row, values) in enumerate(shown):
            style = look[row.model]
            spread = [place - 0.22 + 0.16 * (i / max(1, len(values) - 1)) for i in range(len(values))]
            axes.plot(spread, values, style.mark, color=style.colour, markersize=3.5, alpha=0.55, markeredgewidth=0)
            if row.test is not None:
                _interval(axes, place + 0.12, row.test, style)
            if row.published is not None:
                axes.plot([place - 0.3, place + 0.3], [row.published] * 2, ":", color="black", linewidth=1.2)
        if any(row.published is not None for row, _ in shown):
            axes.plot([], [], ":", color="black", linewidth=1.2, label="published")
        _floor(axes, section)
        axes.set_xticks(range(len(shown)), [row.model for row, _ in shown])
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_ylabel(_of(section.metric, "test"))
        axes.grid(visible=False, axis="x")
        if axes.get_legend_handles_labels()[1]:
            _legend(axes)
    caption = f"{section.task}: test scores of all repetitions, their mean and its 95 % interval."
    return Picture(f"scores-{section.task}", _svg(figure), caption)


def _interval(axes: Axes, x: float, summary: Summary, style: Look) -> None:
    low, high = (
        (summary.mean, summary.mean) if summary.interval is None else (summary.interval.low, summary.interval.high)
    )
    reach = [[max(0.0, summary.mean - low)], [max(0.0, high - summary.mean)]]
    axes.errorbar(
        [x], [summary.mean], reach, color=style.colour, marker=style.mark, capsize=3, markersize=5, linewidth=1.4
    )


def learning(section: Section, curves: Curves, look: Mapping[str, Look]) -> Picture | None:
    """Validation against updates: each repetition thin, their median thick."""
    name = section.metric.name
    known = {
        one.facts.cell.model: [c for entry in one.finals if (c := curves.get(entry.trial.key, {}).get(name))]
        for one in section.standings
    }
    if not any(known.values()):
        return None
    with _axes(section.metric, height=HEIGHT + 0.4) as (figure, axes):
        for model, own in known.items():
            style = look[model]
            for curve in own:
                axes.plot(*zip(*curve, strict=True), color=style.colour, linewidth=0.6, alpha=0.35)
            if own:
                middle = _median_curve(own)
                axes.plot(
                    *zip(*middle, strict=True), color=style.colour, linewidth=2, label=f"{model}, {len(own)} seeds",
                    linestyle=style.dash, marker=style.mark, markersize=4, markevery=max(1, len(middle) // 6),
                )  # fmt: skip
        _floor(axes, section)
        _published(axes, section, look)
        axes.set_xlabel("updates")
        axes.set_ylabel(_of(section.metric, "validation"))
        _legend(axes)
    caption = f"{section.task}: validation during the repetitions, each thin, their median thick"
    told = [
        text
        for text, there in (("the floor", section.floor), ("published test values", _any_published(section)))
        if there
    ]
    return Picture(
        f"learning-{section.task}", _svg(figure), f"{caption}{'; dashed or dotted: ' if told else ''}{', '.join(told)}."
    )


def _any_published(section: Section) -> bool:
    return any(row.published is not None for row in section.rows)


def _published(axes: Axes, section: Section, look: Mapping[str, Look]) -> None:
    for row in section.rows:
        if row.published is not None:
            axes.axhline(
                row.published, color=look[row.model].colour, linewidth=1, linestyle=":", label=f"{row.model}, published"
            )


def _median_curve(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """At every update at which at least half of the curves have a value."""
    values: dict[int, list[float]] = {}
    for curve in curves:
        for update, value in curve:
            values.setdefault(update, []).append(value)
    return [(update, median(found)) for update, found in sorted(values.items()) if 2 * len(found) >= len(curves)]


def best_of_k(section: Section, look: Mapping[str, Look], *, trajectory: bool) -> Picture | None:
    """Expected best validation score against the number of trials, with where 80 % of searches fall."""
    if not section.tuning or max(len(curve.expected) for curve in section.tuning.values()) < 2:
        return None
    with _axes(section.metric) as (figure, axes):
        for model, curve in section.tuning.items():
            style, k = look[model], range(1, len(curve.expected) + 1)
            axes.plot(
                k,
                curve.expected,
                color=style.colour,
                linestyle=style.dash,
                marker=style.mark,
                markersize=4,
                label=model,
            )
            if not trajectory:
                axes.fill_between(k, curve.low, curve.high, color=style.colour, alpha=0.12, linewidth=0)
        for one in section.crossings:
            axes.axvline(one.k + 0.5, color=GREY, linewidth=0.8, linestyle=":")
        _floor(axes, section)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("search trials, in the order they ran" if trajectory else "search trials, k")
        axes.set_ylabel(_of(section.metric, "best validation"))
        _legend(axes)
    what = (
        "best score so far, one course of a sampler that learns"
        if trajectory
        else ("expected best of k trials, and where it falls in 80 % of searches; dotted: the leading model changes")
    )
    return Picture(f"best-of-k-{section.task}", _svg(figure), f"{section.task}: {what}.")


def rank_picture(found: Overall, look: Mapping[str, Look]) -> Picture:
    """Mean ranks on a line; models joined by a bar differ by less than the critical difference (Demšar 2006)."""
    order = sorted(found.ranks, key=lambda model: found.ranks[model])
    half = (len(order) + 1) // 2
    depth = max(half, len(found.groups)) + 1
    with _axes(height=1.0 + 0.32 * depth) as (figure, axes):
        axes.axis("off")
        axes.set_xlim(0.55, len(order) + 0.45)
        axes.set_ylim(-depth - 0.4, 1.6)
        axes.plot([1, len(order)], [0, 0], color="black", linewidth=1)
        for rank in range(1, len(order) + 1):
            axes.plot([rank, rank], [0, 0.18], color="black", linewidth=1)
            axes.text(rank, 0.3, str(rank), ha="center", va="bottom")
        for place, group in enumerate(found.groups):
            ranks = [found.ranks[model] for model in group]
            y = -0.25 - 0.28 * place
            axes.plot([min(ranks) - 0.03, max(ranks) + 0.03], [y, y], color=GREY, linewidth=4, solid_capstyle="butt")
        for place, model in enumerate(order):
            left = place < half
            y = -1.0 - 0.9 * (place if left else len(order) - 1 - place) - 0.28 * max(0, len(found.groups) - 1)
            end = 0.95 if left else len(order) + 0.05
            axes.plot([found.ranks[model], found.ranks[model], end], [0, y, y], color=look[model].colour, linewidth=1.4)
            axes.plot([found.ranks[model]], [0], look[model].mark, color=look[model].colour, markersize=6)
            label = f"{model}  {found.ranks[model]:.2f}" if left else f"{found.ranks[model]:.2f}  {model}"
            axes.text(end - 0.03 if left else end + 0.03, y, label, ha="right" if left else "left", va="center")
        if found.difference < len(order) - 1:
            axes.plot([1, 1 + found.difference], [1.2, 1.2], color="black", linewidth=1.4, marker="|")
            axes.text(1 + found.difference / 2, 1.3, "critical difference", ha="center", va="bottom", fontsize=8)
    caption = (
        f"Mean ranks over {len(found.tasks)} tasks, 1 is best; critical difference {found.difference:.2f} (Nemenyi, "
        "5 %), bars join models that differ by less. Descriptive: tasks are few."
    )
    return Picture("ranks", _svg(figure), caption)


def sizes(sections: Sequence[Section], look: Mapping[str, Look]) -> Iterator[Picture]:
    """Test score against parameters, for every task that is there at more than one size."""
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(section.ref.model_dump_json(), []).append(section)
    for group in groups.values():
        points = _points(group, lambda section, one: one.setting.parameters if one.setting is not None else None)
        found = [x for own in points.values() for x, _ in own]
        if not found or max(found) <= 1.1 * min(found):
            continue
        first = group[0]
        svg = _lines(
            points,
            look,
            x="parameters (trainable, the whole network)",
            y=_of(first.metric, "test"),
            metric=first.metric,
            floor=[(x, first.floor) for x in (min(found), max(found))] if first.floor is not None else [],
            log_x=True,
        )
        yield Picture(f"size-{first.task}", svg, f"{first.task}: test score against size, with 95 % intervals.")


def retention(sections: Sequence[Section], look: Mapping[str, Look]) -> Iterator[Picture]:
    """Test scores against the one option in which at least three tasks of one name and size differ."""
    groups: dict[tuple[str, int | None, tuple[str, ...]], list[Section]] = {}
    for section in sections:
        key = (section.ref.name, section.parameters, tuple(sorted(section.ref.options)))
        groups.setdefault(key, []).append(section)
    for group in groups.values():
        option = varying(group)
        if option is None:
            continue
        yield from _retained(group, option, look)


def _retained(group: Sequence[Section], option: str, look: Mapping[str, Look]) -> Iterator[Picture]:
    """A picture for each metric that the task reports of the test split."""
    task, own = group[0].ref.name, group[0].metric.name
    names = dict.fromkeys(name for section in group for one in section.standings for name in _test_metrics(one))
    for name in names:
        points = _points(group, lambda section, _: _option(section, option), metric=name)
        floors = [(_option(section, option), section.floor) for section in group if name == own]
        svg = _lines(
            points,
            look,
            x=_plain(option),
            y=_of(group[0].metric, "test") if name == own else f"test {_plain(name)}",
            metric=group[0].metric if name == own else None,
            floor=[(x, floor) for x, floor in sorted(floors, key=lambda one: one[0]) if floor is not None],
        )
        caption = f"{task}: test {name} against {option}, means over repetitions with 95 % intervals."
        yield Picture(f"retention-{task}-{name}", svg, caption)


def _option(section: Section, name: str) -> float:
    value = section.ref.options[name]
    assert isinstance(value, int | float)  # `varying` has seen to it
    return float(value)


def varying(group: Sequence[Section]) -> str | None:
    """The option that alone differs among tasks, where it is a number with at least three values."""
    options = [section.ref.options for section in group]
    differing = [name for name in options[0] if len({one[name] for one in options}) > 1]
    if len(differing) != 1:
        return None
    values = {one[differing[0]] for one in options}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return differing[0] if numeric and len(values) == len(group) >= 3 else None


def _test_metrics(one: Standing) -> list[str]:
    results = [entry.result for entry in one.finals if entry.result is not None]
    return [name for result in results for name in result.metrics.get("test", {})]


Place = Callable[[Section, Standing], float | None]
Points = dict[str, list[tuple[float, Summary]]]


def _points(group: Sequence[Section], place: Place, metric: str | None = None) -> Points:
    """Model → where each of its cells stands and the summary of its test scores, from left to right."""
    points: Points = {}
    for section in group:
        for one in section.standings:
            values = [value for value in one.repeated("test", metric).values() if value == value]
            x = place(section, one)
            if values and x is not None:
                own = metric is None or metric == section.metric.name
                scale = section.metric.scale if own and all(value > 0 for value in values) else "linear"
                points.setdefault(one.facts.cell.model, []).append((x, summarise(values, scale)))
    return {model: sorted(own, key=lambda point: point[0]) for model, own in points.items()}


def _lines(
    points: Points,
    look: Mapping[str, Look],
    *,
    x: str,
    y: str,
    metric: MetricFacts | None,
    floor: Sequence[tuple[float, float]],
    log_x: bool = False,
) -> str:
    """A line a model through its means, with their intervals.  metric: whose scale the axis has."""
    with _axes(metric) as (figure, axes):
        for model, own in points.items():
            style = look[model]
            axes.plot(
                [at for at, _ in own],
                [one.mean for _, one in own],
                color=style.colour,
                linestyle=style.dash,
                marker=style.mark,
                markersize=5,
                label=model,
            )
            for at, one in own:
                _interval(axes, at, one, style)
        if floor:
            axes.plot(*zip(*floor, strict=True), color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="floor")
        if log_x:
            axes.set_xscale("log")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        _legend(axes)
    return _svg(figure)
