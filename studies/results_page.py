"""Write the page of results and its figures from the committed data.

    python studies/results_page.py docs/results

Reads the studies in FOLDER/data, which `harness export` wrote, and FOLDER/rows.toml: why values are missing, and which
other stored studies are about a row.  Writes FOLDER/README.md and the SVG files beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.api.task import Task
from harness.plugin.registry import Registry
from harness.report.document import Block, Datum, Heading, Notes, Paragraph, Table
from harness.report.formatting import listed
from harness.report.report import Report
from harness.report.writers import markdown
from page_command import command
from published_table import PROTOCOLS, SCORES, VERDICT, Run, published_tasks, published_values, runs_of, table
from results_figures import pictures
from row_notes import RowNotes, read_row_notes
from row_sentences import (
    ORDER_HEADER,
    at_equal_size,
    further_section,
    in_words,
    not_run,
    order_line,
    published_setting,
)
from stored_reports import provenance, read_report, read_reports

INTRODUCTION = """
Bai, Kolter and Koltun ([2018](https://arxiv.org/abs/1803.01271), Table 1) compare a temporal convolutional network
(TCN) with an LSTM, a GRU and a plain RNN. [Protocol](../concepts.md#protocols) `fair` asks whether their order holds if
every model has the same number of parameters and the same search; protocol `paper` trains the published settings.
[Read the results](../read-the-results.md) explains the verdicts. This page is made from docs/results by
`studies/results_page.py`, without training.
"""
FOOTER = """The studies, as [data frames and manifests](../python.md#results), are in `docs/results/data`,
[docs/results/search](search.md) and `docs/results/reduced`.
The music rows beside the released code: [music.md](music.md). Every row with every model, 20 seconds each:
[smoke.md](smoke.md). Values that were printed before studies were stored: [earlier.md](earlier.md).
"""


def write_page(registry: Registry, folder: Path) -> Path:
    """Write page and figures into a folder; return the path of the page.

    Raises LedgerError without a study, and StudyError if the notes are wrong.
    """
    reports = read_reports(registry, folder / "data")
    runs = [run for report in reports for run in runs_of(registry, report)]
    tasks = {task.row(): task for task in published_tasks(registry)}
    notes = read_row_notes(folder / "rows.toml", tasks)
    further = {
        (row, entry.study, entry.task): read_report(registry, folder / entry.study)
        for row, entries in notes.further.items()
        for entry in entries
    }
    images = []
    for drawn in pictures(runs):
        (folder / f"{drawn.name}.svg").write_text(drawn.svg)
        images.append(f"![{drawn.caption}]({drawn.name}.svg)\n\n{drawn.caption}\n")
    studies = [*reports, *{report.study_id: report for report in further.values()}.values()]
    values: list[Block] = [Heading("All values", 2), table(registry, reports), Notes(tuple(_notes(studies)))]
    parts = [
        markdown.render([Heading("Published results and ours", 1)]) + INTRODUCTION,
        markdown.render([Paragraph(how_many(registry, runs)), *order_blocks(tasks, runs, further)]),
        *images,
        markdown.render([*setting_blocks(tasks, runs, notes), *values]),
        FOOTER,
    ]
    path = folder / "README.md"
    path.write_text("\n".join(parts))
    return path


def order_blocks(
    tasks: Mapping[str, Task], runs: Sequence[Run], further: Mapping[tuple[str, str, str], Report]
) -> list[Block]:
    """Return for each row whether the published order holds, in a table and in words."""
    lines: list[tuple[Datum, ...]] = []
    words: list[str] = []
    untested: list[str] = []
    for row, task in tasks.items():
        own = [run for run in runs if run.row == row]
        others = [further_section(report, name) for (about, _, name), report in further.items() if about == row]
        compared = [*at_equal_size(own), *others]
        lines += [order_line(task, study, section) for study, section in compared]
        words += [in_words(task, study, section, own) for study, section in compared]
        untested += [] if compared else [row]
    words += [f"Not tested: {listed(untested)}; see below."] if untested else []
    return [Table(ORDER_HEADER, tuple(lines)), Notes(tuple(words))]


def setting_blocks(tasks: Mapping[str, Task], runs: Sequence[Run], notes: RowNotes) -> list[Block]:
    """Return how published settings score, and why values of a row are missing."""
    said = {
        row: [
            *(
                published_setting(run.section, cell)
                for run in runs
                if run.row == row and run.report.protocol == "paper"
                for cell in run.section.reproductions
            ),
            *not_run(row, notes),
        ]
        for row in tasks
    }
    return [
        Heading("Published settings, and what is not run", 2),
        Notes(tuple(f"{row}: {' '.join(parts)}" for row, parts in said.items() if parts)),
    ]


def how_many(registry: Registry, runs: Sequence[Run]) -> str:
    """Return for how many of the paper's values there is one of ours with an interval, under each protocol."""
    tasks = published_tasks(registry)
    cells = {(task.row(), model) for task in tasks for model in published_values(task)}
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


def _notes(reports: Sequence[Report]) -> Iterator[str]:
    yield SCORES
    yield f"{VERDICT} Parameters after a score: the size of the published setting, which differs from that of the row."
    yield (
        "Published order: pairs of models whose published values differ by more than the task's margin. A pair is "
        "decided as in the report, with Holm's correction. The probability that the whole order holds has Clopper and "
        "Pearson's interval. Both are about the seeds of the final trainings of the settings that one search found; "
        "another search may find others."
    )
    yield "code with a + after it: with changes that were not committed."
    for report in reports:
        yield f"{provenance(report)}."


if __name__ == "__main__":
    raise SystemExit(command(__doc__, write_page))
