"""What the page of results says of one row of the published tables, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.analysis.comparison import Section
from harness.analysis.comparison_row import Row
from harness.analysis.reproduction import Reproduction, off_size
from harness.api.task import Task
from harness.errors import StudyError, shown
from harness.report.document import NOTHING, Datum
from harness.report.formatting import count, listed, mean_interval, number
from harness.report.report import Report
from harness.report.sections.conclusion import conclusion
from published_order import order_of
from published_table import Run, published_values, unlike_the_row
from row_notes import RowNotes


def at_equal_size(runs: Sequence[Run]) -> list[tuple[str, Section]]:
    """Return the studies of a row that compare models at equal size and equal tuning, at the published size."""
    return [
        (run.report.study, run.section)
        for run in runs
        if run.report.protocol == "fair"
        and any(row.rank is not None for row in run.section.rows)
        and not all(off_size(result.facts) for result in run.section.results)
    ]


def further_section(report: Report, task: str) -> tuple[str, Section]:
    """Return another study about a row.  Raises StudyError if it has no such task, or is not one at equal sizes."""
    section = next((section for section in report.sections if section.task == task), None)
    if section is None or report.protocol != "fair" or section.parameters is None:
        raise StudyError(f"study {report.study} has no task {task!r} with a parameter budget")
    return report.study, section


ORDER_HEADER = (
    "row", "study", "published order", "here", "pairs decided as published", "whole order holds (95 % CI)",
)  # fmt: skip


def order_line(task: Task, study: str, section: Section) -> tuple[Datum, ...]:
    """Return whether the published order holds in one study."""
    found = order_of(section, published_values(task))
    if found is None:
        return tuple(map(Datum, (task.row(), study, NOTHING, "nothing learned", NOTHING, NOTHING)))
    unlike = f": {', '.join(found.unlike)}" if found.unlike else ""
    without = f" (without {listed(found.missing)})" if found.missing else ""
    interval = found.whole.interval
    return (
        Datum(task.row()),
        Datum(study),
        Datum(f"{', '.join(found.models)}{without}"),
        Datum(f"{found.judgement}{unlike}", strong=found.judgement != "undecided"),
        Datum(f"{found.as_published} of {len(found.apart)}"),
        Datum(
            f"{found.whole.share:.2f} [{interval.low:.2f}, {interval.high:.2f}], "
            f"{found.whole.happened} of {found.whole.n} repetitions"
        ),
    )


def in_words(task: Task, study: str, section: Section, runs: Sequence[Run]) -> str:
    """Return in what a study differs from the row, which model leads, which learned nothing, and what was missed."""
    missed = _missed(section, runs) if (study, section) in at_equal_size(runs) else ""
    parts = [conclusion(section).partition(": ")[2], _at_the_floor(section), missed]
    return f"{study} ({', '.join(conditions(task, section))}): {' '.join(filter(None, parts))}"


def published_setting(section: Section, cell: Reproduction) -> str:
    """Return how a published setting scores, how large it is if not as the row says, and what of it is assumed."""
    row = _row(section, cell.model)
    size = unlike_the_row(row, section)
    assumed = f"; the paper does not state its {', '.join(row.assumed).replace('_', ' ')}" if row.assumed else ""
    return (
        f"At the published setting {cell.model}{f' ({size})' if size else ''} scores "
        f"{mean_interval(cell.ours.mean, cell.ours.interval)}, published {number(cell.published)}: "
        f"{cell.verdict}{assumed}."
    )


def not_run(row: str, notes: RowNotes) -> Iterator[str]:
    """Yield why models of a row have no value, once if the reason is the same under both protocols."""
    paper, fair = notes.paper.get(row, ""), notes.fair.get(row, "")
    if paper == fair:
        yield from [f"Not run: {paper}."] if paper else []
        return
    yield from [f"Not run under protocol paper: {paper}."] if paper else []
    yield from [f"Not run under protocol fair: {fair}."] if fair else []


def _at_the_floor(section: Section) -> str:
    """Return which ranked models have repetitions that are no better than the floor, unless none has learned."""
    shares: dict[str, list[str]] = {}
    for row in section.rows:
        if row.rank is not None and row.success is not None and row.success.happened < row.success.n:
            happened = row.success.happened
            shares.setdefault(f"in {happened} of {row.success.n} repetitions" if happened else "in none", []).append(
                row.model
            )
    if not shares or section.nothing_learned:
        return ""
    return f"Better than the floor: {', '.join(f'{listed(models)} {share}' for share, models in shares.items())}."


def _missed(section: Section, runs: Sequence[Run]) -> str:
    """Return that a published setting of the same size is better than the one that the search found, if so."""
    for run in runs:
        for cell in run.section.reproductions if run.report.protocol == "paper" else ():
            published, searched = _row(run.section, cell.model), _row(section, cell.model)
            intervals = [row.test.interval for row in (published, searched) if row.test is not None]
            if len(intervals) < 2 or None in intervals or unlike_the_row(published, run.section):
                continue
            first, second = (interval for interval in intervals if interval is not None)
            lower = first.high < second.low
            if lower if section.metric.better == "lower" else second.high < first.low:
                assert published.test is not None  # it has an interval
                scores = mean_interval(published.test.mean, first)
                return f"The search missed the published setting of {cell.model}, which scores {scores}."
    return ""


def conditions(task: Task, section: Section) -> Iterator[str]:
    """Yield in what a study differs from the row, and how much each model was searched and trained."""
    for name, value in section.ref.options.items():
        default = getattr(task, name, None)
        yield f"{name} {_option(value)}" + (f" instead of {_option(default)}" if default is not None else "")
    size = f"{count(section.parameters)} parameters"
    published = section.task_parameters or _published_size(task)
    yield size if published in (None, section.parameters) else f"{size} instead of {count(published)}"
    ended = [entry.result.updates for result in section.results for entry in result.finals if entry.result is not None]
    trials = max(len(result.search) for result in section.results)
    yield f"{count(trials)} search trials and {count(max(ended, default=0))} updates a model"


def _option(value: object) -> str:
    return count(value) if type(value) is int else shown(value)


def _published_size(task: Task) -> int | None:
    row = task.published()
    return None if row is None else row.parameters


def _row(section: Section, model: str) -> Row:
    return next(row for row in section.rows if row.model == model)
