"""Write the page of results and its figures from the committed data.

    python studies/results_page.py docs/results

Reads the studies in FOLDER/data, which `harness export` wrote, and FOLDER/not-run.toml: for each protocol, row → why
models of it have no value, and row → the stored study that trained it at a reduced size.  Writes FOLDER/README.md
and the SVG files beside it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.analysis.stored_study import of_ledger
from harness.api.task import Task
from harness.ledger.exported import read_folder, study_folders
from harness.plugin.registry import Registry
from harness.report.document import Block, Heading, Notes, Paragraph
from harness.report.report import Report, build_report
from harness.report.writers import markdown
from page_command import command
from published_table import PROTOCOLS, Run, published_tasks, runs_of, table
from results_figures import pictures
from row_sentences import at_reduced_size, sentences

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
    reduced = reduced_rows(registry, folder, reasons.get("reduced", {}))
    known = {
        task.row(): sentences(task, [run for run in runs if run.row == task.row()], reasons, reduced)
        for task in published_tasks(registry)
    }
    opening = markdown.render(opening_blocks(how_many(registry, runs), known))
    details = markdown.render([*detail_blocks(known), table(registry, reports), Notes(tuple(_notes(reports)))])
    path = folder / "README.md"
    path.write_text("\n".join([opening, *images, details, FOOTER]))
    return path


def with_present_floors(registry: Registry, report: Report) -> Report:
    """Return the report with the floors that its tasks state now; a study keeps those of its time."""
    tasks = [registry.make_task(section.ref.name, section.ref.options) for section in report.sections]
    sections = [replace(section, floor=task.floor()) for section, task in zip(report.sections, tasks, strict=True)]
    return replace(report, sections=tuple(sections))


def reduced_rows(registry: Registry, folder: Path, stored: Mapping[str, str]) -> dict[str, str]:
    """Return row → what is known of it at a reduced size.

    `stored`: row → path of a study below the folder, a space, and the study's task.
    """
    found = {}
    for task in published_tasks(registry):
        if task.row() in stored:
            path, name = stored[task.row()].split()
            report = with_present_floors(registry, build_report(of_ledger(read_folder(folder / path))))
            found[task.row()] = at_reduced_size(task, report, name)
    return found


def opening_blocks(how_many: str, known: Mapping[str, Sequence[str]]) -> list[Block]:
    """Return the title, how many cells have a value, and the most telling sentence of each row, trained rows first."""
    trained_first = sorted(known.items(), key=lambda item: item[1][0].startswith("Not run"))
    return [
        Heading("Published results and ours", 1),
        Paragraph(f"{how_many} The page is made from docs/results by studies/results_page.py, without training."),
        Notes(tuple(f"{row}: {parts[0]}" for row, parts in trained_first)),
    ]


def detail_blocks(known: Mapping[str, Sequence[str]]) -> list[Block]:
    """Return the other sentences of each row, and the heading of the table."""
    further = {row: parts[1:] for row, parts in known.items() if parts[1:]}
    return [
        Heading("Published settings, and what is not run", 2),
        Notes(tuple(f"{row}: {' '.join(parts)}" for row, parts in further.items())),
        Heading("All values", 2),
    ]


def how_many(registry: Registry, runs: Sequence[Run]) -> str:
    """Return for how many of the paper's values there is one of ours with an interval, under each protocol."""
    tasks = published_tasks(registry)
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


def _notes(reports: Sequence[Report]) -> Iterator[str]:
    yield (
        "Our values are means over n repetitions with 95 % intervals. Protocol paper: mean over the last three "
        "evaluations, as published. Protocol fair: the weights of the best validation score."
    )
    yield (
        "verdict: comparison with the published value, with the task's margin as tolerance. Parameters after a score: "
        "the size of the published setting, which differs from that of the row."
    )
    yield "In brackets: models whose published values are within the task's margin; the paper does not order them."
    yield "code with a + after it: with changes that were not committed."
    for report in reports:
        facts = [report.study_id, f"code {report.git or 'unknown'}", report.machine.get("cpu", "")]
        facts += [f"torch {report.versions['torch']}"] if "torch" in report.versions else []
        yield f"study {report.study}: {', '.join(filter(None, facts))}."


if __name__ == "__main__":
    raise SystemExit(command(__doc__, write_page))
