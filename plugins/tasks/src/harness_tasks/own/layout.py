"""A table of one row a time step, whatever the file is that holds it, and how such a file is to be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from harness import DataError

Array = npt.NDArray[Any]
"""Of whatever type a file holds."""
Column = Any
"""A pyarrow array or chunked array; pyarrow has no types."""


INDEX = re.compile(r"|Unnamed: 0|__index_level_\d+__")
"""The name of a column that pandas wrote without being asked: the numbers of rows."""
SEQUENCE, STEP = "sequence", "step"
"""The columns that arrays have by their shape."""


@dataclass(frozen=True)
class Table:
    """Rows in the order of the file."""

    path: Path
    rows: int
    names: tuple[str, ...]
    read: Callable[[str], Column]
    """A column by its name, as pyarrow has it."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Role → column, of those that the layout of the file decides: `sequence`, `time`."""
    inputs: tuple[str, ...] | None = None
    """The columns that are inputs where the layout decides it; None: all that have no other role and are no index."""
    time_format: str | None = None
    """How text says a time, as strptime has it; None: the year first."""
    notes: tuple[str, ...] = ()
    """Notes on how the file was read, one line each."""
    text_at: Callable[[str, int], str] | None = None
    """For a CSV file: (name of a column, row counted from 0) → text of the field."""

    def features(self) -> tuple[str, ...]:
        """What may be an input."""
        return self.inputs or tuple(name for name in self.names if name not in self.indices())

    def indices(self) -> tuple[str, ...]:
        """Numbers of rows, which are no data."""
        return tuple(name for name in self.names if INDEX.fullmatch(name))

    def refuse(self, what: str) -> DataError:
        return DataError(f"{self.path}: {what}")


MISSING = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""Words that stand for a missing value in a CSV file by default."""


@dataclass(frozen=True)
class Layout:
    """How a file is to be read, where its ending leaves that open."""

    delimiter: str | None = None
    """None: a tab in .tsv and .tab, else a comma."""
    decimal: str = "."
    header: bool = True
    """Whether the first line of a CSV file names its columns; else they are called 0, 1, …"""
    time: str | None = None
    time_format: str | None = None
    """How the column `time` says a time, where it is text."""
    target: str | None = None
    inputs: str | None = None
    """Name of the array of inputs in an .npz file."""
    lengths: str | None = None
    """Name of the array of lengths in an .npz file."""
    wide: bool = False
    """Whether a row of a table is a sequence, its columns the steps."""
    beside: tuple[str, ...] = ()
    """Columns of a wide table that are no steps, where it has them."""
    keep: tuple[str, ...] = ()
    """Columns of a wide table that are steps although they look like names of the rows."""
    missing: tuple[str, ...] = MISSING
    """Words of a CSV file that stand for a missing value; an empty field is always missing."""
