"""What the page of results says of the published settings of a row, and of what is not run, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.comparison import Section
from harness.analysis.reproduction import Reproduction
from harness.report.formatting import mean_interval, number
from published_table import unlike_the_row
from row_notes import RowNotes

LISTED_BELOW = 5
"""With fewer repetitions, the score of each is listed."""


def published_setting(section: Section, cell: Reproduction) -> str:
    """Return how a published setting scores, how large it is if not as the row says, and what of it is assumed."""
    row = next(row for row in section.rows if row.model == cell.model)
    size = unlike_the_row(row, section)
    floor = (
        "; none is better than the floor by more than the margin" if row.success and not row.success.happened else ""
    )
    assumed = f"; the paper does not state its {', '.join(row.assumed).replace('_', ' ')}" if row.assumed else ""
    return (
        f"At the published setting {cell.model}{f' ({size})' if size else ''} scores "
        f"{mean_interval(cell.ours.mean, cell.ours.interval)}{_each(section, cell)}, published "
        f"{number(cell.published)}: {cell.verdict}{floor}{assumed}."
    )


def _each(section: Section, cell: Reproduction) -> str:
    """Return the score of each repetition, if there are few; else ''."""
    if cell.ours.n >= LISTED_BELOW:
        return ""
    result = next(result for result in section.results if result.facts.cell.model == cell.model)
    return f" ({', '.join(map(number, result.scores(cell.weights)))})"


def not_run(row: str, notes: RowNotes) -> Iterator[str]:
    """Yield why models of a row have no value, once if the reason is the same under both protocols."""
    paper, fair = notes.paper.get(row, ""), notes.fair.get(row, "")
    if paper == fair:
        yield from [f"Not run: {paper}."] if paper else []
        return
    yield from [f"Not run under protocol paper: {paper}."] if paper else []
    yield from [f"Not run under protocol fair: {fair}."] if fair else []
