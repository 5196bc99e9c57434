"""The published results of every task, with ours beside them: a page made from stores.

    python studies/published_table.py [STUDY …] > docs/results/README.md

Rows are those of the installed tasks, so a row that no study has run yet stands there without a value of ours.  Each
study is read from MLflow (`MLFLOW_TRACKING_URI`, or mlflow.db here); its protocol says which column it fills.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.comparison import Section
from harness.analysis.comparison_row import Row
from harness.analysis.reproduction import Reproduction, off_size
from harness.api.task import Task
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry
from harness.records import CellFacts
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table
from harness.report.formatting import count, mean_interval, number
from harness.report.report import Report, build_report
from harness.report.writers import markdown
from harness.tracking.client import store_uri
from harness.tracking.reader import read_store

PROTOCOLS = ("paper", "fair")


@dataclass(frozen=True)
class Run:
    """One task of one study."""

    report: Report
    section: Section
    row: str
    """Of the published tables: `adding-600`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*")
    studies = parser.parse_args().studies
    registry = load_plugins().registry
    uri = store_uri(Path.cwd())
    reports = [build_report(read_store(uri, study)) for study in studies]
    print(markdown.render(page(registry, reports)), end="")


def page(registry: Registry, reports: Sequence[Report]) -> list[Block]:
    runs = [run for report in reports for run in _runs(registry, report)]
    tasks = [task for task in registry.default_tasks().values() if task.published() is not None]
    lines = [line for task in tasks for line in _lines(task, runs)]
    header = ("row", "model", "published", "ours, paper", "verdict", "ours, fair", "verdict")
    commands = ", ".join(f"{one.study} ({one.study_id}, code {one.git or 'unknown'})" for one in reports) or "none"
    return [
        Heading("Published results, and ours beside them", 1),
        Paragraph(
            "Made by studies/published_table.py from the studies that it was given; a row without a value of ours has "
            "not been run at the published size, or its cell is not complete."
        ),
        Table(header, tuple(lines)),
        Notes(
            (
                "ours: mean over repetitions and its 95 % interval, of n repetitions; paper: mean over the last three "
                "evaluations, as published; fair: the weights of the best validation.",
                "verdict: against the published value, within the task's margin.",
                f"studies: {commands}.",
            )
        ),
    ]


def _runs(registry: Registry, report: Report) -> list[Run]:
    return [
        Run(report, section, registry.make_task(section.ref.name, section.ref.options).row())
        for section in report.sections
    ]


def _lines(task: Task, runs: Sequence[Run]) -> list[tuple[Datum, ...]]:
    published = task.published()
    assert published is not None  # its caller has asked
    metric, row = task.metric, task.row()
    size = f", {count(published.parameters)} parameters" if published.parameters is not None else ""
    name = f"{row} ({metric.name}{f' in {metric.unit}' if metric.unit else ''}{size})"
    return [
        (
            Datum(name),
            Datum(model),
            Datum(number(value)),
            *(one for kind in PROTOCOLS for one in _ours(row, model, kind, runs)),
        )
        for model, value in published.results.items()
    ]


def _ours(row: str, model: str, protocol: str, runs: Sequence[Run]) -> tuple[Datum, Datum]:
    """Of the last study given that has the cell complete."""
    for run in reversed(runs):
        if run.row != row or run.report.protocol != protocol:
            continue
        for cell, standing in zip(run.section.rows, run.section.standings, strict=True):
            if standing.facts.model == model and _counts(cell, standing.facts):
                return _score(cell, protocol), _verdict(cell, run.section.reproductions)
    return Datum(NOTHING), Datum(NOTHING)


def _counts(cell: Row, facts: CellFacts) -> bool:
    return cell.complete and cell.setting == "searched" and not off_size(facts)


def _score(cell: Row, protocol: str) -> Datum:
    ours = cell.last3 if protocol == "paper" else cell.test
    if ours is None:
        return Datum(NOTHING)
    return Datum(f"{mean_interval(ours.mean, ours.interval)}, n = {ours.n}", ours.mean)


def _verdict(cell: Row, found: Sequence[Reproduction]) -> Datum:
    return Datum(next((one.verdict for one in found if one.model == cell.model), NOTHING))


if __name__ == "__main__":
    main()
