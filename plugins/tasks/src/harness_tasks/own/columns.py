"""Convert columns of a user's table to numbers and codes; errors name the first bad row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness_tasks.own.layout import Column, Table
from harness_tasks.own.options import Label
from harness_tasks.own.plain_types import is_text

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class Coded:
    """A column as places in the sorted list of its distinct values."""

    codes: Codes
    labels: tuple[Label, ...]


def numbers(table: Table, name: str, *, way_out: str) -> Numbers:
    """Return (rows,) float64, finite.

    way_out: what to do about a column that cannot be read, for the message.  Raises DataError if a value is missing,
    infinite or not a number.
    """
    values = floats(table, name, way_out=way_out)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        row = int(wrong[0])
        what = "is missing" if np.isnan(values[row]) else "is infinite"
        raise table.refuse(
            f"column {name!r} {what} in row {row + 1:,}{_and_more(len(wrong), len(values))}{_taken(table, name, row)}; "
            f"fill or remove them, or {way_out}"
        )
    return values


def floats(table: Table, name: str, *, way_out: str) -> Numbers:
    """Return (rows,) float64, with NaN for missing values."""
    column = table.read(name)
    if is_time(column.type):
        raise table.refuse(f"column {name!r} holds dates; say time = {name!r} if they order the rows, or {way_out}")
    return np.concatenate([_as_numbers(table, name, chunk, way_out) for chunk in column.chunks] or [np.zeros(0)])


def _and_more(count: int, rows: int) -> str:
    return f" ({count:,} of {rows:,} values are NaN or infinite)" if count > 1 else ""


def _taken(table: Table, name: str, row: int) -> str:
    """Return the word of a CSV file that was read as missing, as part of a message; "" for an empty field."""
    text = "" if table.text_at is None else table.text_at(name, row).strip()
    if not text:
        return ""
    return f", where the file has {text!r}; if that is a value, say missing = '' (only empty fields are missing)"


def is_time(kind: Any) -> bool:
    return bool(pa.types.is_temporal(kind))


def _as_numbers(table: Table, name: str, chunk: Column, way_out: str) -> Numbers:
    """Return a chunk as float64, with NaN for missing values."""
    if pa.types.is_dictionary(chunk.type):
        values: Numbers = np.append(_as_numbers(table, name, chunk.dictionary, way_out), np.nan)
        places: Codes = pc.fill_null(chunk.indices.cast(pa.int64()), len(values) - 1).to_numpy(zero_copy_only=False)
        return values[places]
    if pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type):
        chunk = _parsed(table, name, pc.utf8_trim_whitespace(chunk), way_out)
    try:
        return np.asarray(pc.cast(chunk, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowException as error:
        raise table.refuse(f"column {name!r} holds {chunk.type} values, which are not numbers; {way_out}") from error


def _parsed(table: Table, name: str, text: Column, way_out: str) -> Column:
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid as error:
        lowered = pc.utf8_lower(text)
        if pc.all(pc.is_in(lowered, pa.array(["true", "false"])), skip_nulls=True).as_py():
            return pc.cast(lowered, pa.bool_())
        value = _first_text(text)
        hint = "; if its numbers have a decimal comma, say decimal = ','" if DECIMAL_COMMA.fullmatch(value) else ""
        raise table.refuse(
            f"column {name!r} holds text, as {value[:40]!r}; encode it as numbers, or {way_out}{hint}"
        ) from error


def _first_text(text: Column) -> str:
    """Return the first value that Arrow does not read as a number, such as 1_000."""
    first, count = 0, len(text)
    while count > 1:
        half = count // 2
        if _are_numbers(text.slice(first, half)):
            first, count = first + half, count - half
        else:
            count = half
    return str(text[first].as_py())


def _are_numbers(text: Column) -> bool:
    try:
        pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def holds_text(table: Table, name: str) -> bool:
    """Return whether a column holds names: text that is not numbers, or true and false."""
    column = table.read(name)
    if pa.types.is_boolean(column.type):
        return True
    if not (is_text(column.type) or pa.types.is_dictionary(column.type)):
        return False
    return any(isinstance(label, str | bool) for label in coded(table, name).labels)


def coded(table: Table, name: str) -> Coded:
    """Return codes of numbers in numeric order or of text in character order; text that spells numbers is numbers."""
    column = table.read(name)
    refuse_missing(table, name, column)
    if pa.types.is_decimal(column.type):
        column = _of_decimals(column)
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        labels, codes = np.unique(column.to_numpy(), return_inverse=True)
        return Coded(codes.astype(np.int64), tuple(_whole(labels.tolist())))
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    raw = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks]).astype(np.int64)
    labels_in_order = _spelt(raw)
    rank = sorted(range(len(raw)), key=labels_in_order.__getitem__)
    place = np.empty(len(raw), dtype=np.int64)
    place[rank] = np.arange(len(raw))
    return Coded(place[codes], tuple(labels_in_order[index] for index in rank))


def _of_decimals(column: Column) -> Column:
    """Return decimals as int64 if all are whole; as text if they are whole and too long; else as float64."""
    try:
        return pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        return pc.cast(column, pa.string() if column.type.scale <= 0 else pa.float64())


def _whole(values: list[Any]) -> list[Label]:
    """Return numbers, as integers if all are whole."""
    return [int(value) for value in values] if all(float(value).is_integer() for value in values) else values


def _spelt(raw: list[Any]) -> list[Any]:
    """Return labels as numbers if every text is the usual spelling of a number: '7', not '007'."""
    for kind in (int, float):
        try:
            read = [kind(value) for value in raw]
        except (TypeError, ValueError):
            continue
        if all(isinstance(value, str) for value in raw) and [str(value) for value in read] == raw:
            return read
    return raw if all(isinstance(value, bool | str) for value in raw) else [str(value) for value in raw]


def refuse_missing(table: Table, name: str, column: Column) -> None:
    """Raise DataError if a column has a missing value."""
    missing = column.is_null(nan_is_null=True)
    count = int(pc.sum(missing).as_py() or 0)
    if count:
        row = int(pc.index(missing, True).as_py())
        raise table.refuse(
            f"column {name!r} is missing in row {row + 1:,}{_and_more(count, len(column))}{_taken(table, name, row)}; "
            "fill or remove such rows"
        )


def as_written(table: Table, name: str, rows: Codes) -> list[Any]:
    """Return a column's values in these rows: dates as dates, text that spells numbers as numbers."""
    column = table.read(name)
    if is_time(column.type):
        return list(column.take(rows).to_pandas())
    column = coded(table, name)
    return [column.labels[code] for code in column.codes[rows].tolist()]
