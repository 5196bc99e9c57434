"""Convert columns of any Arrow or NumPy type to the few types that the rest of this package reads.

These are: numbers, booleans, text (plain or as a dictionary), dates and times. Text views, bytes, categories of any
type, durations, extension types, half precision and byte orders of other machines become one of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness_tasks.own.layout import Array, Column

DATE_UNITS = {"s": "s", "ms": "ms", "us": "us", "ns": "ns", "Y": "s", "M": "s", "W": "s", "D": "s", "h": "s", "m": "s"}
"""Unit of a NumPy date → unit of the Arrow date."""


class UnreadableError(Exception):
    """A column has a type that cannot be read; the message is the rest of a sentence about the column."""


def plain(column: Column) -> Column:
    """Return a chunked array of a plain type.

    Raises UnreadableError if its values are not single numbers or texts.
    """
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(_storage(column))
    if pa.types.is_nested(kind):
        raise UnreadableError(f"holds {kind} values; write one row per time step")
    if pa.types.is_dictionary(kind):
        return _dictionary(column)
    if is_text(kind) or _is_binary(kind):
        return _text(column)
    if pa.types.is_null(kind):
        return pc.cast(column, pa.float64())
    if pa.types.is_float16(kind):
        return pc.cast(column, pa.float32())
    if pa.types.is_duration(kind):
        return pc.cast(column, pa.int64())
    if kind in (pa.month_day_nano_interval(),):
        raise UnreadableError(f"holds {kind} values; write them as numbers of one unit")
    return column


def is_text(kind: Any) -> bool:
    """Return whether a type is text of any layout."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _storage(column: Column) -> Column:
    """Return the values that an extension type stores; a UUID becomes text."""
    if column.type.extension_name == "arrow.uuid":
        return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _dictionary(column: Column) -> Column:
    """Keep a dictionary of text, which saves memory for names of sequences; decode other values."""
    values = column.type.value_type
    if pa.types.is_string(values) or pa.types.is_large_string(values):
        return column
    decoded = plain(pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], values))
    return decoded.dictionary_encode() if is_text(decoded.type) else decoded


def _text(column: Column) -> Column:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    if pa.types.is_fixed_size_binary(column.type):
        column = pc.cast(column, pa.binary())
    try:
        return pc.cast(column, pa.large_string())
    except pa.ArrowInvalid as error:
        raise UnreadableError("holds bytes that are not UTF-8 text; write it as text or as numbers") from error


def from_numpy(array: Array) -> Column:
    """Return a one-dimensional NumPy array of any type as an Arrow array.  Raises UnreadableError as `plain` does."""
    kind = array.dtype.kind
    if kind == "c":
        raise UnreadableError("holds complex numbers; give the real and the imaginary part in two columns")
    if kind in "OV" or array.ndim != 1:
        raise UnreadableError(f"holds values of the type {array.dtype}; give one number or text per row")
    if kind in "mM":
        return _dates(array)
    if kind == "f" and array.dtype.itemsize not in (4, 8):  # half and extended precision
        array = array.astype(np.float32 if array.dtype.itemsize == 2 else np.float64)
    return pa.array(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _dates(array: Array) -> Column:
    """Return dates and durations; if their unit is finer than a nanosecond, as counts."""
    unit, _ = np.datetime_data(array.dtype)
    if unit not in DATE_UNITS:
        counts = array.astype(array.dtype.newbyteorder("=")).view(np.int64)
        return pa.array(counts, mask=np.isnat(array))
    name = "datetime64" if array.dtype.kind == "M" else "timedelta64"
    return pa.array(np.ascontiguousarray(array.astype(f"{name}[{DATE_UNITS[unit]}]")))
