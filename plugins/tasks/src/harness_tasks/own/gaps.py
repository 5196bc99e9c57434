"""Gaps in time: steps from one row to the next that are longer than the data's usual ones.

Steps are measured in the median step of their sequence, so that series of several rates stand in one file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness_tasks.own.columns import Numbers
from harness_tasks.own.names import shown
from harness_tasks.own.rows import Rows

NEAR = 0.1
"""How far from the median a step may be to count as equal to it, as a share of it."""
REGULAR = 0.5
"""Share of steps that equal the median, from which times are regular enough to have gaps."""
COMMON = 0.95
"""Share of steps that are usual: a weekend is one fifth of the steps between working days."""
FACTOR = 1.5
"""How many times as long as a usual step a gap is at least."""
FEWEST = 20
"""Steps below which nothing is said of them."""


def steps_of(rows: Rows) -> Numbers | None:
    """(rows,) time since the row before, in the median step of the sequence; 0 at its first row.

    None where no column tells the time, or arrays count their steps.
    """
    if rows.time is None or rows.table.roles.get("time") == rows.roles.time:
        return None
    steps = np.diff(rows.time, prepend=rows.time[:1]).astype(np.float64)
    first = rows.starts[:-1]
    steps[first] = 0
    sequence = np.repeat(np.arange(rows.count), rows.lengths)
    ordered = steps[np.lexsort((steps, sequence))]  # in each sequence the 0 of its first row stands first
    median = np.where(rows.lengths > 1, ordered[first + rows.lengths // 2], 1.0)
    return steps / median[sequence]


def longest_usual(rows: Rows) -> float | None:
    """The longest step that is no gap; None where times are not told or too uneven to have gaps."""
    steps = _between(rows)
    if steps is None or np.mean(np.abs(steps - 1) <= NEAR) < REGULAR:
        return None
    return FACTOR * float(np.quantile(steps, COMMON, method="lower"))


def is_uneven(rows: Rows) -> bool:
    """Whether rows follow each other at no regular step."""
    return _between(rows) is not None and longest_usual(rows) is None


def _between(rows: Rows) -> Numbers | None:
    """Steps between two rows of one sequence, where there are enough to tell what is usual."""
    steps = steps_of(rows)
    found = None if steps is None else np.delete(steps, rows.starts[:-1])
    return None if found is None or len(found) < FEWEST else found


def gaps_in(rows: Rows, longest: float | None) -> npt.NDArray[np.bool_]:
    """(rows,) whether a gap lies before a row."""
    steps = steps_of(rows)
    if longest is None or steps is None:
        return np.zeros(int(rows.starts[-1]), dtype=np.bool_)
    return np.asarray(steps > longest)


def note_on(rows: Rows, longest: float | None, *, cut: bool) -> str | None:
    """What to tell of the steps of time; None where they are even.  cut: whether windows end at gaps."""
    name = shown(str(rows.roles.time))
    if is_uneven(rows):
        return (
            f"the steps of time in {name} are uneven, and models see rows, not times; the time since the row before "
            "can be an input"
        )
    gaps = np.flatnonzero(gaps_in(rows, longest))
    steps = steps_of(rows)
    if not len(gaps) or steps is None:
        return None
    place = int(gaps[np.argmax(steps[gaps])])
    row = place if rows.order is None else int(rows.order[place])
    what = "1 gap" if len(gaps) == 1 else f"{len(gaps):,} gaps"
    how = "no window reaches across; across_gaps = true joins them" if cut else "rows are read as if they were even"
    return f"{what} in {name}: before row {row + 1:,} the step is {steps[place]:,.3g} times the usual one; {how}"
