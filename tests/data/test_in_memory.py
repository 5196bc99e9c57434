"""Frames and arrays in memory, as the files that tasks read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.data.in_memory import data_file
from harness.errors import DataError

FRAME = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=3), "y": [1.0, np.nan, 3.0], "kind": ["a", "b", "a"]})


def test_a_path_is_used_where_it_is(tmp_path: Path) -> None:
    assert data_file(str(tmp_path / "rows.csv"), tmp_path / "kept", "rows") == tmp_path / "rows.csv"
    assert not (tmp_path / "kept").exists()


def test_a_frame_comes_back_from_its_file_and_the_same_rows_make_the_same_file(tmp_path: Path) -> None:
    path = data_file(FRAME, tmp_path, "rows")
    pd.testing.assert_frame_equal(pd.read_parquet(path), FRAME)
    assert data_file(FRAME.set_index(np.array([5, 6, 7])), tmp_path, "rows") == path  # the index is left out
    assert data_file(FRAME.assign(y=0.0), tmp_path, "rows") != path
    assert len(list(tmp_path.iterdir())) == 2


def test_arrays_come_back_from_their_file(tmp_path: Path) -> None:
    arrays = {"inputs": np.arange(6.0).reshape(1, 6, 1), "targets": np.array([3])}
    with np.load(data_file(arrays, tmp_path, "rows")) as file:
        assert set(file.files) == {"inputs", "targets"}
        np.testing.assert_array_equal(file["inputs"], arrays["inputs"])
        assert file["targets"].tolist() == [3]


def test_python_objects_are_refused_in_one_line_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data: cannot be stored as a file \([^\n]+\); give columns of numbers"):
        data_file(pd.DataFrame({"y": [object(), 1]}), tmp_path, "rows")
    assert not list(tmp_path.iterdir())
