"""A user's file as a table of one row a time step, read a column at a time: .csv, .parquet, .npz and .npy.

A CSV file is streamed into a Parquet file first, so that no more than a column of it is in memory at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as papq

from harness import DataError, cache_folder
from harness_tasks.own.columns import floats
from harness_tasks.own.dense import dense
from harness_tasks.own.layout import Column, Layout, Table
from harness_tasks.own.options import ENDINGS, TAB

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""What stands for no value in a CSV file."""
BLOCK_BYTES = 1 << 22
VALUE = "value"
"""The input of a wide table."""
INPUTS = ("x", "X", "inputs", "data", "features")
"""Names under which the inputs of an .npz file are looked for."""


@contextmanager
def open_table(path: Path, layout: Layout) -> Iterator[Table]:
    """DataError where the file is not what its ending says."""
    read = {".csv": _csv, ".tsv": _csv, ".tab": _csv, ".parquet": _parquet, ".npz": _npz, ".npy": _npy}.get(
        path.suffix.lower()
    )
    if read is None:
        raise DataError(f"{path}: has the ending {path.suffix or 'of no kind'!r}; known: {', '.join(ENDINGS)}")
    with _scratch() as folder:
        try:
            table = read(path, layout, folder)
        except (OSError, ValueError, EOFError, pa.ArrowException) as error:
            raise DataError(f"{path}: is no {path.suffix[1:]} file that can be read ({_first_line(error)})") from error
        if table.rows == 0:
            raise table.refuse("has no rows")
        yield _of_wide(table, layout) if layout.wide else replace(table, time_format=layout.time_format)


def _of_wide(table: Table, layout: Layout) -> Table:
    """A row a sequence → a row a step; a row's missing values at its end are steps that it has not."""
    if table.roles:
        raise table.refuse("is laid out by its arrays; wide is for a table of one row a sequence")
    beside = [name for name in table.names if name in layout.beside]
    steps = [name for name in table.features() if name not in beside]
    if len(steps) < 2:
        raise table.refuse(f"has {len(steps)} columns for the steps; wide is for a table of one row a sequence")
    rows = np.column_stack([floats(table, name, way_out=f"leave the column out: drop = {name!r}") for name in steps])
    missing = np.isnan(rows)
    lengths = rows.shape[1] - np.argmin(missing[:, ::-1], axis=1)  # rows without any value keep all of them
    holes = np.argwhere(missing & (np.arange(rows.shape[1]) < lengths[:, None]))
    if len(holes):
        row, step = holes[0]
        raise table.refuse(
            f"column {steps[step]!r} is missing in row {row + 1:,}, which goes on after it ({len(holes):,} such "
            "values); fill them, or remove such rows"
        )
    others = {name: np.array(table.read(name).to_pylist(), dtype=object) for name in beside}
    return dense(table.path, VALUE, rows, lengths if missing.any() else None, others)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder on the disk of the cache: what does not fit in memory may not fit where /tmp is."""
    parent = cache_folder() / "parsed"
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent, prefix=".table-") as folder:
        yield Path(folder)


def _csv(path: Path, layout: Layout, folder: Path) -> Table:
    usual = "," if path.suffix.lower() == ".csv" else TAB
    delimiter = usual if layout.delimiter is None else layout.delimiter
    if len(delimiter) != 1:
        raise DataError(f"{path}: the delimiter is one character, as ';', or tab or space, got {delimiter!r}")
    names = _header(path, delimiter) if layout.header else _numbered(path, delimiter)
    way = replace(layout, delimiter=delimiter)
    target = folder / "table.parquet"
    try:
        kinds = {name: pa.string() for name in _with_leading_zeros(path, way, names)}
        if layout.time_format is not None and layout.time in names:
            kinds[layout.time] = pa.string()
        while (column := _text_among_numbers(path, target, way, names, kinds)) is not None:
            # Text is read as numbers later, but not with a decimal comma.
            again = layout.decimal == "." or names[column] in kinds
            kinds[names[column]] = pa.string() if again else pa.float64()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {_csv_fault(error)}") from error
    return replace(_parquet(target, layout, folder), path=path)


def _text_among_numbers(
    path: Path, target: Path, layout: Layout, names: tuple[str, ...], kinds: Mapping[str, Any]
) -> int | None:
    """Stream a CSV file into a Parquet file; the column, from 0, whose later values are not of the kind of the first
    ones, unless there is none."""
    try:
        blocks = _blocks(path, layout, names, kinds)
        with blocks, papq.ParquetWriter(target, blocks.schema) as writer:
            for block in blocks:
                writer.write_batch(block)
    except pa.ArrowInvalid as error:
        column = re.match(r"In CSV column #(\d+): (?:Row #\d+: )?CSV conversion error", str(error))
        if column is None or "UTF8" in str(error):
            raise
        return int(column[1])
    return None


def _blocks(path: Path, layout: Layout, names: tuple[str, ...], kinds: Mapping[str, Any]) -> Any:
    return pacsv.open_csv(
        path,
        pacsv.ReadOptions(
            block_size=BLOCK_BYTES, use_threads=False, column_names=None if layout.header else list(names)
        ),
        pacsv.ParseOptions(delimiter=layout.delimiter),
        pacsv.ConvertOptions(
            column_types=kinds, strings_can_be_null=True, null_values=list(MISSING), decimal_point=layout.decimal
        ),
    )


def _with_leading_zeros(path: Path, layout: Layout, names: tuple[str, ...]) -> list[str]:
    """Columns in which a first block has names such as 007, which are no numbers."""
    with _blocks(path, layout, names, {name: pa.string() for name in names}) as blocks:
        block = next(iter(blocks), None)
    found = [] if block is None else zip(names, block.columns, strict=True)
    return [name for name, column in found if pc.any(pc.match_substring_regex(column, "^[+-]?0[0-9]")).as_py()]


def _csv_fault(error: Exception) -> str:
    text = _first_line(error).removeprefix("CSV parse error: ")
    if "UTF8" in text:
        return f"is no UTF-8 text ({text}); save it as UTF-8"
    return f"its rows do not have one number of fields ({text}); quote fields that hold the delimiter"


def _first_of(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        try:
            return file.readline().strip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start:,})") from error


def _numbered(path: Path, delimiter: str) -> tuple[str, ...]:
    """Names for the columns of a file that gives them none."""
    return tuple(str(number) for number in range(len(_first_of(path).split(delimiter))))


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    first = _first_of(path)
    if first.startswith("#"):
        raise DataError(
            f"{path}: its first line is a comment, {first[:40]!r}; the first line names the columns: remove it"
        )
    names = [name.strip().strip('"') for name in first.split(delimiter)]
    other = next((mark for mark in ";\t|," if mark != delimiter and first.count(mark) > 0), None)
    if other is None and len(first.split()) > 1 and all(map(_is_number, first.split())):
        other = " "
    if len(names) == 1 and other is not None:
        mark = {TAB: "tab", " ": "space"}.get(other, other)
        raise DataError(f"{path}: has one column, {first[:40]!r}; is {mark!r} the delimiter? Say delimiter = {mark!r}")
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path}: its first line is {first[:40]!r}, but a first line names the columns; add one, or say "
            "header = false: they are called 0, 1, …"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}; give each a name of its own")
    return tuple(names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path, layout: Layout, folder: Path) -> Table:
    file = papq.ParquetFile(path)
    schema = file.schema_arrow
    nested = next((part for part in schema if pa.types.is_nested(part.type)), None)
    if nested is not None:
        raise DataError(f"{path}: column {nested.name!r} holds {nested.type} values; lay it out as one row a time step")

    def read(name: str) -> Column:
        # A column alone, in the file's own order; dictionaries keep the names of many sequences small.
        text = pa.types.is_string(schema.field(name).type) or pa.types.is_large_string(schema.field(name).type)
        file = papq.ParquetFile(path, read_dictionary=[name] if text else None)
        return file.read(columns=[name], use_threads=False).column(0)

    return Table(path, file.metadata.num_rows, tuple(schema.names), read)


def _npy(path: Path, layout: Layout, folder: Path) -> Table:
    array = _without_pickle(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))
    if array.dtype.names:
        return Table(path, len(array), array.dtype.names, lambda name: pa.array(np.ascontiguousarray(array[name])))
    if array.ndim == 3:
        return dense(path, "", array, None, {})
    if array.ndim not in (1, 2):
        raise DataError(f"{path}: has {array.ndim} axes; give (time,), (time, columns) or (sequences, time, columns)")
    columns = array[:, None] if array.ndim == 1 else array
    names = tuple(str(number) for number in range(columns.shape[1]))
    return Table(path, len(columns), names, lambda name: pa.array(np.ascontiguousarray(columns[:, int(name)])))


def _npz(path: Path, layout: Layout, folder: Path) -> Table:
    with _without_pickle(path, lambda: np.load(path, allow_pickle=False)) as file:
        arrays = {name: _without_pickle(path, partial(file.__getitem__, name)) for name in file.files}
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    name = layout.inputs or next((name for name in INPUTS if name in arrays), None)
    if name is None or name not in arrays:
        raise DataError(f"{path}: which array holds the inputs? Say inputs = NAME; it has {shapes or 'none'}")
    inputs = arrays.pop(name)
    lengths_name = layout.lengths or ("lengths" if "lengths" in arrays else None)
    if lengths_name is not None and lengths_name not in arrays:
        raise DataError(f"{path}: has no array {lengths_name!r} of lengths; it has {shapes}")
    lengths = None if lengths_name is None else arrays.pop(lengths_name)
    if layout.target is not None and layout.target in arrays:
        target = arrays[layout.target]
        if lengths is None and inputs.ndim == 2 and target.ndim == 1 and len(target) not in (len(inputs), 1):
            raise DataError(
                f"{path}: {name} has {len(inputs):,} rows and {layout.target} {len(target):,}; if these are frames of "
                "sequences of different lengths laid end to end, add an array lengths with the frames of each"
            )
    return dense(path, name, inputs, lengths, arrays)


def _without_pickle(path: Path, read: Callable[[], Any]) -> Any:
    """What numpy reads; DataError for Python objects, which only a pickle holds and a pickle runs code."""
    try:
        return read()
    except ValueError as error:
        if not any(word in str(error) for word in ("pickle", "Python objects")):
            raise
        raise DataError(
            f"{path}: holds Python objects (a list of sequences of different lengths?), which are not read, as that "
            "could run code; lay the sequences end to end in one array and add an array lengths"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
