"""Example rows of a user's file: what a model in MLflow takes is what `examples` needs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import DataError
from harness_tasks import OwnArrays
from plugins.tasks.tests.own_files import arrays, of_sequences, of_series, sequences, series, written


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def rows_of(task: OwnArrays, count: int = 20) -> pd.DataFrame:
    """Return the example rows, which the task must read as new rows."""
    rows = task.example_rows(count)
    assert rows is not None
    path = Path(task.data).with_name("example.parquet")
    rows.to_parquet(path, index=False)
    task.examples(path, {})
    return rows


def test_forecast_has_the_past_of_its_target(tmp_path: Path) -> None:
    table = series()
    assert list(rows_of(of_series(tmp_path, table)).columns) == ["when", "wind"]
    rows = rows_of(of_series(tmp_path, table, horizon=1))
    assert list(rows.columns) == ["when", "wind", "heat"]
    assert rows["heat"].tolist() == table["heat"][:20].tolist()


def test_file_of_one_column_keeps_its_name(tmp_path: Path) -> None:
    path = written(pd.DataFrame({"price": np.random.default_rng(0).normal(size=400)}), tmp_path / "one.csv")
    assert list(rows_of(OwnArrays(data=path, horizon=1)).columns) == ["price"]


def test_forecast_of_a_class_has_the_present_class(tmp_path: Path) -> None:
    table = series().assign(state=lambda made: np.where(made["heat"] > 20, "hot", "cold"))
    rows = rows_of(of_series(tmp_path, table, target="state", horizon=1))
    assert rows["state"].tolist() == table["state"][:20].tolist()


def test_columns_that_a_prediction_does_not_need_are_left_out(tmp_path: Path) -> None:
    task = of_sequences(tmp_path, sequences().assign(ward="a"), drop="level,ward")
    assert list(rows_of(task).columns) == ["id", "t", "a", "b"]


def test_rows_are_of_the_first_sequences_in_a_file_that_is_sorted_by_time(tmp_path: Path) -> None:
    table = sequences().sort_values(["t", "id"])
    assert table["id"][:20].nunique() == 20
    assert rows_of(of_sequences(tmp_path, table))["id"].nunique() < 6


def test_wide_table_has_its_steps_and_names(tmp_path: Path) -> None:
    steps = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 6)), columns=list("abcdef"))
    table = steps.assign(y=steps.sum(axis=1), name=[f"n{row}" for row in range(60)], ward="a")
    path = written(table, tmp_path / "wide.csv")
    rows = rows_of(OwnArrays(data=path, target="y", wide=True, sequence="name", drop="ward"))
    assert list(rows.columns) == [*"abcdef", "name"]


def test_decimals_are_numbers_that_json_holds(tmp_path: Path) -> None:
    heat = pd.Series([Decimal(f"{value:.2f}") for value in series()["heat"]])
    rows = rows_of(of_series(tmp_path, series().assign(heat=heat), target="heat", horizon=1))
    assert rows["heat"].dtype == float
    assert rows["heat"].tolist() == heat[:20].astype(float).tolist()


def test_arrays_have_no_columns(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = arrays(tmp_path, {"x": random.normal(size=(40, 5, 2)), "y": random.integers(0, 2, 40)})
    assert OwnArrays(data=path, target="y").example_rows(20) is None


def test_missing_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    task = of_sequences(tmp_path)
    kept = task.with_prediction_facts(task.prediction_facts())
    Path(task.data).unlink()
    with pytest.raises(DataError, match=r"sequences\.parquet: cannot be read"):
        kept.example_rows(20)
