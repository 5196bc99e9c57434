"""What the page of results says of one row of the published tables, in sentences.

A row whose fair study is too long for this project's machines may have one at a reduced size instead: not-run.toml
names it, and `at_reduced_size` says what it found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.analysis.comparison import Section
from harness.analysis.reproduction import Reproduction
from harness.api.task import Task
from harness.report.formatting import count, mean_interval, number
from harness.report.report import Report
from harness.report.sections.conclusion import conclusion
from published_order import order
from published_table import PROTOCOLS, Run, unlike_the_row


def sentences(
    task: Task, runs: Sequence[Run], reasons: Mapping[str, Mapping[str, str]], reduced: Mapping[str, str]
) -> list[str]:
    """Return what is known of one row, the most telling first: who leads, whether the paper holds and how sure.

    Then how its published settings score, and why values are missing.

    reduced: row → what is known at a reduced size.
    """
    parts = [reduced.get(task.row(), "")]
    for run in sorted(runs, key=lambda run: run.report.protocol):
        if run.report.protocol == "fair" and any(row.rank is not None for row in run.section.rows):
            row = task.published()
            parts.append(found(run.section, row.results if row else {}))
        elif run.report.protocol == "paper":
            parts += [published_setting(run.section, cell) for cell in run.section.reproductions]
    return [part for part in (*parts, *_not_run(task.row(), reasons)) if part]


def found(section: Section, published: Mapping[str, float]) -> str:
    """Return which model leads, and whether the order of the published values holds."""
    return f"{conclusion(section).partition(': ')[2]} {order(section, published)}".rstrip()


def at_reduced_size(task: Task, report: Report, name: str) -> str:
    """Return what a study says of a row at a reduced size; `name` is the study's task.

    Raises KeyError if the study has no such task.
    """
    section = next((section for section in report.sections if section.task == name), None)
    if section is None:
        raise KeyError(f"study {report.study} has no task {name}")
    row = task.published()
    updates = max(entry.result.updates for result in section.results for entry in result.finals if entry.result)
    return (
        f"At a reduced size (study {report.study}, {name}: {count(section.parameters or 0)} parameters, "
        f"{count(updates)} updates): {found(section, row.results if row else {})}"
    )


def published_setting(section: Section, cell: Reproduction) -> str:
    """Return how a published setting scores, how large it is if not as the row says, and what of it is assumed."""
    row = next(row for row in section.rows if row.model == cell.model)
    size = unlike_the_row(row, section)
    assumed = f"; the paper does not state its {', '.join(row.assumed).replace('_', ' ')}" if row.assumed else ""
    return (
        f"At the published setting {cell.model}{f' ({size})' if size else ''} scores "
        f"{mean_interval(cell.ours.mean, cell.ours.interval)}, published {number(cell.published)}: "
        f"{cell.verdict}{assumed}."
    )


def _not_run(row: str, reasons: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield why models of a row have no value, once if the reason is the same under both protocols."""
    paper, fair = (reasons.get(protocol, {}).get(row, "") for protocol in PROTOCOLS)
    if paper == fair:
        yield f"Not run: {paper}." if paper else ""
        return
    yield f"Not run under protocol paper: {paper}." if paper else ""
    yield f"Not run under protocol fair: {fair}." if fair else ""
