"""Results as JSON: every number is read back as it was, and what JSON lacks is null."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Cell, LeftOut
from harness.report.columns import COMPARISON
from harness.report.frames import comparison
from harness.report.json_text import json_text, records
from harness.report.report import build_report
from harness.report.writers.tabular import to_json
from tests.support.cells import ACCURACY, cell_of, facts, stored


@given(st.lists(st.floats(), min_size=1))
def test_numbers_of_a_frame_are_read_back_in_every_digit(numbers: list[float]) -> None:
    read = json.loads(json_text(records(pd.DataFrame({"x": numbers}))))
    assert read == [{"x": number if math.isfinite(number) else None} for number in numbers]


def test_rows_of_a_frame_keep_their_numbers_and_say_what_is_missing() -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([2**53 - 1, None], dtype="Int64"),
            "x": pd.array([0.1, None], dtype="Float64"),
            "at": pd.to_datetime(np.array([1.5, np.nan]), unit="s", utc=True),
        }
    )
    assert records(frame) == [
        {"n": 2**53 - 1, "x": 0.1, "at": "1970-01-01T00:00:01.500Z"},
        {"n": None, "x": None, "at": None},
    ]


def test_report_as_json_has_the_values_of_its_frame() -> None:
    tcn = facts("tcn", ACCURACY)
    left = LeftOut(cell=Cell(task="copy", model="rnn"), reason="its data are missing")
    report = build_report(stored([tcn], cell_of(tcn, [1e-17 / 3, 2 / 7]), left_out=(left,)))
    trained, left_row = json.loads(to_json(report), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert list(trained) == list(left_row) == list(COMPARISON)
    assert trained["test_mean"] == comparison(report)["test_mean"][0] == (1e-17 / 3 + 2 / 7) / 2
    assert left_row["test_mean"] is None
