"""The comparison of a study on a terminal: who leads, and a table that fits."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.analysis.comparison import Section
from harness.report.report import Report
from harness.report.sections.comparison import MAIN_COLUMNS, comparison_table
from harness.report.sections.conclusion import conclusion
from harness.report.sections.sizes import size_sentence

LEAST = 3
"""Columns that are always shown; a narrow terminal loses the others from the last one on."""


def show_comparison(console: Console, report: Report) -> None:
    """Print one sentence and one table per task, and one sentence per task at several sizes."""
    for section in report.sections:
        console.print(conclusion(section), markup=False, highlight=False)
        console.print(_fitted(section, console))
    for sizes in report.sizes:
        console.print(size_sentence(sizes), markup=False, highlight=False)
    console.print(f"More: harness report {report.study}, or --details", markup=False, highlight=False)


def _fitted(section: Section, console: Console) -> Table:
    """Return the table with as many of `MAIN_COLUMNS` as fit into the width of the console."""
    for count in range(len(MAIN_COLUMNS), LEAST, -1):
        table = _table(section, MAIN_COLUMNS[:count])
        if console.measure(table).maximum <= console.width:
            return table
    return _table(section, MAIN_COLUMNS[:LEAST])


def _table(section: Section, columns: tuple[int, ...]) -> Table:
    whole = comparison_table(section)
    table = Table()
    for place in columns:
        table.add_column(escape(whole.header[place]), justify="left" if place == 0 else "right")
    for row in whole.rows:
        table.add_row(*(escape(row[place].text) for place in columns))
    return table
