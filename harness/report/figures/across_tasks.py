"""Draw figures across tasks: mean ranks, scores against a task option."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.analysis.cell_result import CellResult
from harness.analysis.comparison import Section
from harness.records import MetricFacts, ParamValue
from harness.report.document import Picture
from harness.report.figures.lines import LinePlot, draw_lines, points_of
from harness.report.figures.ranks import rank_picture
from harness.report.figures.sizes import across_studies
from harness.report.figures.style import LABEL_LIMIT, ModelStyle, label_of, picture, plain
from harness.report.formatting import listed, short
from harness.report.report import Report, across_tasks

FEWEST_TASKS = 3
"""Fewest tasks whose scores are drawn against an option."""


def draw_across_tasks(reports: Sequence[Report], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield the figures across the tasks of studies with one protocol."""
    sections = [section for report in reports for section in report.sections]
    comparison = across_tasks(reports)
    if comparison is not None:
        yield rank_picture(comparison, styles)
    yield from across_studies(reports, styles)
    yield from retention(sections, styles)


def retention(sections: Sequence[Section], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield test scores against a numeric option, of three or more tasks of one name and size with equal other options.

    Options that are left out of `Section.ref` have their defaults, so two tasks are equal in them.
    """
    names = dict.fromkeys((section.ref.name, option) for section in sections for option in section.ref.options)
    for task, option in names:
        groups: dict[object, list[Section]] = {}
        for section in sections:
            if section.ref.name == task:
                key = (section.parameters, frozenset(_others(section, option).items()))
                groups.setdefault(key, []).append(section)
        for group in groups.values():
            of_value: dict[float | None, list[Section]] = {}
            for section in group:
                of_value.setdefault(_value(section, option), []).append(section)
            unknown = of_value.pop(None, [])
            drawn = [alike[0] for alike in of_value.values() if len(alike) == 1]
            equal = [section for alike in of_value.values() if len(alike) > 1 for section in alike]
            if len(drawn) >= FEWEST_TASKS:
                yield from _retained(drawn, option, styles, _left_out(option, unknown, equal))


def _others(section: Section, option: str) -> dict[str, ParamValue]:
    return {name: value for name, value in section.ref.options.items() if name != option}


def _value(section: Section, option: str) -> float | None:
    """Return the number that an option of a task has; None if it is no number, or a default that is not stored."""
    facts = section.results[0].facts
    value = section.ref.options.get(option, facts.default_options.get(option))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _retained(
    group: Sequence[Section], option: str, styles: Mapping[str, ModelStyle], left_out: str
) -> Iterator[Picture]:
    """Yield a figure for each metric that the task reports on the test split, if any of its scores is finite.

    left_out: a further sentence of the caption.
    """
    task, ranked_metric = group[0].ref.name, group[0].metric.name
    facts = group[0].results[0].facts
    names = dict.fromkeys(name for section in group for result in section.results for name in _test_metrics(result))
    for name in names:
        points = points_of(group, lambda section, _: _value(section, option), metric=name)
        if not points:
            continue
        metric = facts.metric_of(name)
        plot = LinePlot(
            points,
            x_label=plain(option),
            y_label=_label(metric, name),
            metric=metric,
            floor=_floors(group, option) if name == ranked_metric else [],
        )
        spread = "95 % intervals" if name == ranked_metric else "their range"
        caption = f"{_described(group[0], option)}: test {name} against {option}, means over repetitions with {spread}."
        yield picture(f"retention-{task}-{name}", draw_lines(plot, styles), caption + left_out)


def _floors(group: Sequence[Section], option: str) -> list[tuple[float, float]]:
    """Return (value of the option, floor) of each task that has both, in ascending order."""
    pairs = ((_value(section, option), section.floor) for section in group)
    return sorted((value, floor) for value, floor in pairs if value is not None and floor is not None)


def _described(section: Section, option: str) -> str:
    """Return the name of a task, with the other options that differ from their defaults."""
    others = [f"{name} = {value}" for name, value in _others(section, option).items()]
    return f"{section.ref.name} with {listed(others)}" if others else section.ref.name


def _left_out(option: str, unknown: Sequence[Section], equal: Sequence[Section]) -> str:
    """Name the tasks that a figure lacks, as further sentences; '' if there are none."""
    reasons = {f"the study stores no number as {option}": unknown, f"their {option} is the same": equal}
    return "".join(
        f" Left out, since {why}: {listed([section.task for section in lacking])}."
        for why, lacking in reasons.items()
        if lacking
    )


def _label(metric: MetricFacts | None, name: str) -> str:
    if metric is None:  # stores written by older versions do not describe further metrics
        return f"test {plain(short(name, LABEL_LIMIT))}"
    return label_of(metric.model_copy(update={"name": name}), "test")


def _test_metrics(result: CellResult) -> list[str]:
    results = [entry.result for entry in result.finals if entry.result is not None]
    return [name for trial_result in results for name in trial_result.metrics.get("test", {})]
