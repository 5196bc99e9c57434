"""A user's file as a table of one row a time step, read a column at a time: .csv, .parquet, .npz and .npy.

A CSV file is streamed into a Parquet file first, so that no more than a column of it is in memory at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as papq

from harness import DataError
from harness.data import cache_folder
from harness_tasks.own.options import ENDINGS

Array = npt.NDArray[Any]
"""Of whatever type a file holds."""
Column = Any
"""A pyarrow array or chunked array; pyarrow has no types."""

INDEX = re.compile(r"|Unnamed: 0|__index_level_\d+__")
"""The name of a column that pandas wrote without being asked: the numbers of rows."""
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""What stands for no value in a CSV file."""
SEQUENCE, STEP = "sequence", "step"
"""The columns that arrays have by their shape."""
BLOCK_BYTES = 1 << 22
INPUTS = ("x", "X", "inputs", "data", "features")
"""Names under which the inputs of an .npz file are looked for."""


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

    def features(self) -> tuple[str, ...]:
        """What may be an input."""
        return self.inputs or tuple(name for name in self.names if name not in self.indices())

    def indices(self) -> tuple[str, ...]:
        """Numbers of rows, which are no data."""
        return tuple(name for name in self.names if INDEX.fullmatch(name))

    def refuse(self, what: str) -> DataError:
        return DataError(f"{self.path}: {what}")


@dataclass(frozen=True)
class Layout:
    """How a file is to be read, where its ending leaves that open."""

    delimiter: str = ","
    target: str | None = None
    inputs: str | None = None
    """Name of the array of inputs in an .npz file."""
    lengths: str | None = None
    """Name of the array of lengths in an .npz file."""


@contextmanager
def open_table(path: Path, layout: Layout) -> Iterator[Table]:
    """DataError where the file is not what its ending says."""
    read = {".csv": _csv, ".parquet": _parquet, ".npz": _npz, ".npy": _npy}.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path}: has the ending {path.suffix or 'of no kind'!r}; known: {', '.join(ENDINGS)}")
    with _scratch() as folder:
        try:
            table = read(path, layout, folder)
        except (OSError, ValueError, EOFError, pa.ArrowException) as error:
            raise DataError(f"{path}: is no {path.suffix[1:]} file that can be read ({_first_line(error)})") from error
        if table.rows == 0:
            raise table.refuse("has no rows")
        yield table


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder on the disk of the cache: what does not fit in memory may not fit where /tmp is."""
    parent = cache_folder() / "parsed"
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent, prefix=".table-") as folder:
        yield Path(folder)


def _csv(path: Path, layout: Layout, folder: Path) -> Table:
    if len(layout.delimiter) != 1:
        raise DataError(f"{path}: the delimiter is one character, as ';', got {layout.delimiter!r}")
    names = _header(path, layout.delimiter)
    target = folder / "table.parquet"
    try:
        kinds = {name: pa.string() for name in _with_leading_zeros(path, layout.delimiter, names)}
        while (text := _text_among_numbers(path, target, layout.delimiter, kinds)) is not None:
            kinds[names[text]] = pa.string()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {_csv_fault(error)}") from error
    return replace(_parquet(target, layout, folder), path=path)


def _text_among_numbers(path: Path, target: Path, delimiter: str, kinds: Mapping[str, Any]) -> int | None:
    """Stream a CSV file into a Parquet file; the column, from 0, whose later values are not of the kind of the first
    ones, unless there is none."""
    try:
        blocks = _blocks(path, delimiter, kinds)
        with blocks, papq.ParquetWriter(target, blocks.schema) as writer:
            for block in blocks:
                writer.write_batch(block)
    except pa.ArrowInvalid as error:
        column = re.match(r"In CSV column #(\d+): CSV conversion error", str(error))
        if column is None or "UTF8" in str(error):
            raise
        return int(column[1])
    return None


def _blocks(path: Path, delimiter: str, kinds: Mapping[str, Any], block_bytes: int = BLOCK_BYTES) -> Any:
    return pacsv.open_csv(
        path,
        pacsv.ReadOptions(block_size=block_bytes, use_threads=False),
        pacsv.ParseOptions(delimiter=delimiter),
        pacsv.ConvertOptions(column_types=kinds, strings_can_be_null=True, null_values=list(MISSING)),
    )


def _with_leading_zeros(path: Path, delimiter: str, names: tuple[str, ...]) -> list[str]:
    """Columns in which a first block has names such as 007, which are no numbers."""
    with _blocks(path, delimiter, {name: pa.string() for name in names}) as blocks:
        block = next(iter(blocks), None)
    found = [] if block is None else zip(names, block.columns, strict=True)
    return [name for name, column in found if pc.any(pc.match_substring_regex(column, "^[+-]?0[0-9]")).as_py()]


def _csv_fault(error: Exception) -> str:
    text = _first_line(error).removeprefix("CSV parse error: ")
    if "UTF8" in text:
        return f"is no UTF-8 text ({text}); save it as UTF-8"
    return f"its rows do not have one number of fields ({text}); quote fields that hold the delimiter"


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    with path.open(encoding="utf-8-sig") as file:
        try:
            first = file.readline().strip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start:,})") from error
    if first.startswith("#"):
        raise DataError(
            f"{path}: its first line is a comment, {first[:40]!r}; the first line names the columns: remove it"
        )
    names = [name.strip().strip('"') for name in first.split(delimiter)]
    other = next((mark for mark in ";\t|," if mark != delimiter and first.count(mark) > 0), None)
    if len(names) == 1 and other is not None:
        raise DataError(
            f"{path}: has one column, {first[:40]!r}; is {other!r} the delimiter? Say delimiter = {other!r}"
        )
    if all(_is_number(name) for name in names):
        raise DataError(f"{path}: its first line is {first[:40]!r}, but a first line names the columns; add one")
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
        return _dense(path, "", array, None, {})
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
    return _dense(path, name, inputs, lengths, arrays)


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


def _dense(path: Path, name: str, inputs: Array, lengths: Array | None, others: Mapping[str, Array]) -> Table:
    """(sequences, time, channels) or (sequences, time), all of one length or padded; or frames end to end."""
    if lengths is not None and (lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any()):
        raise DataError(f"{path}: lengths must be one whole number of at least 1 for each sequence")
    if inputs.ndim not in (2, 3):
        raise DataError(
            f"{path}: {name} has the shape {inputs.shape}; give (sequences, time) or (sequences, time, channels)"
        )
    packed = lengths is not None and len(inputs) == lengths.sum() and len(inputs) != len(lengths)
    packed = packed or (lengths is not None and inputs.ndim == 2 and len(inputs) == lengths.sum())
    if packed and lengths is not None:
        frames, steps = inputs.reshape(len(inputs), -1), lengths.astype(np.int64)
        kept = None
    else:
        count, time = inputs.shape[:2]
        steps = np.full(count, time) if lengths is None else lengths.astype(np.int64)
        if len(steps) != count or (count and steps.max() > time):
            raise DataError(
                f"{path}: {name} has the shape {inputs.shape}, but there are {len(steps):,} lengths of up to "
                f"{steps.max():,}, {steps.sum():,} in all"
            )
        frames = inputs.reshape(count * time, -1)
        kept = None if lengths is None else (np.arange(time) < steps[:, None]).ravel()
    return _laid_out(path, name, frames, steps, kept, others)


def _laid_out(
    path: Path, name: str, frames: Array, steps: Array, kept: npt.NDArray[np.bool_] | None, others: Mapping[str, Array]
) -> Table:
    """Columns over the real steps; arrays of one value a sequence stand at each of its steps."""
    starts = np.cumsum(steps) - steps
    channels = [name or "x"] if frames.shape[1] == 1 else [f"{name}-{n}".strip("-") for n in range(frames.shape[1])]

    def values(column: str) -> Array:
        if column in channels:
            channel = frames[:, channels.index(column)]
            return channel if kept is None else channel[kept]
        if column in others:
            return _spread(path, column, others[column], steps, len(frames), kept)
        sequence = np.repeat(np.arange(len(steps)), steps)
        return sequence if column == SEQUENCE else np.arange(len(sequence)) - starts[sequence]

    return Table(
        path,
        int(steps.sum()),
        (*channels, *others, SEQUENCE, STEP),
        lambda column: pa.array(np.ascontiguousarray(values(column))),
        {"sequence": SEQUENCE, "time": STEP},
        tuple(channels),
    )


def _spread(
    path: Path, name: str, array: Array, steps: Array, frames: int, kept: npt.NDArray[np.bool_] | None
) -> Array:
    """An array of one value a sequence, or one a step, as a column."""
    flat = array.reshape(-1) if array.size in (len(steps), frames) else array
    if flat.ndim == 1 and len(flat) == frames and (array.ndim > 1 or frames != len(steps)):
        return flat if kept is None else flat[kept]
    if flat.ndim == 1 and len(flat) == len(steps):
        return np.repeat(flat, steps)
    raise DataError(
        f"{path}: {name} has the shape {array.shape}; give one value for each of {len(steps):,} sequences, or one for "
        f"each of {frames:,} steps"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
