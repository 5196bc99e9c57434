"""Write the page of results and its figures from the committed data.

    python studies/results_page.py docs/results

Reads the studies in FOLDER/data, which `harness export` wrote, and FOLDER/not-run.toml: for each protocol, row → why
models of it have no value.  Writes FOLDER/README.md and the SVG files beside it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from harness.analysis.comparison import Section
from harness.analysis.reproduction import Reproduction
from harness.analysis.stored_study import of_ledger
from harness.api.task import Task
from harness.ledger.exported import read_folder, study_folders
from harness.plugin.registry import Registry
from harness.report.document import Block, Heading, Notes, Paragraph
from harness.report.formatting import mean_interval, number
from harness.report.report import Report, build_report
from harness.report.sections.conclusion import conclusion
from harness.report.writers import markdown
from page_command import command
from published_table import PROTOCOLS, Run, published_tasks, runs_of, table, unlike_the_row
from results_figures import pictures

FOOTER = """The studies, as [data frames and manifests](../python.md#results), are in `docs/results/data`.
The music rows beside the released code: [music.md](music.md). Every row with every model, 20 seconds each:
[smoke.md](smoke.md). Values that were printed before studies were stored: [earlier.md](earlier.md).
"""


def write_page(registry: Registry, folder: Path) -> Path:
    """Write page and figures into a folder; return the path of the page.  Raises LedgerError without a study."""
    stored = [build_report(of_ledger(read_folder(path))) for path in study_folders(folder / "data")]
    reports = [with_present_floors(registry, report) for report in stored]
    not_run = folder / "not-run.toml"
    reasons = tomllib.loads(not_run.read_text()) if not_run.exists() else {}
    runs = [run for report in reports for run in runs_of(registry, report)]
    images = []
    for drawn in pictures(runs):
        (folder / f"{drawn.name}.svg").write_text(drawn.svg)
        images.append(f"![{drawn.caption}]({drawn.name}.svg)\n\n{drawn.caption}\n")
    opening = markdown.render(opening_blocks(registry, reports, runs, reasons))
    details = markdown.render([Heading("All values", 2), table(registry, reports), Notes(tuple(_notes(reports)))])
    path = folder / "README.md"
    path.write_text("\n".join([opening, *images, details, FOOTER]))
    return path


def with_present_floors(registry: Registry, report: Report) -> Report:
    """Return the report with the floors that its tasks state now; a study keeps those of its time."""
    tasks = [registry.make_task(section.ref.name, section.ref.options) for section in report.sections]
    sections = [replace(section, floor=task.floor()) for section, task in zip(report.sections, tasks, strict=True)]
    return replace(report, sections=tuple(sections))


def opening_blocks(
    registry: Registry, reports: Sequence[Report], runs: Sequence[Run], reasons: Mapping[str, Mapping[str, str]]
) -> list[Block]:
    """Return the title, how many cells have a value, and a sentence per row of the paper, trained ones first."""
    tasks = published_tasks(registry)
    rows = {run.row for run in runs}
    trained_first = sorted(tasks, key=lambda task: task.row() not in rows)
    sentences = [sentence(task, [run for run in runs if run.row == task.row()], reasons) for task in trained_first]
    return [
        Heading("Published results and ours", 1),
        Paragraph(
            f"{how_many(registry, tasks, runs)} The page is made from docs/results/data by studies/results_page.py, "
            "without training."
        ),
        Notes(tuple(sentences)),
    ]


def how_many(registry: Registry, tasks: Sequence[Task], runs: Sequence[Run]) -> str:
    """Return for how many of the paper's values there is one of ours with an interval, under each protocol."""
    cells = {(task.row(), model) for task in tasks for model in _published(task)}
    settings = {(row, model) for row, model in cells if registry.models[model].value.published(row) is not None}
    known = {
        protocol: {
            (run.row, reproduction.model)
            for run in runs
            if run.report.protocol == protocol
            for reproduction in run.section.reproductions
            if reproduction.ours.interval is not None
        }
        for protocol in PROTOCOLS
    }
    return (
        f"Of {len(cells)} values in the paper's Table 1, {len(known['fair'] & cells)} have one of ours with an "
        f"interval under protocol fair, and {len(known['paper'] & cells)} under protocol paper; the paper gives "
        f"settings for {len(settings)} of them, none for GRU and RNN."
    )


def _published(task: Task) -> list[str]:
    """Return the models of the paper's own row; values of other models have a source of their own."""
    row = task.published()
    return [] if row is None else [model for model in row.results if model not in row.sources]


def sentence(task: Task, runs: Sequence[Run], reasons: Mapping[str, Mapping[str, str]]) -> str:
    """Return what is known of one row: who leads, whether the paper holds, how sure, and why values are missing."""
    parts = []
    for run in sorted(runs, key=lambda run: run.report.protocol):
        if run.report.protocol == "fair" and any(row.rank is not None for row in run.section.rows):
            parts += [conclusion(run.section).partition(": ")[2], order(run.section)]
        if run.report.protocol == "paper":
            parts += [published_setting(run.section, cell) for cell in run.section.reproductions]
    return f"{task.row()}: {' '.join(filter(None, [*parts, *_not_run(task.row(), reasons)]))}"


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


def order(section: Section) -> str:
    """Return whether the published order of the models holds, with the probability of its weakest step."""
    published = {row.model: row.published for row in section.rows if row.published is not None and row.rank is not None}
    if len(published) < 2:
        return ""
    ordered = sorted(published, key=lambda model: published[model], reverse=section.metric.better == "higher")
    steps = []
    for first, second in pairwise(ordered):
        for pair in section.pairs:
            decision = pair.decision
            if (pair.first, pair.second) == (first, second):
                steps.append((decision.probability, first, second, decision.interval.low, decision.interval.high))
            elif (pair.first, pair.second) == (second, first):
                turned = 1 - decision.interval.high, 1 - decision.interval.low
                steps.append((1 - decision.probability, first, second, *turned))
    if not steps:
        return ""
    chance, first, second, low, high = min(steps)
    ranks = {row.model: row.rank or 0 for row in section.rows}
    holds = all(ranks[a] < ranks[b] for a, b in pairwise(ordered))
    return (
        f"The published order {', '.join(ordered)} {'holds' if holds else 'does not hold'} for the means; its weakest "
        f"step: {first} wins a pair against {second} with probability {chance:.2f} [{low:.2f}, {high:.2f}]."
    )


def _notes(reports: Sequence[Report]) -> Iterator[str]:
    yield (
        "Our values are means over n repetitions with 95 % intervals. Protocol paper: mean over the last three "
        "evaluations, as published. Protocol fair: the weights of the best validation score."
    )
    yield (
        "verdict: comparison with the published value, with the task's margin as tolerance. Parameters after a score: "
        "the size of the published setting, which differs from that of the row."
    )
    yield "code with a + after it: with changes that were not committed."
    for report in reports:
        facts = [report.study_id, f"code {report.git or 'unknown'}", report.machine.get("cpu", "")]
        facts += [f"torch {report.versions['torch']}"] if "torch" in report.versions else []
        yield f"study {report.study}: {', '.join(filter(None, facts))}."


if __name__ == "__main__":
    raise SystemExit(command(__doc__, write_page))
