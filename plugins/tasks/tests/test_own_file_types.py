"""Files as other programs write them: number types, names, times, text and padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as papq
import pytest
import torch

from harness import DataError, Ragged
from harness.api.dataset import SPLITS
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import CLASSES, arrays, load, of_series, pieces, sequences, series, written

SEQUENCES = {"target": "kind", "sequence": "id", "time": "t", "drop": "level"}
SERIES = {"target": "heat", "time": "when", "horizon": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def parquet(path: Path, columns: dict[str, Any]) -> str:
    papq.write_table(pa.table(columns), path)
    return str(path)


def same_splits(first: OwnArrays, second: OwnArrays) -> bool:
    return all(
        np.allclose(left, right, atol=1e-5)
        for split in SPLITS
        for left, right in zip(pieces(first, split), pieces(second, split), strict=True)
    )


NANOSECONDS = 1_700_000_000_000_000_000 + 64 * np.arange(400)
TIMES: dict[str, Callable[[Path], str]] = {
    "whole numbers": lambda folder: written(series().assign(when=NANOSECONDS), folder / "x.csv"),
    "unsigned": lambda folder: written(series().assign(when=NANOSECONDS.astype(np.uint64)), folder / "x.parquet"),
    "text of whole numbers": lambda folder: written(
        series().assign(when=NANOSECONDS.astype(str)), folder / "x.parquet"
    ),
    "dates": lambda folder: written(series().assign(when=pd.to_datetime(NANOSECONDS)), folder / "x.parquet"),
    "text of dates": lambda folder: written(series().assign(when=pd.to_datetime(NANOSECONDS)), folder / "x.csv"),
    "decimals": lambda folder: parquet(
        folder / "x.parquet",
        {**series().drop(columns="when"), "when": pa.array(NANOSECONDS).cast(pa.decimal128(19, 0))},
    ),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_are_told_apart_to_the_nanosecond(kind: str, tmp_path: Path) -> None:
    task = OwnArrays(data=TIMES[kind](tmp_path), **SERIES)
    assert task.training_sequences() == 28
    shuffled = series().assign(when=NANOSECONDS).sample(frac=1, random_state=0)
    other = OwnArrays(data=written(shuffled, tmp_path / "shuffled.csv"), **SERIES)
    assert same_splits(task, other)


def test_fractions_of_a_second_have_a_format(tmp_path: Path) -> None:
    stamps = pd.date_range("2025-01-01", periods=400, freq="us").strftime("%d.%m.%Y %H:%M:%S.%f")
    path = written(series().assign(when=stamps), tmp_path / "x.csv")
    with pytest.raises(DataError, match="holds neither numbers nor dates"):
        OwnArrays(data=path, **SERIES).signature()
    assert OwnArrays(data=path, **SERIES, time_format="%d.%m.%Y %H:%M:%S.%f").training_sequences() == 28


HEADERS = {
    "delimiters in names": lambda text: text.replace("id,t,a,b,", 'id,t,"a, %","b ""raw"", C",', 1),
    "a line break in a name": lambda text: text.replace("id,t,a,b,", 'id,t,a,"b\nvalue",', 1),
    "blanks in the header": lambda text: text.replace("id,t,a,b,kind", "id , t , a , b , kind ", 1),
    "blanks everywhere": lambda text: text.replace(",", ", "),
    "leading zeros in one column": lambda text: text.replace("s0", "00").replace("id,t,a,b,", '"id",t,a,"b, C",', 1),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_header_is_read_as_csv_whatever_stands_in_it(kind: str, tmp_path: Path) -> None:
    plain = OwnArrays(data=written(sequences(), tmp_path / "plain.csv"), **SEQUENCES)
    (tmp_path / "x.csv").write_text(HEADERS[kind](sequences().to_csv(index=False)))
    task = OwnArrays(data=str(tmp_path / "x.csv"), **SEQUENCES)
    assert task._facts().classes == CLASSES
    assert same_splits(task, plain)


def test_name_with_a_comma_is_dropped_in_quotation_marks(tmp_path: Path) -> None:
    table = series().rename(columns={"wind": "RH, %"})
    path = written(table.assign(**{"text, x": "much"}), tmp_path / "x.csv")
    with pytest.raises(DataError, match="drop = '\"text, x\"'"):
        OwnArrays(data=path, **SERIES).signature()
    task = OwnArrays(data=path, **SERIES, drop='"text, x"')
    assert task._facts().inputs == ("RH, %", "heat")


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "big endian": lambda x: x.astype(">f4"),
    "extended": lambda x: x.astype(np.longdouble),
    "half": lambda x: (64 * x).round().clip(-2000, 2000).astype(np.float16),
    "small integers": lambda x: (10 * x).clip(-120, 120).astype(np.int8),
    "transposed in memory": np.asfortranarray,
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_numbers_of_any_width_and_byte_order_are_the_same_numbers(kind: str, ending: str, tmp_path: Path) -> None:
    x = NUMBERS[kind](np.random.default_rng(0).normal(size=(60, 8, 2)))
    plain = x.astype("<f8")
    if ending == "npz":
        y = np.arange(60.0)
        first, second = (
            OwnArrays(data=arrays(tmp_path, {"x": values, "y": answers}, f"{name}.npz"), target="y")
            for name, values, answers in (("one", x, y.astype(">f8")), ("other", plain, y))
        )
    else:
        np.save(tmp_path / "one.npy", x.reshape(480, 2))
        np.save(tmp_path / "other.npy", plain.reshape(480, 2))
        first, second = (OwnArrays(data=str(tmp_path / f"{name}.npy"), target="1") for name in ("one", "other"))
    assert same_splits(first, second)


def test_complex_numbers_are_refused_with_a_way_out(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 12, 2))
    task = OwnArrays(data=arrays(tmp_path, {"x": x + 1j * x, "y": x.sum((1, 2))}), target="y")
    with pytest.raises(
        DataError, match="'x-0' holds complex numbers; give the real and the imaginary part in two columns"
    ):
        task.signature()


def test_two_columns_of_one_name_are_refused_in_parquet_too(tmp_path: Path) -> None:
    table = sequences()
    columns = [pa.array(table[name]) for name in ("id", "t", "a", "b", "kind")]
    papq.write_table(pa.Table.from_arrays(columns, names=["id", "t", "a", "a", "kind"]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="two columns are called 'a'; give each column a different name"):
        OwnArrays(data=str(tmp_path / "x.parquet"), target="kind", sequence="id", time="t").signature()


def test_name_that_begins_another_one_is_its_own_column(tmp_path: Path) -> None:
    table = sequences()
    columns = {"a.b": table["b"], "a": table["a"], **table[["id", "t", "kind"]]}
    task = OwnArrays(data=parquet(tmp_path / "x.parquet", columns), target="kind", sequence="id", time="t")
    assert task._facts().inputs == ("a.b", "a")
    assert task._facts().means[1] == pytest.approx(float(table["a"].mean()), abs=0.2)


@pytest.mark.parametrize("value", ["1_000", "0x10", "1d5", "１"])
def test_number_that_arrow_does_not_read_is_refused_with_its_value(value: str, tmp_path: Path) -> None:
    table = sequences()
    table["a"] = table["a"].astype(object)
    table.loc[3, "a"] = value
    task = OwnArrays(data=written(table, tmp_path / "x.csv"), **SEQUENCES)
    with pytest.raises(DataError, match=f"column 'a' holds text, as '{value}'; encode it as numbers"):
        task.signature()


TEXTS: dict[str, Callable[[list[str]], pa.Array]] = {
    "view": lambda values: pa.array(values, pa.string_view()),
    "large": lambda values: pa.array(values, pa.large_string()),
    "bytes": lambda values: pa.array([value.encode() for value in values], pa.binary()),
    "large bytes": lambda values: pa.array([value.encode() for value in values], pa.large_binary()),
    "bytes of one length": lambda values: pa.array([f"{value:4}".encode() for value in values], pa.binary(4)),
    "bytes view": lambda values: pa.array([value.encode() for value in values], pa.binary_view()),
    "categories": lambda values: pa.array(values).dictionary_encode(),
    "categories of views": lambda values: pa.DictionaryArray.from_arrays(
        pa.array([sorted(set(values)).index(value) for value in values], pa.int8()),
        pa.array(sorted(set(values)), pa.large_string()),
    ),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text_of_any_layout_names_classes_and_sequences(kind: str, tmp_path: Path) -> None:
    table = sequences()
    text = TEXTS[kind]
    columns = {**table[["t", "a", "b"]], "id": text(table["id"].tolist()), "kind": text(table["kind"].tolist())}
    path = parquet(tmp_path / "x.parquet", columns)
    task = OwnArrays(data=path, target="kind", sequence="id", time="t")
    assert tuple(str(label).strip() for label in task._facts().classes) == CLASSES
    plain = OwnArrays(data=written(table, tmp_path / "plain.parquet"), **SEQUENCES)
    assert same_splits(task, plain)
    examples = task.examples(Path(path), {})
    assert len(task.answers(torch.zeros(len(examples), 3), Path(path), {})) == 60


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    table = sequences()
    kind = pa.array([b"\xff" + value.encode() for value in table["kind"]])
    path = parquet(tmp_path / "x.parquet", {**table[["id", "t", "a", "b"]], "kind": kind})
    with pytest.raises(DataError, match="'kind' holds bytes that are not UTF-8 text; write it as text or as numbers"):
        OwnArrays(data=path, target="kind", sequence="id", time="t").signature()


@pytest.mark.parametrize("word", ["None", "NA", "null"])
def test_class_that_is_called_as_a_missing_value_can_be_had(word: str, tmp_path: Path) -> None:
    table = sequences()
    table["kind"] = table["kind"].replace("ash", word)
    path = written(table, tmp_path / "x.csv")
    message = f"column 'kind' is missing in row 1 .*, where the file has '{word}'; if that is a value, say missing = ''"
    with pytest.raises(DataError, match=message):
        OwnArrays(data=path, **SEQUENCES).signature()
    facts = OwnArrays(data=path, **SEQUENCES, missing="")._facts()
    assert set(facts.classes) == {word, "elm", "oak"}


def test_words_for_missing_values_are_an_option(tmp_path: Path) -> None:
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 5)), columns=[f"h{n}" for n in range(5)])
    wide.loc[7, ["h3", "h4"]] = -999
    wide["kind"] = np.arange(60) % 2
    task = OwnArrays(data=written(wide, tmp_path / "x.csv"), target="kind", wide=True, missing="-999.0,?")
    assert "sequences end where NaN begins: 3 to 5 steps" in task.notes()


@pytest.mark.parametrize("each", [False, True])
def test_sequences_end_where_nan_begins(each: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, lengths = random.normal(size=(60, 12, 2)), random.integers(5, 13, size=60)
    y = random.normal(size=(60, 12) if each else 60)
    padding = np.arange(12) >= lengths[:, None]
    padded = np.where(padding[..., None], np.nan, x)
    first = OwnArrays(data=arrays(tmp_path, {"x": padded, "y": y}, "one.npz"), target="y")
    second = OwnArrays(data=arrays(tmp_path, {"x": x, "y": y, "lengths": lengths}, "other.npz"), target="y")
    assert isinstance(load(first, "train"), Ragged)
    assert same_splits(first, second)
    assert any(note.startswith("sequences end where NaN begins") for note in first.notes())


def test_hole_in_an_array_is_no_end(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 12, 2))
    x[3, 5] = np.nan
    with pytest.raises(DataError, match="'x-0' is missing"):
        OwnArrays(data=arrays(tmp_path, {"x": x, "y": x[:, 0, 0]}), target="y").signature()


def test_table_of_monthly_values_says_which_column_names_the_rows(tmp_path: Path) -> None:
    months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 12)), columns=months)
    table.insert(0, "YEAR", range(1950, 2010))
    path = written(table, tmp_path / "x.csv")
    with pytest.raises(
        DataError, match=r"'YEAR' has a different whole number in each row, .*say sequence = 'YEAR', or if"
    ):
        OwnArrays(data=path, target="DEC", wide=True).signature()
    assert OwnArrays(data=path, target="DEC", sequence="YEAR", wide=True).signature().length == 11
    assert OwnArrays(data=path, target="DEC", keep="YEAR", wide=True).signature().length == 12


def test_other_numbers_of_rows_are_refused_or_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    floats = pd.DataFrame(random.normal(size=(60, 5)), columns=[f"t{n}" for n in range(5)]).assign(y=np.arange(60) % 2)
    counts = pd.DataFrame(random.integers(0, 9, size=(60, 5)), columns=list("abcde")).assign(y=np.arange(60) % 2)
    names = random.permutation(5000)[:60]

    def task(table: pd.DataFrame) -> OwnArrays:
        return OwnArrays(data=written(table, tmp_path / "x.csv"), target="y", wide=True)

    with pytest.raises(DataError, match="'machine' has a different whole number in each row"):
        task(floats.assign(machine=names)).signature()
    with pytest.raises(
        DataError, match=r"column 'machine' holds text, as 'm0'; .* say sequence = 'machine' if it names"
    ):
        task(floats.assign(machine=[f"m{n}" for n in range(60)])).signature()
    told = [note for note in task(counts.assign(machine=names)).notes() if "'machine'" in note]
    assert told == [
        "column 'machine' is read as step 6, but is different in each row; if it names the rows, say "
        "sequence = 'machine'"
    ]
    assert not any("names the rows" in note for note in task(counts).notes())
    assert task(floats.assign(t5=names.astype(float))).signature().length == 6


@pytest.mark.parametrize("rows", [90, 400])
def test_missing_word_is_found_in_any_row(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness_tasks.own.csv_file.BLOCK_BYTES", 512)
    table = series(rows)
    table["wind"] = table["wind"].astype(object)
    table.loc[rows - 1, "wind"] = "N/A"
    with pytest.raises(DataError, match=f"in row {rows}, where the file has 'N/A'"):
        of_series(tmp_path, table).signature()
