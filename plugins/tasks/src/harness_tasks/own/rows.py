"""The rows of a user's table sequence by sequence, each in the order of time, and the roles of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from harness import DataError, did_you_mean
from harness_tasks.own.columns import Coded, Codes, coded
from harness_tasks.own.layout import Table
from harness_tasks.own.names import all_shown, as_list
from harness_tasks.own.options import Label
from harness_tasks.own.times import Times, looks_like_dates, times

T = TypeVar("T", bound=np.generic)

MOST_NAMED = 8
"""Columns that a message lists."""


@dataclass(frozen=True)
class Roles:
    """The roles of the columns of a table; None: no column has that role."""

    inputs: tuple[str, ...]
    target: str | None = None
    sequence: str | None = None
    time: str | None = None
    group: str | None = None
    part: str | None = None
    """Which split a row belongs to."""


def roles_of(
    table: Table,
    given: Mapping[str, str | None],
    *,
    drop: Iterable[str],
    target_is_input: bool,
    as_class: bool = False,
) -> Roles:
    """Return the roles from the options, then from the layout; every other column is an input.

    given: role → column.  as_class: whether the target is a class, which is not a numeric column when it is an input.
    Raises DataError if a column is missing or has two roles.
    """
    named = {role: column for role, column in {**table.roles, **given}.items() if column is not None}
    named |= {role: column for role, column in table.roles.items() if given.get(role) is None}
    dropped = tuple(drop)
    for role, column in (*named.items(), *(("drop", column) for column in dropped)):
        if column not in table.names:
            raise table.refuse(
                f"has no column {column!r} for {role};{did_you_mean(column, table.names)} {_columns(table)}"
            )
    taken = [column for role, column in named.items() if role not in ("group", "part")]
    twice = next((column for column in taken if taken.count(column) > 1), None)
    if twice is not None:
        raise table.refuse(f"column {twice!r} cannot be two of target, sequence and time; name another for one of them")
    other = {*named.values(), *dropped}
    inputs = tuple(name for name in table.features() if name not in other)
    target = named.get("target")
    own_past = target is not None and target_is_input and target not in dropped
    if target is not None and own_past and not as_class:
        inputs = (*inputs, target)
    if not inputs and not own_past:
        raise table.refuse(
            "has no column left for the inputs; drop fewer, or forecast the target from its own past: horizon = 1"
        )
    return Roles(inputs, target, named.get("sequence"), named.get("time"), named.get("group"), named.get("part"))


def _columns(table: Table) -> str:
    more = f" and {len(table.names) - MOST_NAMED} more" if len(table.names) > MOST_NAMED else ""
    return f"Columns: {all_shown(table.names[:MOST_NAMED])}{more}"


def only_column(table: Table) -> str | None:
    """Return the only column that can be the target; None if there are several."""
    names = [name for name in table.names if name not in table.roles.values()]
    return names[0] if len(names) == 1 else None


def name_the_target(table: Table) -> DataError:
    return table.refuse(
        f"which column is to be predicted? Say target = NAME, on the command line --target NAME. {_columns(table)}"
    )


@dataclass(frozen=True)
class Rows:
    """The rows of a file in the order of sequences and time."""

    table: Table
    roles: Roles
    order: Codes | None
    """Rows of the file, sequence by sequence and each in the order of time; None: the order of the file."""
    starts: Codes
    """First row of each sequence in that order, and the end: (sequences + 1,)."""
    names: tuple[Label, ...]
    """Names of the sequences; empty if the file is one series."""
    time: Times | None
    """Times in that order."""
    moved: int
    """Sequences whose rows were not in the order of time."""

    @property
    def count(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Codes:
        return np.diff(self.starts)

    def arranged(self, values: npt.NDArray[T]) -> npt.NDArray[T]:
        """Return a column in that order."""
        return values if self.order is None else values[self.order]

    def of_sequences(self, name: str) -> tuple[Codes, tuple[Label, ...]]:
        """Return the codes and labels of a column with one value per sequence.  Raises DataError if one has two."""
        column = coded(self.table, name)
        codes = self.arranged(column.codes)
        first = codes[self.starts[:-1]]
        changes = np.flatnonzero(codes != np.repeat(first, self.lengths))
        if len(changes):
            sequence = int(np.searchsorted(self.starts, changes[0], side="right")) - 1
            before, after = column.labels[first[sequence]], column.labels[codes[changes[0]]]
            raise self.table.refuse(
                f"column {name!r} has {before!r} and {after!r} in one sequence{self.called(sequence)}; it must have "
                "one value in each"
            )
        return first, column.labels

    def called(self, sequence: int) -> str:
        """Return the name of a sequence for a message, with a space before it; empty if there is only one."""
        return f" {self.names[sequence]!r}" if self.names else ""


def arrange(table: Table, roles: Roles) -> Rows:
    """Sort rows by sequence, then by time.  Raises DataError if two rows of one sequence have the same time."""
    time = None if roles.time is None else times(table, roles.time)
    single = Coded(np.zeros(table.rows, dtype=np.int64), ())
    named = single if roles.sequence is None else coded(table, roles.sequence)
    codes, names = named.codes, named.labels
    order = _order(codes, time)
    codes = codes if order is None else codes[order]
    starts = np.append(np.flatnonzero(np.diff(codes, prepend=-1)), len(codes))
    rows = Rows(table, roles, order, starts, names, time if time is None or order is None else time[order], 0)
    if time is not None:
        _refuse_equal_times(rows)
    if roles.sequence is not None and rows.count == table.rows and table.rows > 1:
        raise table.refuse(
            f"column {roles.sequence!r} has a different value in each of {table.rows:,} rows, so no sequence has two "
            "steps; name the column that is equal in all rows of a sequence, or leave out sequence for one long series"
        )
    return Rows(table, roles, order, starts, names, rows.time, _moved(rows))


def _order(codes: Codes, time: Times | None) -> Codes | None:
    same, later = np.diff(codes) == 0, np.diff(codes) >= 0
    in_order = bool(later.all()) if time is None else bool((later & (~same | (np.diff(time) >= 0))).all())
    if in_order:
        return None
    return np.argsort(codes, kind="stable") if time is None else np.lexsort((time, codes))


def _refuse_equal_times(rows: Rows) -> None:
    assert rows.time is not None
    equal = np.diff(rows.time) == 0
    equal[rows.starts[1:-1] - 1] = False  # the last row of one sequence and the first of the next
    places = np.flatnonzero(equal)
    if not len(places):
        return
    before, after = (
        int(place if rows.order is None else rows.order[place]) + 1 for place in (places[0], places[0] + 1)
    )
    sequence = int(np.searchsorted(rows.starts, places[0], side="right")) - 1
    way_out = "remove one" if rows.names else "say sequence = COLUMN if the file holds several series, or remove one"
    raise rows.table.refuse(
        f"rows {before:,} and {after:,}{' of sequence' if rows.names else ''}{rows.called(sequence)} have the same "
        f"{rows.roles.time!r} ({len(places):,} such pairs); {way_out}"
    )


def _moved(rows: Rows) -> int:
    """Return the number of sequences in which a later row of the file is earlier in time."""
    if rows.order is None or rows.time is None:
        return 0
    back = np.diff(rows.order) < 0
    back[rows.starts[1:-1] - 1] = False
    return len(np.unique(np.searchsorted(rows.starts, np.flatnonzero(back), side="right")))


def refuse_dates(table: Table, roles: Roles) -> None:
    """Raise DataError if an input holds dates and no column is named as time: dates order the rows."""
    if roles.time is None:
        for name in roles.inputs:
            if looks_like_dates(table, name):
                raise table.refuse(
                    f"column {name!r} holds dates; say time = {name!r} if they order the rows, else "
                    f"drop = {as_list(name)}"
                )
