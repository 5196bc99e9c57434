"""Which rows train and which are tested on: apart, whole groups, past before future, whatever the order of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api.dataset import SPLITS
from harness_tasks import OwnArrays
from harness_tasks.own.cuts import LEFT_OUT, Shares, at_random
from plugins.tasks.tests.own_files import CLASSES, load, of_sequences, of_series, pieces, sequences, series, written


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@given(count=st.integers(1, 200), validation=st.floats(0.05, 0.4), test=st.floats(0.05, 0.4), seed=st.integers(0, 50))
def test_random_cut_holds_out_the_shares(count: int, validation: float, test: float, seed: int) -> None:
    parts = at_random(count, Shares(validation, test, seed), classes=None, groups=None)
    counts = np.bincount(parts, minlength=3)
    assert counts[2] == round(test * count)
    assert counts[1] == round(validation * count)
    assert np.array_equal(parts, at_random(count, Shares(validation, test, seed), classes=None, groups=None))


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6), seed=st.integers(0, 20))
def test_random_cut_has_every_class_in_training_and_its_share_in_test(sizes: list[int], seed: int) -> None:
    classes = np.repeat(np.arange(len(sizes)), sizes)
    parts = at_random(len(classes), Shares(0.2, 0.2, seed), classes=classes, groups=None)
    for number, size in enumerate(sizes):
        of_class = parts[classes == number]
        assert (of_class == 0).any()
        assert abs((of_class == 2).sum() - 0.2 * size) <= 1 + 0.2 * len(sizes)


@given(groups=st.lists(st.integers(0, 7), min_size=30, max_size=120), seed=st.integers(0, 20))
def test_no_group_is_in_two_splits(groups: list[int], seed: int) -> None:
    codes = np.unique(groups, return_inverse=True)[1]
    parts = at_random(len(codes), Shares(0.15, 0.15, seed), classes=None, groups=codes)
    for group in np.unique(codes):
        assert len(np.unique(parts[codes == group])) == 1


def test_groups_of_one_size_leave_no_split_empty() -> None:
    parts = at_random(30, Shares(0.15, 0.15), classes=None, groups=np.repeat(np.arange(3), 10))
    assert sorted(np.bincount(parts)) == [10, 10, 10]


@pytest.mark.parametrize("readout", ["last", "each"])
def test_groups_of_a_column_stand_in_one_split(tmp_path: Path, readout: str) -> None:
    table = sequences(90)
    table["patient"] = table["id"].map(lambda name: int(name[1:]) // 4)
    table["a"] = table["patient"] + 0.001 * table["a"]  # tells the group
    target, drop = ("kind", "level,b") if readout == "last" else ("level", "kind,b")
    task = of_sequences(tmp_path, table, group="patient", target=target, drop=drop, readout=readout)
    facts = task._facts()
    groups = {
        split: {round(float(part[0, 0]) * facts.scales[0] + facts.means[0]) for part in pieces(task, split)}
        for split in SPLITS
    }
    assert all(groups.values())
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_of_rows_in_the_file_changes_nothing(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("shuffled")
    table = sequences(40)
    shuffled = table.sample(frac=1, random_state=seed)
    in_order = of_sequences(folder, table)
    in_disorder = OwnArrays(**{**in_order.model_dump(), "data": written(shuffled, folder / "shuffled.parquet")})
    for split in SPLITS:
        for left, right in zip(pieces(in_order, split), pieces(in_disorder, split), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    assert any("sorted" in note for note in in_disorder.notes())
    assert not any("sorted" in note for note in in_order.notes())


@pytest.mark.parametrize("horizon", [0, 1, 5])
def test_series_is_cut_in_time_with_a_gap_where_answers_lie_ahead(tmp_path: Path, horizon: int) -> None:
    rows = 500
    table = pd.DataFrame({"when": np.arange(rows), "clock": np.arange(rows, dtype=float), "y": series(rows)["heat"]})
    task = of_series(tmp_path, table, target="y", horizon=horizon, length=20)
    mean, scale = task._facts().means[0], task._facts().scales[0]
    seen = {split: np.rint(np.concatenate(pieces(task, split))[:, 0] * scale + mean) for split in SPLITS}
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert seen[earlier].max() + horizon < seen[later].min()  # type: ignore[index]
    assert seen["test"].max() == rows - 1 - horizon
    for split in SPLITS:
        assert len(np.unique(seen[split])) == len(seen[split])
        for window in pieces(task, split):
            assert np.allclose(np.diff(window[:, 0] * scale), 1, atol=1e-3)
            assert len(window) <= 20
    # Less than a step of each window is left out, at the beginning.
    left_out = rows - 3 * horizon - sum(len(steps) for steps in seen.values())
    assert 0 <= left_out < sum(len(pieces(task, split)) for split in SPLITS)


@pytest.mark.parametrize("horizon", [1, 3])
def test_answer_of_a_step_is_the_target_so_many_rows_later(tmp_path: Path, horizon: int) -> None:
    table = pd.DataFrame({"when": np.arange(300), "y": np.arange(300) ** 1.5})
    task = of_series(tmp_path, table, target="y", horizon=horizon)
    facts = task._facts()
    for split in SPLITS:
        dataset = load(task, split)
        present = dataset.inputs[..., 0].double() * facts.scales[0] + facts.means[0]  # type: ignore[union-attr]
        ahead = dataset.targets[..., 0].double() * facts.target_scale + facts.target_mean  # type: ignore[union-attr]
        assert np.allclose((present ** (2 / 3) + horizon) ** 1.5, ahead, rtol=1e-3)


def test_ordered_cut_of_sequences_keeps_the_past_before_the_future(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    parts = []
    for number in range(80):
        start, steps = int(random.integers(0, 1000)), int(random.integers(3, 30))
        clock = np.arange(start, start + steps)
        parts.append(pd.DataFrame({"id": number, "t": clock, "clock": 1.0 * clock, "y": random.normal()}))
    task = of_sequences(tmp_path, pd.concat(parts), target="y", split="ordered", drop="")
    mean, scale = task._facts().means[0], task._facts().scales[0]
    spans = {
        split: [(part[0, 0] * scale + mean, part[-1, 0] * scale + mean) for part in pieces(task, split)]
        for split in SPLITS
    }
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert max(end for _, end in spans[earlier]) < min(start for start, _ in spans[later])  # type: ignore[index]
    left_out = 80 - sum(len(each) for each in spans.values())
    assert left_out > 0
    assert any(note.startswith(f"{left_out} sequences continue") for note in task.notes())


def test_ordered_cut_of_several_series_is_at_one_time(tmp_path: Path) -> None:
    table = pd.concat(
        [
            pd.DataFrame({"shop": shop, "day": np.arange(first, 300), "clock": np.arange(first, 300) * 1.0})
            for shop, first in (("a", 0), ("b", 100), ("c", 50))
        ]
    )
    table["sales"] = np.random.default_rng(0).normal(size=len(table))
    task = OwnArrays(
        data=written(table, tmp_path / "shops.csv"),
        target="sales",
        sequence="shop",
        time="day",
        split="ordered",
        length=10,
        horizon=1,
    )
    mean, scale = task._facts().means[0], task._facts().scales[0]
    days = {split: np.concatenate(pieces(task, split))[:, 0] * scale + mean for split in SPLITS}
    assert days["train"].max() < days["validation"].min() - 0.5
    assert days["validation"].max() < days["test"].min() - 0.5


def test_column_that_names_splits_is_followed(tmp_path: Path) -> None:
    table = sequences(60)
    names = ["Train", "val", "TEST"]
    table["fold"] = table["id"].map(lambda name: names[min(int(name[1:]) // 20, 2)])
    task = of_sequences(tmp_path, table, split_column="fold", target="level", drop="kind,b")
    expected = [table[table["fold"] == name].groupby("id")["a"].first() for name in names]
    facts = task._facts()
    assert facts.inputs == ("a",)
    for split, first in zip(SPLITS, expected, strict=True):
        first_values = [float(part[0, 0]) * facts.scales[0] + facts.means[0] for part in pieces(task, split)]
        assert np.allclose(first_values, first, atol=1e-5)


def test_files_of_their_own_are_the_splits(tmp_path: Path) -> None:
    table = sequences(80)
    number = table["id"].str[1:].astype(int)
    paths = {
        name: written(table[mask], tmp_path / f"{name}.csv")
        for name, mask in (
            ("data", number < 50),
            ("validation_data", (number >= 50) & (number < 60)),
            ("test_data", number >= 60),
        )
    }
    task = OwnArrays(**paths, target="kind", sequence="id", time="t", drop="level")
    assert task._facts().sequences == {"train": 50, "validation": 10, "test": 20}
    assert [file.name for file in task.files()] == list(paths.values())


def test_test_file_alone_leaves_validation_to_be_cut(tmp_path: Path) -> None:
    table = sequences(80)
    number = table["id"].str[1:].astype(int)
    task = OwnArrays(
        data=written(table[number < 60], tmp_path / "data.csv"),
        test_data=written(table[number >= 60], tmp_path / "test.csv"),
        target="kind",
        sequence="id",
        time="t",
        drop="level",
    )
    assert task._facts().sequences == {"train": 51, "validation": 9, "test": 20}


def test_classes_are_spread_over_the_splits(tmp_path: Path) -> None:
    task = of_sequences(tmp_path, sequences(60))
    for split, count in (("train", 42), ("validation", 9), ("test", 9)):
        targets = load(task, split).targets.tolist()  # type: ignore[union-attr, arg-type]
        assert len(targets) == count
        assert set(targets) == set(range(len(CLASSES)))


def test_left_out_is_no_split() -> None:
    assert LEFT_OUT not in range(len(SPLITS))
