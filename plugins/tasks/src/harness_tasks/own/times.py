"""Columns that order rows in time: whole numbers, other numbers and dates, compared exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness import DataError
from harness_tasks.own.columns import Numbers, is_time, numbers, refuse_missing
from harness_tasks.own.layout import Column, Table
from harness_tasks.own.names import as_list
from harness_tasks.own.plain_types import is_text

Times = npt.NDArray[np.int64] | Numbers
YEAR_FIRST = ((r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", r"\1-\2-\3"), (r"^(\d{4})[-/](\d{1,2})$", r"\1-\2-1"))
"""Patterns for dates such as 2024/01/31 and months such as 2024-01, and their replacements with dashes and a day."""
PADDED = ((r"-(\d)\b", r"-0\1"),)
UNITS = ("us", "ns")
"""Units of dates written as text, in the order in which they are tried: microseconds cover more years."""


def times(table: Table, name: str) -> Times:
    """Return (rows,): numbers that order the rows.  Whole numbers and dates are int64, dates in their own unit."""
    column = table.read(name)
    refuse_missing(table, name, column)
    if is_time(column.type):
        return _ticks(column)
    whole = _cast(lambda: pc.cast(_written_out(column), pa.int64()))
    if whole is not None:
        return _ticks(whole)
    try:
        return numbers(table, name, way_out="give another column as time")
    except DataError:
        dates = _as_dates(column, table.time_format)
        if dates is None:
            raise table.refuse(_no_time(table, name, column)) from None
        return _ticks(dates)


def _no_time(table: Table, name: str, column: Column) -> str:
    value = str(column[0].as_py())[:40]
    if table.time_format is not None:
        return f"time column {name!r}, as {value!r}, is not written as time_format = {table.time_format!r} says"
    return (
        f"time column {name!r} holds neither numbers nor dates with the year first, as 2024-01-31 or 2024/01/31 "
        f"12:00, but {value!r}; say how they are written, time_format = '%d.%m.%Y', or if the rows are in order, "
        f"drop = {as_list(name)}"
    )


def looks_like_dates(table: Table, name: str) -> bool:
    column = table.read(name).slice(0, 100)
    return is_time(column.type) or _as_dates(column, table.time_format) is not None


def _written_out(column: Column) -> Column:
    """Return a dictionary row by row, and text without surrounding blanks."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return pc.utf8_trim_whitespace(column) if is_text(column.type) else column


def _as_dates(column: Column, written: str | None) -> Column | None:
    """Return a column of text as timestamps; None if a value is not a date.  written: the format, as in strptime."""
    text = _written_out(column)
    if not is_text(text.type):
        return None
    if written is not None:
        return _cast(lambda: _strptime(text, written))
    if pc.all(pc.match_substring_regex(text, r"^\d{4}[-/.]\d")).as_py():
        for pattern, with_dashes in (*YEAR_FIRST, *PADDED):
            text = pc.replace_substring_regex(text, pattern=pattern, replacement=with_dashes)
    kinds = [pa.timestamp(unit, tz=zone) for unit in UNITS for zone in (None, "UTC")]
    casts = (_cast(lambda kind=kind: pc.cast(text, kind)) for kind in kinds)  # type: ignore[misc]
    return next((dates for dates in casts if dates is not None), None)


def _strptime(text: Column, written: str) -> Column:
    """Parse dates.  Arrow's strptime lacks %f, so fractions of a second, up to nine digits, are read here."""
    if not written.endswith("%f"):
        return pc.strptime(text, format=written, unit="us")
    parts = pc.extract_regex(text, r"^(?P<whole>.*?)(?P<part>\d{1,9})$")
    whole = pc.strptime(pc.struct_field(parts, "whole"), format=written.removesuffix("%f"), unit="ns")
    part = pc.cast(pc.utf8_rpad(pc.struct_field(parts, "part"), 9, "0"), pa.int64())
    return pc.add(pc.cast(whole, pa.int64()), part)


def _cast(read: Callable[[], Column]) -> Column | None:
    """Return the converted column; None if a value cannot be converted or becomes missing."""
    try:
        dates = read()
    except pa.ArrowException:
        return None
    return None if dates.null_count else dates


def _ticks(column: Column) -> npt.NDArray[np.int64]:
    """Return dates and times of day as counts of their unit."""
    if pa.types.is_date32(column.type) or pa.types.is_time32(column.type):
        column = pc.cast(column, pa.int32())
    return np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)
