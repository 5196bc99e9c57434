"""Print the page of published results of every task, next to ours.

    python studies/published_table.py [STUDY …] > table.md

Rows come from the installed tasks; a row without a study has no measured value.  Each study is read from MLflow
(`MLFLOW_TRACKING_URI`, or mlflow.db in the current folder); its protocol determines the column it fills.  The page of
docs/results is made by results_page.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.comparison import Section
from harness.analysis.comparison_row import Row
from harness.analysis.reproduction import SIZE_TOLERANCE, Reproduction, off_size
from harness.api.task import Task
from harness.errors import HarnessError
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry
from harness.records import CellFacts
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table
from harness.report.formatting import count, mean_interval, number
from harness.report.report import Report, build_report
from harness.report.sections.evidence import margin_of
from harness.report.writers import markdown
from harness.study.cell_planning import metric_facts
from harness.tracking.client import store_uri
from harness.tracking.reader import read_store

PROTOCOLS = ("paper", "fair")


@dataclass(frozen=True)
class Run:
    """One task of one study."""

    report: Report
    section: Section
    row: str
    """Row of the published tables, such as `adding-600`."""


SCORES = (
    "Our values are means over n repetitions with 95 % intervals. Protocol paper: mean over the last three "
    "evaluations, as published. Protocol fair: the weights of the best validation score."
)
VERDICT = (
    "verdict: comparison with the published value, with the task's margin as tolerance. reproduced: the whole interval "
    "is worse by at most the margin; better: better by more than it; not reproduced: worse by more than it; "
    "under-powered: the interval is too long for a verdict."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*")
    studies = parser.parse_args().studies
    registry = load_plugins().registry
    uri = store_uri(Path.cwd())
    try:
        reports = [build_report(read_store(uri, study)) for study in studies]
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    print(markdown.render(page(registry, reports)), end="")
    return 0


def table(registry: Registry, reports: Sequence[Report]) -> Table:
    """Return the table with one row per task and published model."""
    runs = [run for report in reports for run in runs_of(registry, report)]
    lines = [line for task in published_tasks(registry) for line in _lines(task, runs)]
    header = (
        "task", "model", "published", "protocol paper (mean, 95 % CI)", "verdict", "protocol fair (mean, 95 % CI)",
        "verdict",
    )  # fmt: skip
    return Table(header, tuple(lines))


def published_tasks(registry: Registry) -> list[Task]:
    """Return the tasks that have published results, at their default options."""
    return [task for task in registry.default_tasks().values() if task.published() is not None]


def published_values(task: Task) -> dict[str, float]:
    """Return model → value of the paper's own row; values of other models have a source of their own."""
    row = task.published()
    return {} if row is None else {model: value for model, value in row.results.items() if model not in row.sources}


def page(registry: Registry, reports: Sequence[Report]) -> list[Block]:
    """Return the page as blocks, with one row per task and published model."""
    studies = [f"{report.study} ({report.study_id}, code {report.git or 'unknown'})" for report in reports]
    return [
        Heading("Published results and ours", 1),
        Paragraph(
            "studies/published_table.py makes this page from the studies below. A row without a value of ours was not "
            "run at the published size, or its cell is not complete."
        ),
        table(registry, reports),
        Notes(
            (
                SCORES,
                VERDICT,
                f"studies: {', '.join(studies) or 'none'}.",
            )
        ),
    ]


def runs_of(registry: Registry, report: Report) -> list[Run]:
    return [
        Run(report, section, registry.make_task(section.ref.name, section.ref.options).row())
        for section in report.sections
    ]


def _lines(task: Task, runs: Sequence[Run]) -> list[tuple[Datum, ...]]:
    published = task.published()
    assert published is not None  # `page` selects tasks with published results
    metric, row = metric_facts(task.metric), task.row()
    size = f", {count(published.parameters)} parameters" if published.parameters is not None else ""
    name = f"{row} ({metric.name}{f' in {metric.unit}' if metric.unit else ''}, margin {margin_of(metric)}{size})"
    return [
        (
            Datum(name),
            Datum(model),
            Datum(number(value)),
            *(cell for protocol in PROTOCOLS for cell in _ours(row, model, protocol, runs)),
        )
        for model, value in published.results.items()
    ]


def _ours(row: str, model: str, protocol: str, runs: Sequence[Run]) -> tuple[Datum, Datum]:
    """Return score and verdict from the last given study in which the cell is complete."""
    for run in reversed(runs):
        if run.row != row or run.report.protocol != protocol:
            continue
        for cell, result in zip(run.section.rows, run.section.results, strict=True):
            if result.facts.model == model and _counts(cell, result.facts):
                return _score(cell, run.section, protocol), _verdict(cell, run.section.reproductions)
    return Datum(NOTHING), Datum(NOTHING)


def _counts(cell: Row, facts: CellFacts) -> bool:
    return cell.complete and cell.setting == "searched" and not off_size(facts)


def _score(cell: Row, section: Section, protocol: str) -> Datum:
    ours = cell.last3 if protocol == "paper" else cell.test
    if ours is None:
        return Datum(NOTHING)
    score = f"{mean_interval(ours.mean, ours.interval)}, n = {ours.n}"
    return Datum(", ".join(filter(None, (score, unlike_the_row(cell, section)))), ours.mean)


def unlike_the_row(cell: Row, section: Section) -> str:
    """Return the size of a published setting whose size is not that of its row, else ''.

    Table 3 of the paper has LSTMs of other sizes than its Table 1 states.
    """
    result = next(result for result in section.results if result.facts.cell.model == cell.model)
    deviation = result.deviation_percent
    if result.facts.parameters is not None or deviation is None or abs(deviation) <= 100 * SIZE_TOLERANCE:
        return ""
    return f"{count(cell.parameters or 0)} parameters"


def _verdict(cell: Row, reproductions: Sequence[Reproduction]) -> Datum:
    verdicts = (reproduction.verdict for reproduction in reproductions if reproduction.model == cell.model)
    return Datum(next(verdicts, NOTHING))


if __name__ == "__main__":
    sys.exit(main())
