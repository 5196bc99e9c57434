"""Write the page of results and its figures from the committed data.

    python studies/results_page.py docs/results

Reads the studies in FOLDER/data, which `harness export` wrote, those in FOLDER/search and FOLDER/reduced that are about
a row, and FOLDER/row-notes.toml: how rows differ from the paper, and why values are missing.  Writes FOLDER/README.md
and the SVG files beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from compared_rows import Compared, compared_rows, order_blocks
from harness.analysis.sign_test import fewest_pairs
from harness.api.task import Task
from harness.plugin.registry import Registry
from harness.report.document import Block, Heading, Notes, Paragraph
from harness.report.formatting import listed
from harness.report.report import Report
from harness.report.writers import markdown
from page_command import command
from published_table import PROTOCOLS, SCORES, VERDICT, Run, published_tasks, published_values, runs_of, table
from results_figures import pictures
from row_notes import RowNotes, read_row_notes
from row_sentences import not_run, published_setting
from stored_reports import provenance, read_reports

INTRODUCTION = """
Bai, Kolter and Koltun ([2018](https://arxiv.org/abs/1803.01271), Table 1) compare a temporal convolutional network
(TCN) with an LSTM, a GRU and a plain RNN. [Protocol](../concepts.md#protocols) `fair` asks whether their order holds if
every model has the same number of parameters and the same search; protocol `paper` trains the published settings.
[Read the results](../read-the-results.md) explains the verdicts. This page is made from docs/results by
`studies/results_page.py`, without training.
"""
OTHERS = ("search", "reduced")
"""Folders of further studies, of which some are about a row."""
ANOTHER_SIZE = (
    "Shorter sequences, less data, other sizes, and fewer updates: what two cores train in up to about two hours. "
    "These studies do not test what the paper says of its rows; they say whether the order is the same."
)
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
    others = [report for name in OTHERS if (folder / name).exists() for report in read_reports(registry, folder / name)]
    runs = [run for report in reports for run in runs_of(registry, report)]
    tasks = {task.row(): task for task in published_tasks(registry)}
    notes = read_row_notes(folder / "row-notes.toml", tasks)
    compared = compared_rows(tasks, [*reports, *others])
    images = []
    for drawn in pictures(runs):
        (folder / f"{drawn.name}.svg").write_text(drawn.svg)
        images.append(f"![{drawn.caption}]({drawn.name}.svg)\n\n{drawn.caption}\n")
    details = [
        *setting_blocks(tasks, runs, notes),
        Heading("All values", 2),
        table(registry, reports),
        Heading("Studies at another size", 2),
        Paragraph(ANOTHER_SIZE),
        *order_blocks([one for one in compared if one.differences], runs),
        Heading("Notes", 2),
        Notes(tuple(_notes([*reports, *others]))),
    ]
    parts = [
        markdown.render([Heading("Published results and ours", 1)]) + INTRODUCTION,
        markdown.render([Paragraph(how_many(registry, runs)), *answer_blocks(tasks, compared, runs)]),
        *images,
        markdown.render(details),
        FOOTER,
    ]
    path = folder / "README.md"
    path.write_text("\n".join(parts))
    return path


def answer_blocks(tasks: Mapping[str, Task], compared: Sequence[Compared], runs: Sequence[Run]) -> list[Block]:
    """Return whether the published order holds at the published size, and for which rows this is not known."""
    at_size = [one for one in compared if not one.differences]
    answered = {one.task.row() for one in at_size}
    elsewhere = dict.fromkeys(one.task.row() for one in compared if one.task.row() not in answered)
    rest = [row for row in tasks if row not in answered and row not in elsewhere]
    said = {"Compared at another size alone, below": list(elsewhere), "Not compared": rest}
    untested = " ".join(f"{what}: {listed(rows)}." for what, rows in said.items() if rows)
    return [*order_blocks(at_size, runs), Paragraph(untested)]


def setting_blocks(tasks: Mapping[str, Task], runs: Sequence[Run], notes: RowNotes) -> list[Block]:
    """Return how published settings score, and why values of a row are missing."""
    said = {
        row: [
            *([f"{notes.differs[row]}."] if row in notes.differs else []),
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
    decided = fewest_pairs(4, equivalence=True)
    yield (
        "Order in the paper: pairs of models whose published values differ by more than the task's margin. A pair is "
        "decided as in the report, with Holm's correction; a model of four that wins every pair is decided after "
        f"{decided} repetitions, so with fewer the order cannot be shown to hold. The order holds if all pairs are "
        "decided as published, and is contradicted if one is decided the other way or as equivalent. All pairs "
        "hold: the share of repetitions in which every pair comes in the published order and its better model is "
        "better than the floor by more than the margin, with Clopper and Pearson's interval."
    )
    yield (
        "Verdicts and shares are about the seeds of the final runs, with the settings that one search found; another "
        "search may find others."
    )
    yield (
        "Published: Table 1 of the paper, for gated-tcn its Table 5. It takes the LSTM of wikitext-103 and lambada "
        "from Grave, Joulin and Usunier (2017). Parameters of a row: counted of the published TCN."
    )
    yield "code with a + after it: with changes that were not committed."
    for report in reports:
        yield f"{provenance(report)}."


if __name__ == "__main__":
    raise SystemExit(command(__doc__, write_page))
