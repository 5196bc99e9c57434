"""Gaps in time: steps from one row to the next that are longer than the usual steps of the data.

Steps are measured in the median step of their sequence, so that one file can hold series of several rates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness_tasks.own.columns import Numbers
from harness_tasks.own.names import shown
from harness_tasks.own.rows import Rows

NEAR = 0.1
"""Largest difference from the median, as a share of it, with which a step counts as equal."""
REGULAR = 0.5
"""Share of steps that must equal the median for times to be regular, so that they can have gaps."""
COMMON = 0.95
"""Share of steps that are usual: a weekend is one fifth of the steps between working days."""
FACTOR = 1.5
"""Length of the shortest gap, in usual steps."""
FEWEST = 20
"""Number of steps below which none is called a gap."""


def steps_of(rows: Rows) -> Numbers | None:
    """Return (rows,): the time since the row before, in median steps of the sequence; 0 at its first row.

    None if no column has times, or if the steps of arrays are counted.
    """
    if rows.time is None or rows.table.roles.get("time") == rows.roles.time:
        return None
    steps = np.diff(rows.time, prepend=rows.time[:1]).astype(np.float64)
    first = rows.starts[:-1]
    steps[first] = 0
    sequence = np.repeat(np.arange(rows.count), rows.lengths)
    ordered = steps[np.lexsort((steps, sequence))]  # the 0 of the first row comes first in each sequence
    median = np.where(rows.lengths > 1, ordered[first + rows.lengths // 2], 1.0)
    return steps / median[sequence]


def longest_usual(rows: Rows) -> float | None:
    """Return the longest step that is not a gap; None if there are no times or they are not regular."""
    steps = _between(rows)
    if steps is None or np.mean(np.abs(steps - 1) <= NEAR) < REGULAR:
        return None
    return FACTOR * float(np.quantile(steps, COMMON, method="lower"))


def is_uneven(rows: Rows) -> bool:
    """Return whether the steps of time are not regular."""
    return _between(rows) is not None and longest_usual(rows) is None


def _between(rows: Rows) -> Numbers | None:
    """Return the steps between rows of one sequence; None if they are too few to know the usual step."""
    steps = steps_of(rows)
    within = None if steps is None else np.delete(steps, rows.starts[:-1])
    return None if within is None or len(within) < FEWEST else within


def gaps_in(rows: Rows, longest: float | None) -> npt.NDArray[np.bool_]:
    """Return (rows,): whether a gap precedes the row."""
    steps = steps_of(rows)
    if longest is None or steps is None:
        return np.zeros(int(rows.starts[-1]), dtype=np.bool_)
    return np.asarray(steps > longest)


def note_on(rows: Rows, longest: float | None, *, cut: bool) -> str | None:
    """Return a note on gaps or uneven times; None if there is nothing to note.  cut: whether windows end at gaps."""
    name = shown(str(rows.roles.time))
    if is_uneven(rows):
        return (
            f"the steps of time in {name} are uneven, and models read rows, not times; the time since the previous "
            "row can be an input"
        )
    gaps = np.flatnonzero(gaps_in(rows, longest))
    steps = steps_of(rows)
    if not len(gaps) or steps is None:
        return None
    place = int(gaps[np.argmax(steps[gaps])])
    row = place if rows.order is None else int(rows.order[place])
    what = "1 gap" if len(gaps) == 1 else f"{len(gaps):,} gaps"
    how = "windows end there; across_gaps = true joins them" if cut else "rows are read as if they were even"
    return f"{what} in {name}: before row {row + 1:,} the step is {steps[place]:,.3g} times the usual one; {how}"
