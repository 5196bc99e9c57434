"""What the page of results says of the published settings of a row, and of what is not run, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.comparison import Section
from harness.analysis.reproduction import Reproduction
from harness.report.formatting import mean_interval, number
from published_table import unlike_the_row
from row_notes import RowNotes


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
        f"{mean_interval(cell.ours.mean, cell.ours.interval)}, published {number(cell.published)}: "
        f"{cell.verdict}{floor}{assumed}."
    )


def not_run(row: str, notes: RowNotes) -> Iterator[str]:
    """Yield why models of a row have no value, once if the reason is the same under both protocols."""
    paper, fair = notes.paper.get(row, ""), notes.fair.get(row, "")
    if paper == fair:
        yield from [f"Not run: {paper}."] if paper else []
        return
    yield from [f"Not run under protocol paper: {paper}."] if paper else []
    yield from [f"Not run under protocol fair: {fair}."] if fair else []
