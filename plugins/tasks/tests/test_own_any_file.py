"""Any file that pandas, pyarrow or NumPy can write is a task, or is refused in one line: no traceback.

Frames over all types, names and encodings.  `HARNESS_EXAMPLES=2000` tries more than the gate does.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as papq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import HarnessError
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import SEEDS

EXAMPLES = int(os.environ.get("HARNESS_EXAMPLES", "40"))
"""Files of each kind that are tried."""
tried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
ROWS = st.sampled_from([1, 3, 90, 90, 90])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NAMES = st.one_of(
    st.sampled_from(["a", "a.b", "y", "t", "id", "", " a ", "RH, %", "b\nc", 'q"', "x-0", "0", "ü", "#", "1"]), TEXT
)


def told(options: dict[str, Any], folder: Path) -> str:
    """The line that refuses the file; empty where it is a task, whose own file can then be predicted on."""
    try:
        task = OwnArrays(**options)
        task.signature(), task.metrics(), task.floor(), task.training_sequences()
        assert all("\n" not in note for note in task.notes()), task.notes()
        for split in ("train", "validation", "test"):
            task.load(split, SEEDS, {})
        examples = task.examples(Path(task.data), {})
        answers = len(examples) if task.signature().readout == "last" else _steps(examples)
        assert len(task.answers(torch.zeros(answers, task.signature().out_features), Path(task.data), {})) == answers
    except HarnessError as error:
        return str(error)
    return ""


def _steps(examples: Any) -> int:
    inputs = examples.inputs
    return len(inputs) if inputs.ndim == 2 else inputs.shape[0] * inputs.shape[1]


def check(options: dict[str, Any], folder: Path) -> None:
    line = told(options, folder)
    assert "\n" not in line, line
    assert line == "" or str(folder) in line, line


def of(values: Callable[[int], Any], kind: pa.DataType) -> Callable[[int], pa.Array]:
    return lambda rows: pa.array([values(row) for row in range(rows)], kind)


class Opaque(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """An extension that nobody registered."""

    def __init__(self) -> None:
        super().__init__(pa.int16(), "tests.opaque")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""


DAY = datetime.datetime(2024, 1, 1)
MOMENTS: dict[str, Callable[[int], pa.Array]] = {
    **{
        f"timestamp {unit} {zone}": of(lambda row: DAY + datetime.timedelta(hours=row), pa.timestamp(unit, zone))
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "UTC", "Europe/Berlin", "+05:30")
    },
    "date32": of(lambda row: DAY.date() + datetime.timedelta(days=row), pa.date32()),
    "date64": of(lambda row: DAY.date() + datetime.timedelta(days=row), pa.date64()),
    "time32": of(lambda row: datetime.time(row % 24, row % 60), pa.time32("s")),
    "time64": of(lambda row: datetime.time(row % 24, row % 60, 1), pa.time64("ns")),
    "duration": of(lambda row: datetime.timedelta(seconds=row), pa.duration("ns")),
}
TYPES: dict[str, Callable[[int], pa.Array]] = {
    **MOMENTS,
    **{str(kind): of(lambda row: row % 100, kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(kind): of(lambda row: row % 200, kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32())},
    "uint64": of(lambda row: 2**64 - 1 - row, pa.uint64()),
    "half": lambda rows: pa.array(np.arange(rows).astype(np.float16)),
    "float": of(lambda row: row / 7, pa.float32()),
    "double": of(lambda row: [1.5, -2.0, 1e308, float("nan")][row % 4], pa.float64()),
    "infinite": of(lambda row: float("inf") if row == 2 else row, pa.float64()),
    "large numbers": of(lambda row: 1e30 * row, pa.float64()),
    "bool": of(lambda row: row % 2 == 0, pa.bool_()),
    "null": pa.nulls,
    "holes": of(lambda row: None if row % 5 == 0 else row, pa.int32()),
    "decimal32": of(lambda row: decimal.Decimal(row) / 4, pa.decimal32(8, 2)),
    "decimal128": of(decimal.Decimal, pa.decimal128(38, 0)),
    "decimal256": of(lambda row: decimal.Decimal(10) ** 50 + row, pa.decimal256(60, 0)),
    **{
        str(kind): of(lambda row: "abc"[row % 3], kind)
        for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string()))
    },
    "numbers as text": of(str, pa.string()),
    "dates as text": of(lambda row: str(DAY + datetime.timedelta(days=row)), pa.string_view()),
    "any text": of(lambda row: ["", " ", "\n", "é", "\0", "nan"][row % 6], pa.string()),
    **{
        str(kind): of(lambda row: b"xyz"[row % 3 :] + b"xyz"[: row % 3], kind)
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3))
    },
    "bytes": of(lambda row: bytes([255, row % 7]), pa.binary()),
    "categories of numbers": lambda rows: pa.array([row % 3 for row in range(rows)]).dictionary_encode(),
    "categories of dates": lambda rows: MOMENTS["timestamp ms None"](rows).dictionary_encode(),
    "list": of(lambda row: [row], pa.list_(pa.int8())),
    "struct": of(lambda row: {"x": row}, pa.struct([("x", pa.int64())])),
    "map": of(lambda row: [("x", row)], pa.map_(pa.string(), pa.int64())),
    "uuid": lambda rows: pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=row % 3).bytes for row in range(rows)], pa.binary(16))
    ),
    "json": lambda rows: pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1"] * rows)),
    "bool8": lambda rows: pa.ExtensionArray.from_storage(
        pa.bool8(), pa.array([row % 2 for row in range(rows)], pa.int8())
    ),
    "extension": lambda rows: pa.ExtensionArray.from_storage(Opaque(), pa.array(range(rows), pa.int16())),
    "random": lambda rows: pa.array(np.random.default_rng(rows).normal(size=rows)),
}


def options_for(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    column = st.one_of(st.none(), st.sampled_from(names))
    return {
        "target": draw(st.sampled_from(names)),
        "sequence": draw(column),
        "time": draw(column),
        "horizon": draw(st.sampled_from([0, 0, 1, 3])),
        "kind": draw(st.sampled_from(["auto", "auto", "classification", "regression"])),
        "readout": draw(st.sampled_from(["auto", "auto", "last", "each"])),
        "split": draw(st.sampled_from(["auto", "auto", "ordered"])),
        "drop": draw(st.sampled_from(["", *(name for name in names if "," not in name and '"' not in name)])),
    }


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, dict[str, Any]]:
    """A table over all of Arrow's types, and options for its columns."""
    rows = draw(ROWS)
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=draw(st.booleans())))
    kinds = [draw(st.sampled_from([*TYPES, "random", "random", "double"])) for _ in names]
    table = pa.Table.from_arrays([TYPES[kind](rows) for kind in kinds], names=names)
    options = options_for(draw, names)
    if draw(st.booleans()):  # a sequence to each of the rows' tens, and a time in it
        extra = [
            ("seq", pa.array([f"s{row // 6:03}" for row in range(rows)])),
            ("when", TYPES[draw(st.sampled_from([*MOMENTS]))](rows)),
        ]
        for name, array in extra:
            table = table.append_column(name, array)
        options |= {"sequence": "seq", "time": draw(st.sampled_from([None, "when"]))}
    if draw(st.sampled_from([False, False, False, True])):
        options |= {"wide": True, "time": None}
    return table, options


@tried
@given(drawn=tables(), codec=st.sampled_from(["none", "snappy", "zstd"]), data=st.data())
def test_any_parquet_file_is_a_task_or_one_line(
    drawn: tuple[pa.Table, dict[str, Any]], codec: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table, options = drawn
    folder = tmp_path_factory.mktemp("any")
    group = data.draw(st.sampled_from([1, 40, 1000]))
    try:
        papq.write_table(table, folder / "x.parquet", compression=codec, row_group_size=group)
    except (pa.ArrowException, OSError):
        return  # a type that this pyarrow does not write
    check({"data": str(folder / "x.parquet"), **options}, folder)


ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "shift-jis")


@tried
@given(drawn=tables(), encoding=st.sampled_from(ENCODINGS), data=st.data())
def test_any_csv_file_is_a_task_or_one_line(
    drawn: tuple[pa.Table, dict[str, Any]], encoding: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table, options = drawn
    folder = tmp_path_factory.mktemp("any")
    ending, usual = data.draw(st.sampled_from([("csv", ","), ("tsv", "\t")]))
    delimiter = data.draw(st.sampled_from([usual, usual, ";", " ", "|"]))
    header = data.draw(st.sampled_from([True, True, False]))
    try:
        frame = pd.DataFrame({place: column.to_pandas() for place, column in enumerate(table.columns)})
        frame.columns = pd.Index(table.column_names)
        text = frame.to_csv(
            index=data.draw(st.sampled_from([False, False, True])),
            sep=delimiter,
            header=header,
            quoting=data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
            lineterminator=data.draw(st.sampled_from(["\n", "\r\n", "\r"])),
            decimal=(decimal_point := data.draw(st.sampled_from([".", ".", ","]))),
        )
    except (ValueError, TypeError, ArithmeticError, NotImplementedError, pa.ArrowException, csv.Error):
        return  # what pandas does not write
    path = folder / f"x.{ending}"
    path.write_bytes(text.encode(encoding, errors="replace"))
    said = {"header": header, "decimal": decimal_point, "missing": data.draw(st.sampled_from([None, "", "b,1"]))}
    check({"data": str(path), **options, **said, "delimiter": data.draw(st.sampled_from([None, delimiter]))}, folder)


DTYPES = (
    *("?", "b", "B", "i2", ">i2", "i4", ">u4", "i8", ">i8", "u8", "f2", ">f2", "f4", ">f4", "f8", ">f8", "g", "F", "D"),
    *("U3", ">U3", "S4", "V2", "M8[s]", ">M8[ns]", "M8[D]", "M8[Y]", "M8[ps]", "M8[as]", "m8[s]", "m8[D]", "m8"),
)
SHAPES = ((90,), (90, 3), (60, 5, 2), (60, 5), (60, 1, 1), (0,), (0, 3), (5, 0), (60, 0, 2), (), (2, 2, 2, 2))


def filled(shape: tuple[int, ...], kind: str, *, fortran: bool, nan: bool) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(len(kind))
    numbers = random.integers(0, 100, size=shape)
    with np.errstate(all="ignore"):
        if kind[:2] in ("U3", ">U", "S4"):
            array = numbers.astype(kind)
        elif kind == "V2":
            array = np.zeros(shape, dtype="V2")
        else:
            array = numbers.astype(kind.replace(">", "").partition("[")[0] if kind[0] not in ">Mm" else "i8").astype(
                kind
            )
    if nan and array.dtype.kind == "f" and array.ndim > 1 and array.size:
        array[: len(array) // 2, -1] = np.nan
    return np.asfortranarray(array) if fortran else array


@tried
@given(
    kind=st.sampled_from(DTYPES),
    shape=st.sampled_from(SHAPES),
    fortran=st.booleans(),
    nan=st.booleans(),
    layout=st.sampled_from(["npy", "npz", "npz", "npz.", "structured"]),
    answers=st.sampled_from(DTYPES),
    data=st.data(),
)
def test_any_numpy_file_is_a_task_or_one_line(
    kind: str,
    shape: tuple[int, ...],
    fortran: bool,
    nan: bool,
    layout: str,
    answers: str,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    x = filled(shape, kind, fortran=fortran, nan=nan)
    path, target = folder / f"x.{layout[:3]}", "y"
    if layout == "npy":
        np.save(path, x)
        target = data.draw(st.sampled_from(["0", "1", "x"]))
    elif layout == "structured":
        path = folder / "x.npy"
        record = np.zeros(90, dtype=[("a", "f8"), ("b", kind), ("c", answers), ("d", "f4", 2)])
        record["a"] = np.random.default_rng(0).normal(size=90)
        record["b"] = filled((90,), kind, fortran=False, nan=False)
        np.save(path, record)
        target = data.draw(st.sampled_from(["a", "b", "c", "d"]))
    else:
        length = shape[0] if shape else 1
        y_shape = data.draw(st.sampled_from([(length,), shape[:2], shape, (), (7,)]))
        more = data.draw(
            st.sampled_from([{}, {"lengths": np.full(length, 3, dtype=">i2")}, {"step": np.zeros(length)}])
        )
        np.savez(path, x=x, y=filled(y_shape, answers, fortran=False, nan=False), **more)
        if layout == "npz.":  # a member that is no array
            buffer = io.BytesIO(path.read_bytes())
            import zipfile

            with zipfile.ZipFile(buffer, "a") as archive:
                archive.writestr("notes.txt", "measured in May")
            path.write_bytes(buffer.getvalue())
    options = {
        "target": target,
        "horizon": data.draw(st.sampled_from([0, 1])),
        "kind": data.draw(st.sampled_from(["auto", "classification"])),
    }
    check({"data": str(path), **options}, folder)


@tried
@given(ending=st.sampled_from(["npz", "npy", "parquet", "csv"]), cut=st.floats(0, 1), flip=st.integers(0, 255))
def test_any_damaged_file_is_a_task_or_one_line(
    ending: str, cut: float, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / f"x.{ending}"
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=200), "y": random.normal(size=200)})
    if ending == "npz":
        np.savez(path, x=random.normal(size=(60, 5, 2)), y=np.arange(60))
    elif ending == "npy":
        np.save(path, frame.to_numpy())
    else:
        frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    content = bytearray(path.read_bytes())
    place = min(int(cut * len(content)), len(content) - 1)
    content[place] ^= flip
    path.write_bytes(bytes(content) if flip % 2 else bytes(content[: place + 1]))
    check({"data": str(path), "target": "1" if ending == "npy" else "y"}, folder)
