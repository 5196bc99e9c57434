"""Draw figures across tasks: mean ranks, scores against a task option."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.analysis.cell_result import CellResult
from harness.analysis.comparison import Section
from harness.records import MetricFacts
from harness.report.document import Picture
from harness.report.figures.lines import LinePlot, draw_lines, points_of
from harness.report.figures.ranks import rank_picture
from harness.report.figures.sizes import across_studies
from harness.report.figures.style import LABEL_LIMIT, ModelStyle, label_of, picture, plain
from harness.report.formatting import short
from harness.report.report import Report, across_tasks


def draw_across_tasks(reports: Sequence[Report], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield the figures across the tasks of studies with one protocol."""
    sections = [section for report in reports for section in report.sections]
    comparison = across_tasks(reports)
    if comparison is not None:
        yield rank_picture(comparison, styles)
    yield from across_studies(reports, styles)
    yield from retention(sections, styles)


def retention(sections: Sequence[Section], styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield test scores against the only option in which three or more tasks of one name and size differ."""
    groups: dict[tuple[str, int | None, tuple[str, ...]], list[Section]] = {}
    for section in sections:
        key = (section.ref.name, section.parameters, tuple(sorted(section.ref.options)))
        groups.setdefault(key, []).append(section)
    for group in groups.values():
        option = varying(group)
        if option is None:
            continue
        yield from _retained(group, option, styles)


def _retained(group: Sequence[Section], option: str, styles: Mapping[str, ModelStyle]) -> Iterator[Picture]:
    """Yield a figure for each metric that the task reports on the test split."""
    task, ranked_metric = group[0].ref.name, group[0].metric.name
    facts = group[0].results[0].facts
    names = dict.fromkeys(name for section in group for result in section.results for name in _test_metrics(result))
    for name in names:
        metric = facts.metric_of(name)
        floors = [(_option(section, option), section.floor) for section in group if name == ranked_metric]
        plot = LinePlot(
            points_of(group, lambda section, _: _option(section, option), metric=name),
            x_label=plain(option),
            y_label=_label(metric, name),
            metric=metric,
            floor=[(x, floor) for x, floor in sorted(floors, key=lambda point: point[0]) if floor is not None],
        )
        spread = "95 % intervals" if name == ranked_metric else "their range"
        caption = f"{task}: test {name} against {option}, means over repetitions with {spread}."
        yield picture(f"retention-{task}-{name}", draw_lines(plot, styles), caption)


def _label(metric: MetricFacts | None, name: str) -> str:
    if metric is None:  # stores written by older versions do not describe further metrics
        return f"test {plain(short(name, LABEL_LIMIT))}"
    return label_of(metric.model_copy(update={"name": name}), "test")


def _option(section: Section, name: str) -> float:
    value = section.ref.options[name]
    assert isinstance(value, int | float)  # `varying` returns numeric options only
    return float(value)


def varying(group: Sequence[Section]) -> str | None:
    """Return the only option in which tasks differ, if it is a number with at least three distinct values."""
    options = [section.ref.options for section in group]
    differing = [name for name in options[0] if len({of_task[name] for of_task in options}) > 1]
    if len(differing) != 1:
        return None
    values = {of_task[differing[0]] for of_task in options}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return differing[0] if numeric and len(values) == len(group) >= 3 else None


def _test_metrics(result: CellResult) -> list[str]:
    results = [entry.result for entry in result.finals if entry.result is not None]
    return [name for trial_result in results for name in trial_result.metrics.get("test", {})]
