"""Tables in which each row is a sequence and the columns are its steps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness_tasks.own.columns import Numbers, floats
from harness_tasks.own.dense import dense, real_steps
from harness_tasks.own.layout import Layout, Table
from harness_tasks.own.names import as_list

VALUE = "value"
"""The input of a wide table."""
NUMBERED = re.compile(r"(\D*)\d+(\D*)")
"""The name of a column in a run: t0, t1, … or 0, 1, …"""
FEWEST_ROWS = 10
"""Number of rows from which a column of consecutive numbers counts as the names of the rows."""


def of_wide(table: Table, layout: Layout) -> Table:
    """Return one row per step.  Missing values at the end of a row are not steps."""
    if table.roles:
        raise table.refuse("has sequences by the shape of its arrays; wide is only for a table of one row per sequence")
    not_steps = [name for name in table.names if name in layout.not_steps]
    steps = [name for name in table.features() if name not in not_steps]
    if len(steps) < 2:
        raise table.refuse(f"has {len(steps)} columns for the steps; wide is only for a table of one row per sequence")
    columns = [floats(table, name, way_out=_way_out(name)) for name in steps]
    notes = _check_names_of_rows(table, layout, steps, columns)
    rows = np.column_stack(columns)
    _check_holes(table, steps, rows)
    others = {name: np.array(table.read(name).to_pylist(), dtype=object) for name in not_steps}
    return dense(table.path, VALUE, rows, None, others, notes=notes)


def _way_out(name: str) -> str:
    return f"say sequence = {name!r} if it names the rows, or leave the column out: drop = {as_list(name)}"


def _check_holes(table: Table, steps: Sequence[str], rows: Numbers) -> None:
    missing = np.isnan(rows)
    holes = np.argwhere(missing & (np.arange(rows.shape[1]) < real_steps(rows)[:, None]))
    if len(holes):
        row, step = holes[0]
        raise table.refuse(
            f"column {steps[step]!r} is missing in row {row + 1:,}, but the row continues after it ({len(holes):,} "
            "such values); fill them, or remove such rows"
        )


def _check_names_of_rows(
    table: Table, layout: Layout, steps: Sequence[str], columns: Sequence[Numbers]
) -> tuple[str, ...]:
    """Refuse a column that numbers the rows; return a note on one that may name them."""
    named = [_may_name(values) for values in columns]
    whole = [_is_whole(values) for values in columns]
    run = _in_a_run(steps) if layout.header else [False] * len(steps)
    notes = []
    for place, name in enumerate(steps):
        if not named[place] or name in layout.keep:
            continue
        sure = _is_consecutive(columns[place]) or (not run[place] and sum(whole) == 1)
        if sure:
            raise table.refuse(
                f"column {name!r} has a different whole number in each row, as names of rows have; say "
                f"sequence = {name!r}, or if it is a step, keep = {as_list(name)}"
            )
        if not run[place] and sum(named) == 1:
            notes.append(
                f"column {name!r} is read as step {place + 1}, but is different in each row; if it names the rows, say "
                f"sequence = {name!r}"
            )
    return tuple(notes)


def _is_whole(values: Numbers) -> bool:
    return bool((np.isfinite(values) & (values == np.round(values))).all())


def _may_name(values: Numbers) -> bool:
    return len(values) >= FEWEST_ROWS and _is_whole(values) and len(np.unique(values)) == len(values)


def _is_consecutive(values: Numbers) -> bool:
    return bool((np.diff(np.sort(values)) == 1).all())


def _in_a_run(names: Sequence[str]) -> list[bool]:
    """Return for each name whether it differs only by a number from at least half of all names."""
    stems = [None if (numbered := NUMBERED.fullmatch(name)) is None else numbered.groups() for name in names]
    counts = Counter(stem for stem in stems if stem is not None)
    return [stem is not None and 2 * counts[stem] >= len(names) for stem in stems]
