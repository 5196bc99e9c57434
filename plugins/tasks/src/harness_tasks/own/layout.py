"""A table of one row per time step, independent of the type of its file, and the options for reading the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from harness import DataError

Array = npt.NDArray[Any]
"""An array of any type that a file can hold."""
Column = Any
"""A pyarrow array or chunked array; pyarrow has no types."""


INDEX = re.compile(r"|Unnamed: 0|__index_level_\d+__")
"""Name of a column with row numbers that pandas writes by default."""
SEQUENCE, STEP = "sequence", "step"
"""Columns that follow from the shape of arrays."""


@dataclass(frozen=True)
class Table:
    """Rows in the order of the file."""

    path: Path
    rows: int
    names: tuple[str, ...]
    read: Callable[[str], Column]
    """Reads a column by its name, as a pyarrow column."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Role → column, for roles that the layout of the file decides: `sequence`, `time`."""
    inputs: tuple[str, ...] | None = None
    """Input columns, if the layout decides them; None: all columns that have no other role and are not an index."""
    time_format: str | None = None
    """Format of times in text, as in strptime; None: year first."""
    notes: tuple[str, ...] = ()
    """Notes on how the file was read, one line each."""
    text_at: Callable[[str, int], str] | None = None
    """For a CSV file: (name of a column, row counted from 0) → text of the field."""

    def features(self) -> tuple[str, ...]:
        """Return the columns that can be inputs."""
        return self.inputs or tuple(name for name in self.names if name not in self.indices())

    def indices(self) -> tuple[str, ...]:
        """Return the columns of row numbers, which are not data."""
        return tuple(name for name in self.names if INDEX.fullmatch(name))

    def refuse(self, what: str) -> DataError:
        """Return the error for a fault of the file, with its path."""
        return DataError(f"{self.path}: {what}")


MISSING = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""Words that mean a missing value in a CSV file by default."""


@dataclass(frozen=True)
class Layout:
    """Options for reading a file that its suffix does not decide."""

    delimiter: str | None = None
    """None: a tab in .tsv and .tab, else a comma."""
    decimal: str = "."
    header: bool = True
    """Whether the first line of a CSV file names its columns; else they are called 0, 1, …"""
    time: str | None = None
    time_format: str | None = None
    """Format of the column `time` if it is text."""
    target: str | None = None
    inputs: str | None = None
    """Name of the array of inputs in an .npz file."""
    lengths: str | None = None
    """Name of the array of lengths in an .npz file."""
    wide: bool = False
    """Whether each row of a table is a sequence and its columns are the steps."""
    not_steps: tuple[str, ...] = ()
    """Columns that are not steps if a wide table has them."""
    keep: tuple[str, ...] = ()
    """Columns of a wide table that are steps although they look like names of the rows."""
    missing: tuple[str, ...] = MISSING
    """Words of a CSV file that mean a missing value; an empty field is always missing."""
