"""A CSV file, streamed into a Parquet file, so that at most one column is in memory at once."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as papq

from harness import DataError
from harness_tasks.own.layout import Column, Layout
from harness_tasks.own.options import TAB

BLOCK_BYTES = 1 << 22
FAILED_COLUMN = re.compile(r"In CSV column #(\d+): (?:Row #\d+: )?CSV conversion error")


class CsvFile:
    """A CSV file.  Columns are numbered from 0; `names` are the names in its header."""

    def __init__(self, path: Path, layout: Layout) -> None:
        usual = "," if path.suffix.lower() == ".csv" else TAB
        delimiter = usual if layout.delimiter is None else layout.delimiter
        if len(delimiter) != 1 or delimiter in '"\r\n' or ord(delimiter) > 127:
            raise DataError(
                f"{path}: delimiter is {delimiter!r}; it must be one character such as ';', or tab or space"
            )
        self.path = path
        self._layout = replace(layout, delimiter=delimiter)
        fields = _first_record(path, delimiter)
        self.names = _header(path, delimiter, fields) if layout.header else tuple(map(str, range(len(fields))))

    def store(self, target: Path) -> None:
        """Write the Parquet file.  Raises DataError if rows have different numbers of fields."""
        kinds: dict[int, Any] = {}
        try:
            kinds |= {place: pa.string() for place in self._with_leading_zeros()}
            if self._layout.time_format is not None and self._layout.time in self.names:
                kinds[self.names.index(self._layout.time)] = pa.string()
            while (column := self._text_among_numbers(target, kinds)) is not None:
                # Text is read as numbers later, but not with a decimal comma.
                again = self._layout.decimal == "." or column in kinds
                kinds[column] = pa.string() if again else pa.float64()
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.path}: {_fault(error)}") from error

    def text_at(self, name: str, row: int) -> str:
        """Return the text of a field as the file has it; rows are counted from 0."""
        place = self.names.index(name)
        with self._blocks({place: pa.string()}, missing=(), only=place) as blocks:
            for block in blocks:
                if row < block.num_rows:
                    return block.column(0)[row].as_py() or ""
                row -= block.num_rows
        return ""

    def _text_among_numbers(self, target: Path, kinds: Mapping[int, Any]) -> int | None:
        """Stream into a Parquet file.  Return a column whose later values differ in type, or None."""
        try:
            blocks = self._blocks(kinds, missing=self._layout.missing)
            schema = pa.schema(
                [pa.field(name, kind) for name, kind in zip(self.names, blocks.schema.types, strict=True)]
            )
            with blocks, papq.ParquetWriter(target, schema) as writer:
                for block in blocks:
                    columns = [self._trimmed(column) for column in block.columns]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        except pa.ArrowInvalid as error:
            column = FAILED_COLUMN.match(str(error))
            if column is None or "UTF8" in str(error):
                raise
            return int(column[1])
        return None

    def _trimmed(self, column: Column) -> Column:
        """Return text without surrounding blanks, which some programs write after each delimiter."""
        if not pa.types.is_string(column.type):
            return column
        column = pc.utf8_trim_whitespace(column)
        missing = pc.is_in(column, pa.array(["", *self._layout.missing]))
        return pc.if_else(missing, pa.scalar(None, pa.string()), column)

    def _blocks(self, kinds: Mapping[int, Any], *, missing: tuple[str, ...], only: int | None = None) -> Any:
        """Return a reader of blocks.  kinds: column → type, if not inferred from the first block."""
        names = [str(place) for place in range(len(self.names))]
        return pacsv.open_csv(
            self.path,
            pacsv.ReadOptions(
                block_size=BLOCK_BYTES,
                use_threads=False,
                column_names=names,
                skip_rows_after_names=int(self._layout.header),
            ),
            pacsv.ParseOptions(delimiter=self._layout.delimiter, newlines_in_values=True),
            pacsv.ConvertOptions(
                column_types={str(place): kind for place, kind in kinds.items()},
                strings_can_be_null=True,
                null_values=["", *missing],
                decimal_point=self._layout.decimal,
                include_columns=None if only is None else [str(only)],
            ),
        )

    def _with_leading_zeros(self) -> list[int]:
        """Return the columns whose first block has names such as 007, which are not numbers."""
        with self._blocks(dict.fromkeys(range(len(self.names)), pa.string()), missing=()) as blocks:
            block = next(iter(blocks), None)
        columns = () if block is None else block.columns
        return [
            place
            for place, column in enumerate(columns)
            if pc.any(pc.match_substring_regex(column, "^[+-]?0[0-9]")).as_py()
        ]


def _fault(error: Exception) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0].removeprefix("CSV parse error: ")
    if "UTF8" in text:
        return f"is not UTF-8 text ({text}); save it as UTF-8"
    if "straddling" in text:
        return f"has a quotation mark that is not closed ({text}); write it twice if it is part of a value"
    return f"its rows have different numbers of fields ({text}); quote fields that contain the delimiter"


def _first_record(path: Path, delimiter: str) -> list[str]:
    """Return the fields of the first line.  Raises DataError if it is not text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            record = next(_records(file, delimiter), [])
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: is not UTF-8 text ({error.reason} at byte {error.start:,}); save it as UTF-8"
            ) from error
        except csv.Error as error:
            raise DataError(
                f"{path}: its first line cannot be read ({error}); check that its quotation marks are closed"
            ) from error
    if any("\0" in field for field in record):
        raise DataError(f"{path}: is not UTF-8 text (it has zero bytes, as UTF-16 has); save it as UTF-8")
    return record


def _records(file: Any, delimiter: str) -> Iterator[list[str]]:
    return (record for record in csv.reader(file, delimiter=delimiter) if record)


def _header(path: Path, delimiter: str, fields: list[str]) -> tuple[str, ...]:
    """Return the names of the columns.  Raises DataError if the first line has none, or another delimiter."""
    first = delimiter.join(fields)
    if first.startswith("#"):
        raise DataError(
            f"{path}: its first line is a comment, {first[:40]!r}, but it must name the columns; remove the comment"
        )
    names = [field.strip().strip('"') for field in fields]
    other = next((mark for mark in ";\t|," if mark != delimiter and first.count(mark) > 0), None)
    if other is None and len(first.split()) > 1 and all(map(_is_number, first.split())):
        other = " "
    if len(names) == 1 and other is not None:
        mark = {TAB: "tab", " ": "space"}.get(other, other)
        raise DataError(f"{path}: has one column, {first[:40]!r}; is {mark!r} the delimiter? Say delimiter = {mark!r}")
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path}: its first line is {first[:40]!r}, but it must name the columns; add such a line, or say "
            "header = false to call them 0, 1, …"
        )
    return tuple(names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
