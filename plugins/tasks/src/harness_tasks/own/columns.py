"""Columns of a user's table → numbers, codes and times; what is not such is refused with its first row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness import DataError
from harness_tasks.own.layout import Column, Table
from harness_tasks.own.options import Label

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
YEAR_FIRST = ((r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", r"\1-\2-\3"), (r"^(\d{4})[-/](\d{1,2})$", r"\1-\2-1"))
"""Dates as 2024/01/31 and months as 2024-01 → the former as 2024-01-31."""
PADDED = ((r"-(\d)\b", r"-0\1"),)


@dataclass(frozen=True)
class Coded:
    """A column as places in the sorted list of what occurs in it."""

    codes: Codes
    labels: tuple[Label, ...]


def numbers(table: Table, name: str, *, way_out: str) -> Numbers:
    """(rows,) float64, finite.  way_out: what to do about a column that cannot be read so, for the message."""
    values = floats(table, name, way_out=way_out)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        what = "is missing" if np.isnan(values[wrong[0]]) else "is infinite"
        raise table.refuse(
            f"column {name!r} {what} in row {wrong[0] + 1:,}{_and_more(len(wrong), len(values))}; fill or remove them, "
            f"or {way_out}"
        )
    return values


def floats(table: Table, name: str, *, way_out: str) -> Numbers:
    """(rows,) float64, NaN where a row has no value."""
    column = _chunked(table.read(name))
    if _is_time(column.type):
        raise table.refuse(f"column {name!r} holds dates; say time = {name!r} if they order the rows, or {way_out}")
    return np.concatenate([_as_numbers(table, name, chunk, way_out) for chunk in column.chunks] or [np.zeros(0)])


def _and_more(count: int, rows: int) -> str:
    return f" ({count:,} of {rows:,} values are NaN or infinite)" if count > 1 else ""


def _chunked(column: Column) -> Column:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _as_numbers(table: Table, name: str, chunk: Column, way_out: str) -> Numbers:
    """A chunk as float64, NaN where it has no value."""
    if pa.types.is_dictionary(chunk.type):
        values: Numbers = np.append(_as_numbers(table, name, chunk.dictionary, way_out), np.nan)
        places: Codes = pc.fill_null(chunk.indices.cast(pa.int64()), len(values) - 1).to_numpy(zero_copy_only=False)
        return values[places]
    if pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type):
        chunk = _parsed(table, name, pc.utf8_trim_whitespace(chunk), way_out)
    try:
        return np.asarray(pc.cast(chunk, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowException as error:
        raise table.refuse(f"column {name!r} holds {chunk.type} values, which are no numbers; {way_out}") from error


def _parsed(table: Table, name: str, text: Column, way_out: str) -> Column:
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid as error:
        lowered = pc.utf8_lower(text)
        if pc.all(pc.is_in(lowered, pa.array(["true", "false"])), skip_nulls=True).as_py():
            return pc.cast(lowered, pa.bool_())
        value = next(value for value in text.to_pylist() if value is not None and not _is_number(value))
        hint = "; if its numbers have a decimal comma, say decimal = ','" if DECIMAL_COMMA.fullmatch(value) else ""
        raise table.refuse(
            f"column {name!r} holds text, as {value[:40]!r}; encode it as numbers, or {way_out}{hint}"
        ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def holds_text(table: Table, name: str) -> bool:
    """Whether a column names things: text that is no number, or true and false."""
    column = _chunked(table.read(name))
    if pa.types.is_boolean(column.type):
        return True
    text = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
        return False
    return any(isinstance(label, str | bool) for label in coded(table, name).labels)


def coded(table: Table, name: str) -> Coded:
    """Numbers in their order, text in that of its characters; text that spells numbers counts as those."""
    column = _chunked(table.read(name))
    _refuse_missing(table, name, column)
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        labels, codes = np.unique(column.to_numpy(), return_inverse=True)
        return Coded(codes.astype(np.int64), tuple(_whole(labels.tolist())))
    if pa.types.is_nested(column.type):
        raise table.refuse(f"column {name!r} holds {column.type} values; give one value a row")
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


def _whole(values: list[Any]) -> list[Label]:
    """Numbers, the whole ones as such where all are."""
    return [int(value) for value in values] if all(float(value).is_integer() for value in values) else values


def _spelt(raw: list[Any]) -> list[Any]:
    """Labels as numbers where every text is how a number is written: '7', not '007'."""
    for kind in (int, float):
        try:
            read = [kind(value) for value in raw]
        except (TypeError, ValueError):
            continue
        if all(isinstance(value, str) for value in raw) and [str(value) for value in read] == raw:
            return read
    return raw if all(isinstance(value, bool | str) for value in raw) else [str(value) for value in raw]


def _refuse_missing(table: Table, name: str, column: Column) -> None:
    missing = column.is_null(nan_is_null=True)
    count = int(pc.sum(missing).as_py() or 0)
    if count:
        row = int(pc.index(missing, True).as_py())
        raise table.refuse(
            f"column {name!r} is missing in row {row + 1:,}{_and_more(count, len(column))}; fill or remove such rows"
        )


def as_told(table: Table, name: str, rows: Codes) -> list[Any]:
    """A column's values in these rows as the user knows them: dates as such, text that spells numbers as those."""
    column = _chunked(table.read(name))
    if _is_time(column.type):
        return list(column.take(rows).to_pandas())
    found = coded(table, name)
    return [found.labels[code] for code in found.codes[rows].tolist()]


def times(table: Table, name: str) -> npt.NDArray[np.int64] | Numbers:
    """(rows,) numbers that order the rows: dates as microseconds."""
    column = _chunked(table.read(name))
    _refuse_missing(table, name, column)
    if _is_time(column.type):
        return _microseconds(column)
    try:
        return numbers(table, name, way_out="give another column as time")
    except DataError:
        dates = _as_dates(column, table.time_format)
        if dates is None:
            raise table.refuse(_no_time(table, name, column)) from None
        return _microseconds(dates)


def _no_time(table: Table, name: str, column: Column) -> str:
    value = str(column[0].as_py())[:40]
    if table.time_format is not None:
        return f"time column {name!r}, as {value!r}, is not written as time_format = {table.time_format!r} says"
    return (
        f"time column {name!r} holds neither numbers nor dates with the year first, as 2024-01-31 or 2024/01/31 "
        f"12:00, but {value!r}; say how they are written, time_format = '%d.%m.%Y', or if the rows are in order, "
        f"drop = {name!r}"
    )


def looks_like_dates(table: Table, name: str) -> bool:
    column = _chunked(table.read(name)).slice(0, 100)
    return _is_time(column.type) or _as_dates(column, table.time_format) is not None


def _is_time(kind: Any) -> bool:
    return bool(pa.types.is_temporal(kind))


def _as_dates(column: Column, written: str | None) -> Column | None:
    """A column of text as timestamps; None where some of it is no date.  written: how, as strptime has it."""
    text = pc.cast(column, pa.string())
    if written is not None:
        return _cast(lambda: pc.strptime(text, format=written, unit="us"))
    if pc.all(pc.match_substring_regex(text, r"^\d{4}[-/.]\d")).as_py():
        for pattern, with_dashes in (*YEAR_FIRST, *PADDED):
            text = pc.replace_substring_regex(text, pattern=pattern, replacement=with_dashes)
    found = _cast(lambda: pc.cast(text, pa.timestamp("us")))
    return _cast(lambda: pc.cast(text, pa.timestamp("us", tz="UTC"))) if found is None else found


def _cast(read: Callable[[], Column]) -> Column | None:
    try:
        return read()
    except pa.ArrowException:
        return None


def _microseconds(column: Column) -> npt.NDArray[np.int64]:
    if pa.types.is_date(column.type):
        column = pc.cast(column, pa.timestamp("us"))
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("us", tz=column.type.tz), safe=False)
    return np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)
