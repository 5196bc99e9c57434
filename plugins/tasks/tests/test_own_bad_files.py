"""Every way in which a user's file can be wrong, each told in one line with a way out."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import DataError, HarnessError
from harness.errors import StudyError
from harness.plugin.loader import load_plugins
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import SEEDS, arrays, sequences, series, written

Make = Callable[[Path], dict[str, Any]]
SEQUENCES = {"target": "kind", "sequence": "id", "time": "t", "drop": "level"}
SERIES = {"target": "heat", "time": "when"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def table(change: Callable[[pd.DataFrame], pd.DataFrame], **options: Any) -> Make:
    """`sequences` after a change, in a CSV file."""
    return lambda folder: {"data": written(change(sequences()), folder / "my.csv"), **SEQUENCES, **options}


def long(change: Callable[[pd.DataFrame], pd.DataFrame], **options: Any) -> Make:
    return lambda folder: {"data": written(change(series()), folder / "my.csv"), **SERIES, **options}


def put(column: str, row: int, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def text(content: str | bytes, name: str = "my.csv", **options: Any) -> Make:
    def make(folder: Path) -> dict[str, Any]:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return {"data": str(folder / name), "target": "y", **options}

    return make


def npz(**given: Any) -> Make:
    return lambda folder: {"data": arrays(folder, given), "target": "y"}


def pickled(folder: Path) -> dict[str, Any]:
    np.save(folder / "x.npy", np.array([{"a": 1}, [2]], dtype=object), allow_pickle=True)
    return {"data": str(folder / "x.npy")}


def damaged_header(name: str, before: bytes, after: bytes) -> Make:
    """A NumPy file with changed bytes in the header of its array."""

    def make(folder: Path) -> dict[str, Any]:
        content = io.BytesIO()
        np.save(content, np.zeros((90, 3)))
        assert before in content.getvalue()
        damaged = content.getvalue().replace(before, after, 1)
        if name.endswith(".npy"):
            (folder / name).write_bytes(damaged)
        else:
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr("x.npy", damaged)
        return {"data": str(folder / name), "target": "y"}

    return make


def wide_arrays(folder: Path) -> dict[str, Any]:
    return {"data": arrays(folder, {"x": np.zeros((20, 5)), "y": np.zeros(20)}), "target": "y", "wide": True}


def ragged_objects(folder: Path) -> dict[str, Any]:
    x = np.empty(20, dtype=object)
    x[:] = [np.zeros(3 + number % 4) for number in range(20)]
    np.savez(folder / "x.npz", x=x, y=np.zeros(20))
    return {"data": str(folder / "x.npz"), "target": "y"}


def nested(folder: Path) -> dict[str, Any]:
    pd.DataFrame({"x": [[1.0, 2.0], [3.0]], "y": [0, 1]}).to_parquet(folder / "x.parquet")
    return {"data": str(folder / "x.parquet"), "target": "y"}


def two_values(frame: pd.DataFrame) -> pd.DataFrame:
    frame["patient"] = np.arange(len(frame)) % 7
    return frame


def rare(frame: pd.DataFrame) -> pd.DataFrame:
    frame["fold"] = frame["id"].map(lambda name: ["train", "validation", "test"][min(int(name[1:]) // 20, 2)])
    frame.loc[frame["id"] == "s050", "kind"] = "fir"
    return frame


NEWLINE = "\n"
BAD: dict[str, tuple[Make, str]] = {
    "nan": (
        table(put("a", 3, None)),
        "column 'a' is missing in row 4; fill or remove them, or leave the column out: dro",
    ),
    "several nan": (
        table(lambda f: f.assign(a=f["a"].where(f.index % 2 == 0))),
        r"'a' is missing in row 2 \(\d+ of \d+ v",
    ),
    "infinite": (table(put("b", 9, np.inf)), "column 'b' is infinite in row 10"),
    "nan in the target": (long(put("heat", 5, None)), "column 'heat' is missing in row 6"),
    "missing class": (table(put("kind", 2, None)), "column 'kind' is missing in row 3"),
    "one class": (
        table(lambda f: f.assign(kind="ash")),
        "target 'kind' has only one class in the training rows, 'ash'",
    ),
    "constant target": (long(lambda f: f.assign(heat=3.5)), "target 'heat' is 3.5 in all training rows"),
    "constant inputs": (table(lambda f: f.assign(a=1, b=2)), "every input is constant in the training rows: a, b"),
    "ten rows": (
        long(lambda f: f.head(10)),
        "too little data: 10 rows make 2 to train, .* at least 10, 3, 3 are needed",
    ),
    "ten sequences": (
        table(lambda f: f[f["id"] < "s010"]),
        "too little data: .* make 6 to train, 2 to select, 2 to test",
    ),
    "target under another name": (
        table(lambda f: f.assign(target_copy=f["a"]), target="target", drop="level,kind"),
        "no column 'target'.*did you mean 'target_copy'",
    ),
    "copy by name": (
        long(lambda f: f.assign(heat_lag0=f["wind"])),
        "column 'heat_lag0' is named like a copy of the target 'heat'.*drop = 'heat_lag0'",
    ),
    "copy by value": (
        long(lambda f: f.assign(same=f["heat"])),
        "column 'same' is the target 'heat' up to scale, .*keep = 'same'",
    ),
    "copy in other units": (
        long(lambda f: f.assign(fahrenheit=f["heat"] * -1.8 + 32)),
        "'fahrenheit' is the target 'heat' up to scale",
    ),
    "copy from ahead": (
        long(lambda f: f.assign(later=f["heat"].shift(-1).fillna(0.0)), horizon=1),
        "'later' is the target 'heat' up to scale",
    ),
    "code of the class": (
        table(lambda f: f.assign(code=f["kind"].map({"ash": 3, "elm": 1, "oak": 2}))),
        "'code' has one value for each class of the target 'kind'",
    ),
    "equal times": (table(put("t", 1, 0)), "rows 1 and 2 of sequence 's000' have the same 't' .*remove one"),
    "equal times in one series": (
        long(lambda f: f.assign(when=1)),
        r"rows 1 and 2 have the same 'when' \(399 such pairs\); say sequence = COLUMN",
    ),
    "no times": (table(put("t", 4, "noon")), "time column 't' holds neither numbers nor dates"),
    "day first": (
        long(lambda f: f.assign(when=pd.to_datetime(f["when"]).dt.strftime("%d/%m/%Y %H:%M"))),
        "dates with the year first, .* but '01/01/2024 00:00'; say .*time_format = .*drop = 'when'",
    ),
    "dates of another format": (
        long(lambda f: f, time_format="%d.%m.%Y"),
        "time column 'when', as '2024-01-01 00:00:00', is not written as time_format = '%d.%m.%Y' says",
    ),
    "few long sequences": (
        long(lambda f: f.assign(shop=f.index // 80, when=f.index), sequence="shop", horizon=1),
        "too little data: .*long sequences can be cut in time: split = 'ordered', length = STEPS",
    ),
    "several series as one": (
        long(lambda f: f.assign(time=f.index, site=(f.index // 100).astype(str), when=0), target="site", time="time"),
        "class '?3'? of target 'site' is in .*; if it holds several, say sequence = COLUMN",
    ),
    "a sequence a row": (
        text(
            "y," + ",".join(f"t{n}" for n in range(9)) + "\n" + 50 * "1,0,1,2,3,4,5,6,7,9\n0,3,1,2,3,4,5,6,7,8\n"[:20]
        ),
        "if each row is a sequence and its columns are the steps, say wide = true",
    ),
    "hole in a row": (
        text("y,a,b,c\n" + "p,1,2,3\nq,4,,6\nq,7,8,\n", wide=True),
        r"column 'b' is missing in row 2, but the row continues after it \(1 such values\); fill",
    ),
    "wide arrays": (
        wide_arrays,
        "has sequences by the shape of its arrays; wide is only for a table",
    ),
    "wide of one column": (text("y,a\np,1\nq,2\n", wide=True), "has 1 columns for the steps"),
    "dates among the inputs": (long(lambda f: f, time=None), "column 'when' holds dates; say time = 'when'"),
    "text among the inputs": (
        table(put("a", 0, "much")),
        "column 'a' holds text, as 'much'; encode it as numbers, or leave",
    ),
    "decimal comma": (table(put("a", 0, "1,5")), "column 'a' holds text, as '1,5'.*say decimal = ','"),
    "decimal comma in the target": (
        long(lambda f: f.assign(heat=[f"{value:.3f}".replace(".", ",") for value in f["heat"]]), horizon=1),
        "target 'heat' holds text, as '.*'; if its numbers have a decimal comma, say decimal = ','",
    ),
    "target that is not there": (
        table(lambda f: f, target="kid"),
        "has no column 'kid' for target; did you mean 'kind'.* Columns: id, t, a",
    ),
    "no target": (
        table(lambda f: f, target=None),
        "which column is to be predicted. Say target = NAME, on the command line --target NAME. Columns: id, t, a, b",
    ),
    "drop that is not there": (table(lambda f: f, drop="levl"), "has no column 'levl' for drop; did you mean 'level'"),
    "one column twice": (table(lambda f: f, time="id"), "column 'id' cannot be two of target, sequence and time"),
    "nothing left": (table(lambda f: f, drop="a,b,level"), "has no column left for the inputs"),
    "an id for every row": (table(lambda f: f.assign(id=f.index)), "'id' has a different value in each of .* rows"),
    "group in two": (table(two_values, group="patient", drop="level"), "'patient' has .* in one sequence 's000'"),
    "class that training lacks": (
        table(rare, split_column="fold"),
        "class 'fir' of target 'kind' is in test but not in the training rows",
    ),
    "unknown split": (
        table(lambda f: f.assign(fold="holdout"), split_column="fold"),
        "'fold' has 'holdout'; the names of splits are train",
    ),
    "group of one series": (
        long(lambda f: f.assign(site=1), group="site"),
        "is one series, which is split by time; leave out group",
    ),
    "random cut of one series": (
        long(lambda f: f, split="random"),
        "is one series, which can only be split by time; say split = 'ordered'",
    ),
    "one answer of one series": (
        long(lambda f: f, readout="last"),
        "is one series, so readout = 'last' has one answer",
    ),
    "score of another kind": (
        long(lambda f: f, score="accuracy"),
        "score = 'accuracy' is not a metric of a regression; use one of rmse, mae",
    ),
    "target too large": (
        long(put("heat", 9, 1e200)),
        r"target 'heat' holds 1e\+200, and such numbers are too large .* to be scaled; give the target in another unit",
    ),
    "target too large in the test": (
        long(put("heat", 399, -1e200)),
        r"target 'heat' holds -1e\+200, and such numbers are too large",
    ),
    "differences too small": (
        long(lambda frame: frame.assign(heat=frame["heat"] * 1e-300)),
        "target 'heat' holds .*e-.*, and such numbers are .*too close together to be scaled",
    ),
    "semicolons": (text("a;y\n1;2\n3;4\n"), "has one column, 'a;y'; is ';' the delimiter. Say delimiter = ';'"),
    "blanks": (text("1 0.5\n2 0.7\n"), "has one column, '1 0.5'; is 'space' the delimiter"),
    "tabs": (text("a\ty\n1\t2\n"), "Say delimiter = 'tab'"),
    "long delimiter": (
        text("a,y\n1,2\n", delimiter=";;"),
        "delimiter is ';;'; it must be one character such as ';', or tab or space",
    ),
    "no delimiter": (text("a,y\n1,2\n", delimiter=""), "delimiter is ''; it must be one character"),
    "no header": (
        text("1.0,2.0\n3.0,4.0\n"),
        "its first line is '1.0,2.0', but it must name .*; add such a line, or say header = f",
    ),
    "comment": (text("# made by me\na,y\n1,2\n"), "its first line is a comment, '# made by me', .* remove the comment"),
    "one name twice": (text("a,a,y\n1,2,3\n"), "two columns are called 'a'"),
    "rows of other lengths": (text("a,y\n1,2\n3,4,5\n"), "its rows have different numbers of fields"),
    "header alone": (text("a,y\n"), "has no rows"),
    "empty": (text(""), "my.csv: is empty"),
    "no utf-8": (text("a,y\n1,\xe9\n".encode("latin-1")), "is not UTF-8 text"),
    "no utf-8 in the header": (text("\xe9,y\n1,2\n".encode("latin-1")), "is not UTF-8 text"),
    "unknown ending": (
        text("a,y\n", name="my.xlsx"),
        "has the suffix '.xlsx'; it must be one of .csv, .tsv, .tab, .parquet, .npz, .npy",
    ),
    "no parquet": (text("a,y\n", name="my.parquet"), "cannot be read as a parquet file"),
    "no npz": (text("a,y\n", name="my.npz"), "holds Python objects|cannot be read as a npz file"),
    "damaged header": (damaged_header("my.npy", b"), }", b"(, }"), "my.npy: cannot be read as a npy file"),
    "shape that no memory holds": (
        damaged_header("my.npz", b"(90, 3), }        ", b"(999999999999,), }"),
        "my.npz: cannot be read as a npz file",
    ),
    "not there": (
        lambda folder: {"data": str(folder / "none.csv")},
        "none.csv: cannot be read .*No such file.*; relative paths start",
    ),
    "a folder": (lambda folder: {"data": str(folder)}, "is a folder; name a file in it"),
    "lists in a column": (nested, "column 'x' holds list.*; write one row per time step"),
    "pickle": (pickled, "holds Python objects .*, which are not read, as that could run code"),
    "ragged without lengths": (
        ragged_objects,
        "holds Python objects .*concatenate the sequences in one array and add an array lengths",
    ),
    "frames without lengths": (
        npz(x=np.zeros((90, 3)), y=np.zeros(20)),
        "x has 90 rows and y 20; .* add an array lengths",
    ),
    "wrong lengths": (
        npz(x=np.zeros((90, 3)), y=np.zeros(20), lengths=np.full(20, 5)),
        "x has the shape .90, 3., but there are 20 lengths",
    ),
    "lengths of zero": (
        npz(x=np.zeros((20, 3)), y=np.zeros(20), lengths=np.zeros(20, dtype=int)),
        "lengths are not valid; give one whole number",
    ),
    "no inputs": (
        npz(z=np.zeros((20, 3)), y=np.zeros(20)),
        "which array holds the inputs. Say inputs = NAME; it has z",
    ),
    "answers of another shape": (
        npz(x=np.random.default_rng(0).normal(size=(30, 4, 2)), y=np.zeros((30, 7))),
        "y has the shape .30, 7.; give one value for",
    ),
    "four axes": (
        npz(x=np.zeros((4, 3, 2, 2)), y=np.zeros(4)),
        "x has the shape .4, 3, 2, 2.; give .sequences, time. or",
    ),
}


def used(options: dict[str, Any]) -> OwnArrays:
    """As a study uses it."""
    task = OwnArrays(**options)
    task.signature(), task.metrics(), task.floor(), task.notes(), task.training_sequences()
    for split in ("train", "validation", "test"):
        task.load(split, SEEDS, {})
    return task


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    make, message = BAD[name]
    with pytest.raises(DataError, match=message) as error:
        used(make(tmp_path))
    assert NEWLINE not in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert not list((tmp_path / "cache").glob("parsed/.*"))  # nothing half-made is left behind


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "task 'arrays' needs the option 'data': data = …"),
        ({"data": ""}, "'data' must be a string of at least"),
        ({"data": "x.csv", "horizon": -1}, "'horizon' must be at least 0"),
        ({"data": "x.csv", "validation": 0.6, "test": 0.5}, "validation and test take 110% of the data"),
        (
            {"data": "x.csv", "split_column": "fold", "test_data": "y.csv"},
            "split_column decides the split of each row",
        ),
        ({"data": "x.csv", "group": "patient", "split": "ordered"}, "group splits whole groups at random"),
        ({"data": "x.csv", "kind": "classes"}, "'kind' must be 'auto', 'classification' or 'regression'"),
        ({"data": "x.csv", "wide": True, "time": "t"}, "wide means that the columns are the steps"),
        ({"data": "x.csv", "targt": "y"}, "no option 'targt'; did you mean 'target'"),
    ],
)
def test_wrong_option_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_plugins().registry.make_task("arrays", options)


def test_constant_column_is_left_out_and_told(tmp_path: Path) -> None:
    task = used(table(lambda frame: frame.assign(site=7))(tmp_path))
    assert task._facts().inputs == ("a", "b")
    assert "constant in the training rows, left out: site" in task.notes()


def test_unsorted_rows_are_sorted_by_time_and_told(tmp_path: Path) -> None:
    task = used(long(lambda frame: frame.sample(frac=1, random_state=0))(tmp_path))
    assert "rows of the file is not in the order of when: sorted" in task.notes()


def test_uneven_classes_are_told_and_ranked_by_balanced_accuracy(tmp_path: Path) -> None:
    def uneven(frame: pd.DataFrame) -> pd.DataFrame:
        frame["kind"] = np.where(frame["id"].str[-1] == "0", "oak", "ash")
        return frame

    task = used(table(uneven)(tmp_path))
    assert task.metric.name == "balanced-accuracy"
    assert [note for note in task.notes() if "not balanced" in note] == [
        "classes are not balanced: 38 training answers are 'ash' and 4 'oak'; balanced-accuracy ranks"
    ]
    asked = OwnArrays(**{**task.model_dump(), "score": "accuracy"})
    assert asked.metric.name == "accuracy"
    assert any("balanced-accuracy would be fairer" in note for note in asked.notes())


def test_sequences_that_stand_in_two_splits_are_told(tmp_path: Path) -> None:
    def twice(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, frame.assign(id=frame["id"] + "-again")])

    task = used(table(twice)(tmp_path))
    assert any("test sequences are also in the training data, value for value" in note for note in task.notes())


def test_kept_column_may_look_like_the_target(tmp_path: Path) -> None:
    make = long(lambda frame: frame.assign(same=frame["heat"]), keep="same")
    assert "same" in used(make(tmp_path))._facts().inputs


@pytest.mark.parametrize("name", ["heat_lag1", "heat_mean", "preheat", "heating"])
def test_column_named_after_the_target_is_no_copy_of_it(name: str, tmp_path: Path) -> None:
    make = long(lambda frame: frame.assign(**{name: np.random.default_rng(1).normal(size=len(frame))}))
    assert name in used(make(tmp_path))._facts().inputs


def told(options: dict[str, Any]) -> str:
    """What is wrong with the file; empty where it is a task."""
    try:
        used(options)
    except HarnessError as error:
        return str(error)
    return ""


CELLS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.sampled_from(["a", "", "2024-01-01", "1,5", "true", "NaN", 'q"uote', "x;y", "ü"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_small_table_is_a_task_or_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = data.draw(st.sampled_from([1, 2, 12, 90]))
    names = data.draw(
        st.lists(st.sampled_from(["a", "b", "y", "t", "id", "", "y_copy"]), min_size=1, max_size=5, unique=True)
    )
    pattern = {name: data.draw(st.lists(CELLS, min_size=1, max_size=4)) for name in names}
    steps = {name: data.draw(st.booleans()) for name in names}
    frame = pd.DataFrame(
        {
            name: [float(row) if steps[name] else pattern[name][row % len(pattern[name])] for row in range(rows)]
            for name in names
        }
    )
    frame["a"] = np.random.default_rng(rows).normal(size=rows)
    column = st.one_of(st.none(), st.sampled_from([*names, "none"]))
    options = {
        "target": data.draw(column),
        "sequence": data.draw(column),
        "time": data.draw(column),
        "horizon": data.draw(st.sampled_from([0, 1, 40])),
        "readout": data.draw(st.sampled_from(["auto", "last", "each"])),
        "split": data.draw(st.sampled_from(["auto", "random", "ordered"])),
        "kind": data.draw(st.sampled_from(["auto", "classification", "regression"])),
    }
    frame.to_csv(folder / "any.csv", index=False)
    assert NEWLINE not in told({"data": str(folder / "any.csv"), **options})
