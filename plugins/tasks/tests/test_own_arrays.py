"""What the task makes of a good file: channels, scales, floors, margins, one cache for all."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as papq
import pytest
import torch

from harness import Arrays, Batch, DataError, Ragged, Split
from harness.api.dataset import SPLITS
from harness.data.files import locate
from harness.plugin.loader import load_plugins
from harness.testing import CheckResult, check_task
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import (
    CLASSES,
    arrays,
    load,
    of_sequences,
    of_series,
    pieces,
    sequences,
    series,
    written,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def every_step(task: OwnArrays, split: Split) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.concatenate(pieces(task, split))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_of_both_kinds_are_the_same_task(ending: str, tmp_path: Path) -> None:
    table = sequences()
    path = written(table, tmp_path / f"my.{ending}")
    task = OwnArrays(data=path, target="kind", sequence="id", time="t", drop="level")
    facts = task._facts()
    assert (facts.readout, facts.classes, facts.inputs, facts.longest) == ("last", CLASSES, ("a", "b"), 9)
    first = table.groupby("id")["kind"].first()
    expected = sorted(CLASSES.index(kind) for kind in first)
    targets = [target for split in SPLITS for target in load(task, split).targets.tolist()]  # type: ignore[union-attr]
    assert sorted(targets) == expected
    assert task.training_sequences() == 42


def test_inputs_are_scaled_by_training_rows_alone(tmp_path: Path) -> None:
    table = series(400)
    table.loc[300:, "wind"] += 1000  # held out
    task = of_series(tmp_path, table, horizon=1)
    train = every_step(task, "train").astype(np.float64)
    assert np.allclose(train.mean(0), 0, atol=1e-5)
    assert np.allclose(train.std(0), 1, atol=1e-5)
    assert every_step(task, "test")[:, 0].min() > 100
    assert abs(task._facts().means[0] - table["wind"][:300].mean()) < 0.2


def test_large_offsets_keep_their_digits(tmp_path: Path) -> None:
    table = series(400)
    table["wind"] = 1e9 + table["wind"]
    plain, offset = of_series(tmp_path, series(400)), of_series(tmp_path, table)
    assert np.allclose(every_step(plain, "train"), every_step(offset, "train"), atol=1e-4)


def test_numeric_target_is_scaled_by_training_answers_and_scored_in_its_own_unit(tmp_path: Path) -> None:
    task = of_series(tmp_path, series(400), horizon=1)
    train = load(task, "train").targets.double()  # type: ignore[union-attr]
    assert abs(float(train.mean())) < 1e-6
    assert abs(float(train.std(correction=0)) - 1) < 1e-6
    targets = torch.tensor([[0.0], [1.0]])
    totals = task.loss(torch.tensor([[0.5], [0.5]]), Batch(torch.zeros(2, 1, 1), targets))
    sums = {name: (float(total.sum), float(total.count)) for name, total in totals.items()}
    rmse, mae = (metric.of(sums) for metric in task.metrics())
    assert rmse == pytest.approx(0.5 * task._facts().target_scale)
    assert mae == pytest.approx(0.5 * task._facts().target_scale)


def test_floor_of_numbers_is_the_training_mean_on_the_test(tmp_path: Path) -> None:
    task = of_series(tmp_path, series(400))
    facts = task._facts()
    test = load(task, "test").targets.double().numpy() * facts.target_scale + facts.target_mean  # type: ignore[union-attr]
    expected = math.sqrt(np.square(test - facts.target_mean).mean())
    assert task.floor() == pytest.approx(expected, rel=1e-5)
    assert task.metric.margin == pytest.approx(expected / 50, rel=1e-5)


def test_floor_ahead_is_the_present_value_where_that_is_better(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).choice([-1.0, 1.0], size=600)
    walk = pd.DataFrame({"when": np.arange(600), "y": np.cumsum(steps)})
    task = of_series(tmp_path, walk, target="y", horizon=1)
    assert task.floor() == 1.0  # every step of the walk is one up or down
    assert of_series(tmp_path, walk, target="y", horizon=1, score="mae").floor() == 1.0
    noise = pd.DataFrame({"when": np.arange(600), "y": steps})
    floor = of_series(tmp_path, noise, target="y", horizon=1, kind="regression").floor()
    assert floor == pytest.approx(1.0, abs=0.05)  # where the present value would have 1.4


def test_floor_of_absolute_errors_is_the_training_median(tmp_path: Path) -> None:
    table = series(400)
    table["heat"] = np.random.default_rng(3).exponential(size=400)
    task = of_series(tmp_path, table, score="mae")
    facts = task._facts()
    in_units = [
        load(task, split).targets.double().numpy() * facts.target_scale + facts.target_mean  # type: ignore[union-attr]
        for split in ("train", "test")
    ]
    assert task.floor() == pytest.approx(np.abs(in_units[1] - np.median(in_units[0])).mean(), rel=1e-5)
    assert [metric.name for metric in task.metrics()] == ["mae", "rmse"]


@pytest.mark.parametrize(
    ("score", "floor"),
    # 60 sequences, one in four of class oak, spread over the splits alike: of 9 tests 7 are ash.
    [("accuracy", 100 * 7 / 9), ("balanced-accuracy", 50.0)],
)
def test_floor_of_classes_is_the_commonest_of_training(score: str, floor: float, tmp_path: Path) -> None:
    table = sequences()
    table["kind"] = np.where(table["id"].str[1:].astype(int) % 4 == 0, "oak", "ash")
    task = of_sequences(tmp_path, table, score=score)
    assert task.metric.name == score
    assert task.metric.margin == 1.0
    test = load(task, "test").targets  # type: ignore[union-attr]
    if score == "accuracy":
        floor = 100 * float((test == 0).double().mean())
        assert floor == pytest.approx(100 * 7 / 9)
    assert task.floor() == pytest.approx(floor)
    if score == "accuracy":
        validation = load(task, "validation").targets  # type: ignore[union-attr]
        assert task.validation_floor() == pytest.approx(100 * float((validation == 0).double().mean()))


def test_floor_of_the_log_loss_is_of_training_frequencies(tmp_path: Path) -> None:
    task = of_sequences(tmp_path, score="log-loss")
    assert task.floor() == pytest.approx(math.log(3))  # 14 training sequences of each class
    assert task.metric.margin == pytest.approx(math.log(3) / 50)


def test_balanced_accuracy_is_the_mean_over_the_classes_that_occur(tmp_path: Path) -> None:
    task = of_sequences(tmp_path, score="balanced-accuracy")
    outputs = torch.eye(3)[[0, 0, 0, 1, 0]]
    totals = task.loss(outputs, Batch(torch.zeros(5, 1, 2), torch.tensor([0, 0, 0, 1, 1])))
    sums = {name: (float(total.sum), float(total.count)) for name, total in totals.items()}
    balanced, accuracy, _ = (metric.of(sums) for metric in task.metrics())
    assert balanced == pytest.approx(75)
    assert accuracy == pytest.approx(80)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array(["yes", "no"]), 2),
        (np.array([True, False]), 2),
        (np.array([3, 1, 2]), 3),
        (np.arange(40) * 0.5, 0),
        (np.arange(40), 0),
    ],
    ids=["text", "booleans", "few whole numbers", "fractions", "many whole numbers"],
)
def test_kind_of_target_is_told_from_its_values(
    values: np.ndarray[tuple[int], np.dtype[np.generic]], kind: int, tmp_path: Path
) -> None:
    table = sequences()
    table["kind"] = values[table["id"].str[1:].astype(int) % len(values)]
    facts = of_sequences(tmp_path, table)._facts()
    assert len(facts.classes) == kind
    assert facts.score == ("rmse" if not kind else "accuracy")


def test_whole_numbers_are_numbers_where_the_study_says_so(tmp_path: Path) -> None:
    table = sequences()
    table["kind"] = table["id"].str[1:].astype(int) % 3
    assert of_sequences(tmp_path, table, kind="regression").metric.name == "rmse"


LAYOUTS = {
    "one answer per sequence": ({"x": (40, 6, 3), "y": (40,)}, Arrays, (28, 6, 3), (28, 1)),
    "a column of answers": ({"x": (40, 6, 3), "y": (40, 1)}, Arrays, (28, 6, 3), (28, 1)),
    "one answer per step": ({"x": (40, 6, 3), "y": (40, 6)}, Arrays, (28, 6, 3), (28, 6, 1)),
    "one channel": ({"x": (40, 6), "y": (40,)}, Arrays, (28, 6, 1), (28, 1)),
    "another name": ({"inputs": (40, 6, 3), "y": (40,)}, Arrays, (28, 6, 3), (28, 1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_arrays_are_told_by_their_shapes(layout: str, tmp_path: Path) -> None:
    shapes, kind, inputs, targets = LAYOUTS[layout]
    random = np.random.default_rng(0)
    path = arrays(tmp_path, {name: random.normal(size=shape) for name, shape in shapes.items()})
    train = load(OwnArrays(data=path, target="y"), "train")
    assert isinstance(train, kind)
    assert train.inputs.shape == inputs
    assert train.targets.shape == targets


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("each", [False, True])
def test_ragged_arrays_are_read_padded_or_end_to_end(padded: bool, each: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(2, 8, size=40)
    x, y = random.normal(size=(40, 7, 2)), random.normal(size=(40, 7) if each else 40)
    real = np.arange(7) < lengths[:, None]
    given = {"x": x, "y": y} if padded else {"x": x[real], "y": y[real] if each else y}
    task = OwnArrays(data=arrays(tmp_path, {**given, "lengths": lengths}), target="y")
    facts = task._facts()
    targets_of = {}
    for split in SPLITS:
        dataset = load(task, split)
        assert isinstance(dataset, Ragged)
        assert dataset.last is not each
        parts = torch.split(dataset.targets, dataset.lengths.tolist()) if each else dataset.targets
        for inputs, targets in zip(pieces(task, split), parts, strict=True):
            targets_of[len(inputs), round(float(inputs[0, 0]) * facts.scales[0] + facts.means[0], 4)] = targets
    assert len(targets_of) == 40
    for number in range(40):
        targets = targets_of[lengths[number], round(float(x[number, 0, 0]), 4)].double() * facts.target_scale
        answers = y[number, : lengths[number], None] if each else y[number, None]
        assert np.allclose(targets + facts.target_mean, answers, atol=1e-4)


def test_npy_of_one_series_is_forecast(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.sin(np.arange(600) / 9))
    task = OwnArrays(data=str(tmp_path / "s.npy"), horizon=1)
    assert (task._facts().target, task._facts().readout) == ("0", "each")
    assert task.signature().length <= 15


def test_npy_of_columns_has_its_target_by_number(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(600, 4)))
    facts = OwnArrays(data=str(tmp_path / "s.npy"), target="2")._facts()
    assert facts.inputs == ("0", "1", "3")


def test_row_numbers_that_pandas_wrote_are_no_input(tmp_path: Path) -> None:
    table = sequences()
    table.to_csv(tmp_path / "my.csv")
    task = OwnArrays(data=str(tmp_path / "my.csv"), target="kind", sequence="id", time="t", drop="level")
    assert task._facts().inputs == ("a", "b")
    assert "row numbers, left out: ''" in task.notes()


def test_delimiter_is_an_option(tmp_path: Path) -> None:
    sequences().to_csv(tmp_path / "my.csv", index=False, sep=";")
    given = {"target": "kind", "sequence": "id", "time": "t", "drop": "level"}
    assert OwnArrays(data=str(tmp_path / "my.csv"), delimiter=";", **given)._facts().inputs == ("a", "b")


@pytest.mark.parametrize(
    ("name", "written", "options"),
    [
        ("my.tsv", {"sep": "\t"}, {}),
        ("my.csv", {"sep": "\t"}, {"delimiter": "tab"}),
        ("my.csv", {"sep": "\t"}, {"delimiter": r"\t"}),
        ("my.csv", {"sep": " "}, {"delimiter": "space"}),
        ("my.csv", {"sep": ";", "decimal": ","}, {"delimiter": ";", "decimal": ","}),
    ],
)
def test_ways_of_writing_a_table_are_one_task(
    name: str, written: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    series().to_csv(tmp_path / "plain.csv", index=False)
    series().to_csv(tmp_path / name, index=False, **written)
    plain, other = (
        OwnArrays(data=str(tmp_path / file), target="heat", time="when", horizon=1, **more)
        for file, more in (("plain.csv", {}), (name, options))
    )
    assert other._facts() == plain._facts()
    assert np.array_equal(every_step(other, "train"), every_step(plain, "train"))


def test_decimal_commas_after_a_block_of_whole_numbers_are_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness_tasks.own.csv_file.BLOCK_BYTES", 256)
    table = series()
    table["wind"] = np.where(table.index < 200, table.index, table.index + 0.5)
    table["wind"] = [f"{value:g}".replace(".", ",") for value in table["wind"]]
    table.to_csv(tmp_path / "my.csv", index=False, sep=";", decimal=",")
    task = OwnArrays(data=str(tmp_path / "my.csv"), target="heat", time="when", delimiter=";", decimal=",", keep="wind")
    assert task._facts().means[0] == pytest.approx((np.arange(280) + 0.5 * (np.arange(280) >= 200)).mean())


def test_columns_without_names_are_numbered(tmp_path: Path) -> None:
    series().drop(columns="when").to_csv(tmp_path / "my.csv", index=False, header=False)
    registry = load_plugins().registry
    task = registry.make_task("arrays", {"data": str(tmp_path / "my.csv"), "header": False, "target": 1, "horizon": 1})
    assert isinstance(task, OwnArrays)
    assert task._facts().inputs == ("0", "1")
    assert task._facts().sequences["train"] == 28  # 280 rows, none of them taken for names, less the gap


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("%Y/%m/%d %H:%M", {}),
        ("%Y.%m.%d %H:%M:%S", {}),
        ("%d.%m.%Y %H:%M", {"time_format": "%d.%m.%Y %H:%M"}),
        ("%b %d %Y %H", {"time_format": "%b %d %Y %H"}),
    ],
)
def test_dates_order_the_rows_however_they_are_written(pattern: str, options: dict[str, Any], tmp_path: Path) -> None:
    table = series()
    table["when"] = pd.to_datetime(table["when"]).dt.strftime(pattern)
    of_series(tmp_path)
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "other.csv", index=False)
    other = OwnArrays(data=str(tmp_path / "other.csv"), target="heat", time="when", **options)
    assert np.array_equal(every_step(other, "train"), every_step(of_series(tmp_path), "train"))


def test_months_order_the_rows(tmp_path: Path) -> None:
    table = series()
    table["when"] = pd.date_range("1900-01", periods=len(table), freq="MS").strftime("%Y-%m")
    other = table.sample(frac=1, random_state=0)
    other.to_csv(tmp_path / "other.csv", index=False)
    task = OwnArrays(data=str(tmp_path / "other.csv"), target="heat", time="when")
    assert np.array_equal(every_step(task, "train"), every_step(of_series(tmp_path, table), "train"))


def test_forgotten_time_and_horizon_are_told(tmp_path: Path) -> None:
    table = series().assign(when=range(400))
    told = of_series(tmp_path, table, time=None).notes()
    assert "an input grows from row to row, as a time does: when; if so, say time = 'when'" in told
    assert "no forecast: heat is predicted at the step of its inputs; horizon = 1 predicts the next one" in told
    told = of_series(tmp_path, table, horizon=1).notes()
    assert not any("grows from row to row" in note or "no forecast" in note for note in told)


@pytest.mark.parametrize("ragged", [False, True])
def test_table_of_a_sequence_a_row_is_the_task_of_its_array(ragged: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 7)), np.arange(60) % 2 + 1
    lengths = random.integers(3, 8, size=60) if ragged else np.full(60, 7)
    wide = pd.DataFrame(np.where(np.arange(7) < lengths[:, None], x, np.nan), columns=[f"t{n}" for n in range(7)])
    wide.insert(0, "label", y)
    wide.to_csv(tmp_path / "wide.tsv", index=False, header=False, sep="\t")
    task = OwnArrays(data=str(tmp_path / "wide.tsv"), target="0", header=False, wide=True)
    other = OwnArrays(data=arrays(tmp_path, {"x": x, "y": y, "lengths": lengths}), target="y")
    assert (task._facts().classes, task._facts().readout) == ((1, 2), "last")
    for split in SPLITS:
        assert np.array_equal(every_step(task, split), every_step(other, split))
        assert torch.equal(load(task, split).targets, load(other, split).targets)  # type: ignore[union-attr]


def test_wide_table_has_names_and_groups(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wide = pd.DataFrame(random.normal(size=(60, 5)), columns=[f"h{n}" for n in range(5)])
    wide = wide.assign(day=[f"d{n:02}" for n in range(60)], house=np.arange(60) // 3, heated=np.arange(60) % 2 == 0)
    path = written(wide, tmp_path / "wide.parquet")
    task = OwnArrays(data=path, target="heated", sequence="day", group="house", wide=True)
    assert task._facts().inputs == ("value",)
    assert task._facts().longest == 5
    new = written(wide.drop(columns=["heated", "house"]).head(4), tmp_path / "new.parquet")
    answers = task.answers(torch.zeros(4, 2), Path(new), {})
    assert answers["day"].tolist() == ["d00", "d01", "d02", "d03"]


def test_file_is_read_once_and_again_when_it_changes(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = of_series(tmp_path)
    floor = task.floor()
    (kept,) = (cache / "parsed").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("harness_tasks.own.encoding.prepared", lambda _: pytest.fail("read again"))
        assert of_series(tmp_path).floor() == floor
        assert len(load(task, "train")) == task.training_sequences()
    again = of_series(tmp_path, series(400, seed=1))
    assert again.floor() != floor
    assert len(list((cache / "parsed").iterdir())) == 2
    assert kept.is_dir()


def test_file_that_changed_is_not_the_one_that_was_planned(tmp_path: Path) -> None:
    task = of_series(tmp_path)
    (file,) = task.files()
    assert (file.own, Path(file.name).is_absolute(), locate(file)) == (True, True, Path(task.data))
    of_series(tmp_path, series(400, seed=1))
    with pytest.raises(
        DataError, match=r"series\.csv has .* bytes, sha256 .* but .* has .*; restore the original content"
    ):
        locate(file)
    Path(task.data).unlink()
    with pytest.raises(DataError, match="is missing; restore it on every machine that trains"):
        locate(file)


def test_relative_path_is_taken_from_the_folder_where_the_task_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(series(), tmp_path / "series.csv")
    monkeypatch.chdir(tmp_path)
    task = OwnArrays(data="series.csv", target="heat", time="when")
    monkeypatch.chdir("/")
    assert task.data == str(tmp_path / "series.csv")
    assert task.floor() > 0


def faults(results: list[CheckResult]) -> list[tuple[str, str]]:
    return [(result.check, result.reason) for result in results if not result.good]


@pytest.mark.parametrize("readout", ["last", "each"])
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_contract_on_ragged_tables(readout: str, kind: str, tmp_path: Path) -> None:
    table = sequences(120)
    if kind == "classification":
        table["answer"] = table["kind"] if readout == "last" else np.where(table["level"] > 4, "high", "low")
    else:
        total = table.groupby("id")["level"].transform("sum")
        table["answer"] = total if readout == "last" else table["level"]
    task = of_sequences(tmp_path, table, target="answer", drop="level,kind", kind=kind, readout=readout)
    assert task.signature().readout == readout
    assert faults(check_task(task)) == []


@pytest.mark.parametrize("horizon", [0, 2])
def test_contract_on_one_series(horizon: int, tmp_path: Path) -> None:
    assert faults(check_task(of_series(tmp_path, series(1200), horizon=horizon))) == []


@pytest.mark.parametrize("each", [False, True])
def test_contract_on_arrays_of_one_length(each: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(150, 8, 2))
    y = x.cumsum(1)[..., 0] if each else (x.sum((1, 2)) > 0).astype(int)
    assert faults(check_task(OwnArrays(data=arrays(tmp_path, {"x": x, "y": y}), target="y"))) == []


PROBE = """
import resource, sys
import psutil
from harness import Seeds
from harness_tasks import OwnArrays
imported = psutil.Process().memory_info().rss
task = OwnArrays(data=sys.argv[1], target="y", sequence="id", time="t")
assert task.signature().length == 100
assert task.training_sequences() == 70_000
assert task.load("train", Seeds.of(0, 0), {}).inputs.shape == (70_000, 100, 5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - imported)
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ten_million_rows_take_a_few_columns_of_memory(ending: str, cache: Path, tmp_path: Path) -> None:
    """9 columns of 10 million numbers are 0.7 GB; a table held whole takes that and as much again to be sorted."""
    rows, random = 10_000_000, np.random.default_rng(0)
    path = tmp_path / f"my.{ending}"
    million = rows // 10
    writer = None
    for part in range(10):
        number = np.arange(part * million, (part + 1) * million)
        table = pd.DataFrame({name: random.normal(size=million).round(4) for name in "abcde"})
        table["id"], table["t"] = number // 100, number % 100
        table["y"] = table["a"].cumsum().round(4)
        if ending == "csv":
            table.to_csv(path, index=False, mode="a", header=part == 0)
        else:
            batch = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or papq.ParquetWriter(path, batch.schema)
            writer.write_table(batch)
    if writer is not None:
        writer.close()
    command = [sys.executable, "-c", PROBE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_600_000_000
