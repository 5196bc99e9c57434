"""A user's .csv, .parquet, .npz or .npy file as a table of one row per time step, read one column at a time."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as papq

from harness import DataError, cache_folder
from harness_tasks.own.csv_file import CsvFile
from harness_tasks.own.layout import Column, Layout, Table
from harness_tasks.own.names import as_list
from harness_tasks.own.numpy_file import read_npy, read_npz
from harness_tasks.own.options import ENDINGS
from harness_tasks.own.plain_types import UnreadableError, is_text, plain
from harness_tasks.own.wide import of_wide

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    pa.ArrowException,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions of the libraries for a file that they cannot read, such as a damaged archive.

NumPy tokenizes the header of an array, and a damaged header may state a size that cannot be allocated.
"""


@contextmanager
def open_table(path: Path, layout: Layout) -> Iterator[Table]:
    """Open a file.  Raises DataError if its content does not match its suffix."""
    read = {".csv": _csv, ".tsv": _csv, ".tab": _csv, ".parquet": _parquet, ".npz": read_npz, ".npy": read_npy}.get(
        path.suffix.lower()
    )
    if read is None:
        raise DataError(f"{path}: has the suffix {path.suffix!r}; it must be one of {', '.join(ENDINGS)}")
    with _scratch() as folder:
        try:
            table = _checked(read(path, layout, folder))
        except UNREADABLE as error:
            raise DataError(f"{path}: cannot be read as a {path.suffix[1:]} file ({_first_line(error)})") from error
        yield _checked(of_wide(table, layout)) if layout.wide else replace(table, time_format=layout.time_format)


def _checked(table: Table) -> Table:
    """Return the table with columns of plain types.  Raises DataError if a name occurs twice or there are no rows."""
    twice = next((name for name in table.names if table.names.count(name) > 1), None)
    if twice is not None:
        raise table.refuse(f"two columns are called {twice!r}; give each column a different name")
    if table.rows == 0:
        raise table.refuse("has no rows")

    def read(name: str) -> Column:
        try:
            return plain(table.read(name))
        except UnreadableError as error:
            raise table.refuse(f"column {name!r} {error}, or leave it out: drop = {as_list(name)}") from error
        except UNREADABLE as error:
            raise table.refuse(
                f"column {name!r} cannot be read ({_first_line(error)}); leave it out: drop = {as_list(name)}"
            ) from error

    return replace(table, read=read)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a temporary folder on the disk of the cache, because /tmp may be in memory or too small."""
    parent = cache_folder() / "parsed"
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent, prefix=".table-") as folder:
        yield Path(folder)


def _csv(path: Path, layout: Layout, folder: Path) -> Table:
    file, stored = CsvFile(path, layout), folder / "table.parquet"
    file.store(stored)
    return replace(_parquet(stored, layout, folder), path=path, text_at=file.text_at)


def _parquet(path: Path, layout: Layout, folder: Path) -> Table:
    file = papq.ParquetFile(path)
    schema = file.schema_arrow

    def read(name: str) -> Column:
        # One column in the order of the file; dictionaries keep the names of many sequences small.
        text = is_text(schema.field(name).type)
        read = papq.ParquetFile(path, read_dictionary=[name] if text else None).read(columns=[name], use_threads=False)
        return read.column(read.schema.names.index(name))  # reading `a` also reads `a.b`

    return Table(path, file.metadata.num_rows, tuple(schema.names), read)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
