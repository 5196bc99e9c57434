"""Gaps in time: a note reports them, and windows end at them unless `across_gaps` is set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from harness import Ragged
from harness.api.dataset import SPLITS
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import of_series, pieces, sequences, series, written


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def clocked(rows: int = 600) -> pd.DataFrame:
    """A series whose input tells the row that it is of."""
    return series(rows).assign(wind=np.arange(rows, dtype=float))


def rows_of(task: OwnArrays) -> list[Any]:
    """The rows of each window of every split."""
    mean, scale = task._facts().means[0], task._facts().scales[0]
    return [np.rint(part[:, 0] * scale + mean) for split in SPLITS for part in pieces(task, split)]


def gaps_told(task: OwnArrays) -> list[str]:
    return [note for note in task.notes() if "gap" in note or "uneven" in note]


@pytest.mark.parametrize("horizon", [0, 1, 3])
def test_no_window_reaches_across_a_gap(horizon: int, tmp_path: Path) -> None:
    task = of_series(tmp_path, clocked().drop(range(200, 260)), horizon=horizon)
    windows = rows_of(task)
    assert all(np.all(np.diff(window) == 1) for window in windows)
    assert max(window[-1] for window in windows if window[-1] < 260) == 199 - horizon
    assert gaps_told(task) == [
        "1 gap in when: before row 201 the step is 61 times the usual one; windows end there; "
        "across_gaps = true joins them"
    ]


def test_windows_reach_across_gaps_where_that_is_asked_for(tmp_path: Path) -> None:
    task = of_series(tmp_path, clocked().drop(range(200, 260)), horizon=1, across_gaps=True)
    assert any(np.diff(window).max() == 61 for window in rows_of(task) if len(window) > 1)
    assert gaps_told(task)[0].endswith("rows are read as if they were even")


def test_gaps_of_a_shuffled_file_are_told_by_its_own_rows(tmp_path: Path) -> None:
    table = clocked().drop(range(200, 260)).sample(frac=1, random_state=0).reset_index(drop=True)
    row = int(np.flatnonzero(table["wind"] == 260)[0]) + 1
    task = of_series(tmp_path, table, horizon=1)
    assert f"before row {row:,} the step is 61 times" in gaps_told(task)[0]
    assert all(np.all(np.diff(window) == 1) for window in rows_of(task))


@pytest.mark.parametrize(
    "when",
    [
        pd.bdate_range("2020-01-01", periods=600),
        pd.date_range("1950-01-01", periods=600, freq="MS"),
        pd.date_range("2025-01-01", periods=600, freq="min"),
        pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(600) * 1000 + np.arange(600) ** 2 % 41, unit="ms"),
    ],
    ids=["working days", "months", "minutes", "seconds with jitter"],
)
def test_usual_steps_are_no_gaps(when: pd.DatetimeIndex, tmp_path: Path) -> None:
    task = of_series(tmp_path, clocked().assign(when=when), horizon=1)
    assert gaps_told(task) == []
    assert task.training_sequences() == 28


def test_uneven_times_are_told_and_cut_nothing(tmp_path: Path) -> None:
    when = np.random.default_rng(0).exponential(size=600).cumsum()
    task = of_series(tmp_path, clocked().assign(when=when), horizon=1)
    assert gaps_told(task) == [
        "the steps of time in when are uneven, and models read rows, not times; the time since the previous row can be "
        "an input"
    ]
    assert task.training_sequences() == 28


def shops(rates: dict[str, int]) -> pd.DataFrame:
    random = np.random.default_rng(0)
    parts = []
    for number, (shop, step) in enumerate(rates.items()):
        clock = 1000.0 * number + np.arange(40)
        parts.append(
            pd.DataFrame({"shop": shop, "t": step * np.arange(40), "clock": clock, "y": random.normal(size=40)})
        )
    return pd.concat(parts, ignore_index=True)


def test_series_of_several_rates_have_gaps_of_their_own(tmp_path: Path) -> None:
    table = shops({f"s{number:02}": 24 if number == 7 else 1 for number in range(30)})
    table = table.drop(table.index[(table["shop"] == "s07") & table["t"].between(240, 360)])
    task = OwnArrays(data=written(table, tmp_path / "x.csv"), target="y", sequence="shop", time="t", horizon=1)
    assert all(np.all(np.diff(window) == 1) for window in rows_of(task))
    assert sum(task._facts().sequences.values()) == 31  # the sequence with the gap is two


def test_sequences_with_one_answer_stay_whole(tmp_path: Path) -> None:
    table = sequences()
    table.loc[(table["id"] == "s003") & (table["t"] > 2), "t"] += 50
    path = written(table, tmp_path / "x.csv")
    task = OwnArrays(data=path, target="kind", sequence="id", time="t", drop="level")
    assert sum(task._facts().sequences.values()) == 60
    assert "1 gap in t: " in gaps_told(task)[0]
    assert gaps_told(task)[0].endswith("rows are read as if they were even")


def test_new_rows_are_cut_at_gaps_too(tmp_path: Path) -> None:
    task = of_series(tmp_path, clocked().drop(range(200, 260)), horizon=1)
    new = clocked(100).drop(range(33, 60))
    path = Path(written(new, tmp_path / "new.csv"))
    examples = task.examples(path, {})
    assert isinstance(examples, Ragged)
    assert 33 in np.cumsum(examples.lengths.numpy())
    assert len(task.answers(torch.zeros(73, 1), path, {})) == 73
