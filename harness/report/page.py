"""Arrange reports as a document: which blocks are shown, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.comparison import Section
from harness.records import LeftOut
from harness.report.document import Block, Heading, Notes, Paragraph, Picture, Table, quote
from harness.report.formatting import count
from harness.report.report import Report, by_protocol
from harness.report.sections import costs, evidence
from harness.report.sections.across_tasks import across_tasks_blocks
from harness.report.sections.comparison import MAIN_COLUMNS, comparison_blocks, comparison_table
from harness.report.sections.conclusion import conclusion
from harness.report.sections.sizes import size_sentence, sizes_blocks

RACE = (
    "This study is a race: it dropped models in rounds, once they were clearly worse on validation. Repetitions are "
    "unequal by design, so all are shown, and nothing is ranked or decided here. The recommendation is in "
    "recommendation.md, in the study's folder and with its run in MLflow."
)
HOW_TO_READ = (
    "The mean is over repetitions with new seeds of each model's best configuration, with its 95 % interval. Models "
    "are compared with the best one over repetitions that share their seeds.",
    "In the list of runs: a run per cell (harness.kind = cell) with the columns mean, interval_low and interval_high; "
    "below it a run per trial. The whole report is in the artifacts of the study's run, in the folder report.",
    "Curves of all models in one chart: select final trials and compare their metric validation/ with the metric's "
    "name.",
)
Pictures = Mapping[tuple[str, str, str], Sequence[Picture]]
"""(study id, task, part of the section) → pictures; ("", protocol, "overall") → pictures across tasks."""


def summary(report: Report) -> list[Block]:
    """Return the blocks for the terminal: completeness, one table per task and per axis of sizes, what was left out."""
    tables = [block for section in report.sections for block in comparison_blocks(section)]
    tables += [block for sizes in report.sizes for block in sizes_blocks(sizes)]
    return [*_title(report), *tables, *_left_out(report.left_out)]


def description(report: Report) -> list[Block]:
    """Return the blocks of MLflow's description: who leads, the main columns of each table, and how to read them."""
    opening = (RACE,) if report.race else sentences(report)
    tables = [block for section in report.sections for block in (Heading(section.task, 3), _narrow(section))]
    return [Notes(opening), *tables, Notes(HOW_TO_READ)]


def sentences(report: Report) -> tuple[str, ...]:
    """Return who leads on each task, and for each task at several sizes where that changes."""
    return tuple(map(quote, (*map(conclusion, report.sections), *map(size_sentence, report.sizes))))


def _narrow(section: Section) -> Table:
    table = comparison_table(section)
    header = tuple(table.header[place] for place in MAIN_COLUMNS)
    return Table(header, tuple(tuple(row[place] for place in MAIN_COLUMNS) for row in table.rows))


def whole(reports: Sequence[Report], pictures: Pictures | None = None) -> list[Block]:
    """Return all blocks of one or more studies."""
    drawn = pictures or {}
    blocks: list[Block] = []
    for report in reports:
        blocks += _title(report)
        for section in report.sections:
            place = (report.study_id, section.task)
            blocks += [*comparison_blocks(section), *drawn.get((*place, "comparison"), ()), *evidence.pairs(section)]
            blocks += [*evidence.tuning(section, report.sampler), *drawn.get((*place, "tuning"), ())]
            blocks += evidence.reproductions(section, report.protocol)
            blocks += [*costs.trade_offs(section), *costs.audit(section)]
        for sizes in report.sizes:
            blocks += sizes_blocks(sizes, drawn.get((report.study_id, sizes.task, "sizes"), ()))
        blocks += [*_left_out(report.left_out), *costs.provenance(report)]
    for protocol, of_protocol in by_protocol(reports).items():
        blocks += across_tasks_blocks(of_protocol, protocol, drawn.get(("", protocol, "overall"), ()))
    return blocks


def _title(report: Report) -> list[Block]:
    facts = f"protocol {report.protocol}, sampler {quote(report.sampler)}, seed {report.seed}"
    text = f"Study {quote(report.study_id)}: {facts}. {_completeness(report)}"
    if report.others:
        others = ", ".join(quote(other) for other in report.others)
        text += f" Several studies have this name; this is the requested or newest one. Others: {others}."
    opening = (RACE,) if report.race else sentences(report)
    stored = [Notes(tuple(quote(line) for line in report.baseline))] if report.baseline else []
    return [Heading(quote(report.study), 1), *([Notes(opening)] if opening else []), Paragraph(text), *stored]


def _completeness(report: Report) -> str:
    complete = sum(row.complete for row in report.rows)
    cells = f"{complete} of {len(report.rows)} cells are complete"
    if report.marked is None:
        return f"{cells}; the store holds {count(report.ended)} finished trials and was never synced with the ledger."
    return (
        f"{cells}; the store holds {count(report.ended)} finished trials, and the ledger held {count(report.marked)} "
        "at the last sync."
    )


def _left_out(left_out: Sequence[LeftOut]) -> list[Block]:
    if not left_out:
        return []
    return [Heading("Left out", 2), Notes(tuple(f"{left.cell}: {quote(left.reason)}" for left in left_out))]
