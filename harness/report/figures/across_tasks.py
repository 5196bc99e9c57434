"""Figures across tasks: mean ranks, scores against size, scores against an option of a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.analysis.across_tasks import Overall
from harness.analysis.cell_result import CellResult
from harness.analysis.comparison import Section
from harness.analysis.statistics import Interval, Summary, summarise
from harness.records import MetricFacts
from harness.report.document import Picture
from harness.report.figures.style import (
    GREY,
    LABEL_LIMIT,
    Look,
    add_floor,
    add_interval,
    add_legend,
    axes_of,
    label_of,
    plain,
    short,
    to_svg,
)
from harness.report.report import Report, over_tasks


def over_all(reports: Sequence[Report], look: Mapping[str, Look]) -> Iterator[Picture]:
    """Return the figures across the studies of one protocol."""
    sections = [section for report in reports for section in report.sections]
    found = over_tasks(reports)
    if found is not None:
        yield rank_picture(found, look)
    yield from sizes(sections, look)
    yield from retention(sections, look)


def rank_picture(found: Overall, look: Mapping[str, Look]) -> Picture:
    """Mean ranks on a line; models joined by a bar differ by less than the critical difference (Demšar 2006)."""
    order = sorted(found.ranks, key=lambda model: found.ranks[model])
    half = (len(order) + 1) // 2
    with axes_of(height=0.9 + 0.3 * half + 0.1 * len(found.groups)) as (figure, axes):
        axes.axis("off")
        axes.set_xlim(0.55, len(order) + 0.45)
        below = 0.28 * max(0, len(found.groups) - 1)
        axes.set_ylim(-0.5 - 0.9 * half - below, 1.7)
        axes.plot([1, len(order)], [0, 0], color="black", linewidth=1)
        for rank in range(1, len(order) + 1):
            axes.plot([rank, rank], [0, 0.18], color="black", linewidth=1)
            if rank == 1 or rank % (1 + len(order) // 16) == 0:
                axes.text(rank, 0.3, str(rank), ha="center", va="bottom")
        for place, group in enumerate(found.groups):
            ranks = [found.ranks[model] for model in group]
            y = -0.25 - 0.28 * place
            axes.plot([min(ranks) - 0.03, max(ranks) + 0.03], [y, y], color=GREY, linewidth=4, solid_capstyle="butt")
        for place, model in enumerate(order):
            left = place < half
            y = -1.0 - 0.9 * (place if left else len(order) - 1 - place) - below
            end = 0.95 if left else len(order) + 0.05
            axes.plot([found.ranks[model], found.ranks[model], end], [0, y, y], color=look[model].colour, linewidth=1.4)
            axes.plot([found.ranks[model]], [0], look[model].mark, color=look[model].colour, markersize=6)
            shown = look[model].label
            label = f"{shown}  {found.ranks[model]:.2f}" if left else f"{found.ranks[model]:.2f}  {shown}"
            axes.text(end - 0.03 if left else end + 0.03, y, label, ha="right" if left else "left", va="center")
        if found.difference < len(order) - 1:
            axes.plot([1, 1 + found.difference], [1.2, 1.2], color="black", linewidth=1.4, marker="|")
            axes.text(1 + found.difference / 2, 1.3, "critical difference", ha="center", va="bottom", fontsize=8)
    caption = (
        f"Mean ranks over {len(found.tasks)} tasks, 1 is best; critical difference {found.difference:.2f} (Nemenyi, "
        "5 %), bars join models that differ by less. Descriptive: tasks are few."
    )
    return Picture("ranks", to_svg(figure), caption)


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
            y=label_of(first.metric, "test"),
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
    facts = group[0].standings[0].facts
    names = dict.fromkeys(name for section in group for one in section.standings for name in _test_metrics(one))
    for name in names:
        points = _points(group, lambda section, _: _option(section, option), metric=name)
        metric = facts.metric_of(name)
        floors = [(_option(section, option), section.floor) for section in group if name == own]
        svg = _lines(
            points,
            look,
            x=plain(option),
            y=_label(metric, name),
            metric=metric,
            floor=[(x, floor) for x, floor in sorted(floors, key=lambda one: one[0]) if floor is not None],
        )
        spread = "95 % intervals" if name == own else "their range"
        caption = f"{task}: test {name} against {option}, means over repetitions with {spread}."
        yield Picture(f"retention-{task}-{name}", svg, caption)


def _label(metric: MetricFacts | None, name: str) -> str:
    if metric is None:  # of a store that does not tell
        return f"test {plain(short(name, LABEL_LIMIT))}"
    return label_of(metric.model_copy(update={"name": name}), "test")


def _option(section: Section, name: str) -> float:
    value = section.ref.options[name]
    assert isinstance(value, int | float)  # `varying` has seen to it
    return float(value)


def varying(group: Sequence[Section]) -> str | None:
    """Return the only option that differs among tasks, if it is a number with at least three values."""
    options = [section.ref.options for section in group]
    differing = [name for name in options[0] if len({one[name] for one in options}) > 1]
    if len(differing) != 1:
        return None
    values = {one[differing[0]] for one in options}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return differing[0] if numeric and len(values) == len(group) >= 3 else None


def _test_metrics(one: CellResult) -> list[str]:
    results = [entry.result for entry in one.finals if entry.result is not None]
    return [name for result in results for name in result.metrics.get("test", {})]


Place = Callable[[Section, CellResult], float | None]
Points = dict[str, list[tuple[float, Summary]]]


def _points(group: Sequence[Section], place: Place, metric: str | None = None) -> Points:
    """Return model → position of each of its cells and the summary of its test scores, from left to right."""
    points: Points = {}
    for section in group:
        for one in section.standings:
            values = [value for value in one.repeated("test", metric).values() if not math.isnan(value)]
            x = place(section, one)
            if values and x is not None:
                own = metric is None or metric == section.metric.name
                told = section.metric if own else one.facts.metric_of(metric or "")
                summary = _summary(values, told)
                points.setdefault(one.facts.cell.model, []).append((x, summary if own else _ranging(summary, values)))
    return {model: sorted(own, key=lambda point: point[0]) for model, own in points.items()}


def _summary(values: Sequence[float], metric: MetricFacts | None) -> Summary:
    return summarise(values, metric.scale if metric is not None and min(values) > 0 else "linear")


def _ranging(summary: Summary, values: Sequence[float]) -> Summary:
    """Return the summary with its range instead of an interval, for a cell that is not ranked: near 0 or 100 %
    accuracy, Student's interval leaves the possible values.
    """
    return replace(summary, interval=Interval(min(values), max(values), 1.0))


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
    """Draw one line per model through its means, with their intervals. metric: of the axis."""
    with axes_of(metric) as (figure, axes):
        found = [at for own in points.values() for at, _ in own]
        span = max(found) - min(found)
        for place, (model, own) in enumerate(points.items()):
            # Beside each other, so that intervals of one task do not hide each other.
            style, shift = look[model], place - (len(points) - 1) / 2
            places = [at * 1.012**shift if log_x else at + 0.006 * shift * span for at, _ in own]
            axes.plot(
                places,
                [one.mean for _, one in own],
                color=style.colour,
                linestyle=style.dash,
                marker=style.mark,
                markersize=5,
                label=style.label,
            )
            for at, (_, one) in zip(places, own, strict=True):
                add_interval(axes, at, one, style)
        if metric is not None:
            add_floor(axes, metric, floor, across=False)
        if log_x:
            axes.set_xscale("log")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        add_legend(axes)
    return to_svg(figure)
