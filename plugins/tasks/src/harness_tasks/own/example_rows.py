"""Rows of a user's table as an example of new rows: the columns that a prediction needs, with the types of the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness_tasks.own.columns import Codes
from harness_tasks.own.facts import Facts
from harness_tasks.own.layout import Column, Layout, Table
from harness_tasks.own.new_rows import arranged, needed_columns
from harness_tasks.own.options import Options
from harness_tasks.own.sources import layout_of
from harness_tasks.own.tables import open_table

if TYPE_CHECKING:
    from pandas import DataFrame


def first_rows(path: Path, options: Options, facts: Facts, count: int) -> DataFrame | None:
    """Return rows of the first sequences, in the order of the file; None for arrays, which have no columns."""
    from pandas import DataFrame  # takes a second to import, and most trials do not need it

    layout = layout_of(options)
    with open_table(path, replace(layout, wide=False)) as table:
        if table.roles:
            return None
        needed = {*_steps(table, layout), *needed_columns(facts)}
        rows = np.arange(min(count, table.rows)) if layout.wide else _rows_of_sequences(table, facts, count)
        return DataFrame({name: _values(table.read(name), rows) for name in table.names if name in needed})


def _steps(table: Table, layout: Layout) -> list[str]:
    """Return the columns that are the steps of a wide table."""
    return [name for name in table.features() if name not in layout.not_steps] if layout.wide else []


def _rows_of_sequences(table: Table, facts: Facts, count: int) -> Codes:
    """Return rows sequence by sequence, because the first rows of a file may be of different sequences."""
    order = arranged(table, facts).order
    return np.arange(min(count, table.rows)) if order is None else np.sort(order[:count])


def _values(column: Column, rows: Codes) -> object:
    chosen = column.take(rows)
    if pa.types.is_dictionary(chosen.type):
        chosen = chosen.cast(chosen.type.value_type)
    if pa.types.is_decimal(chosen.type):  # JSON, in which MLflow stores the rows, has no decimals
        chosen = chosen.cast(pa.float64())
    return chosen.to_pandas()
