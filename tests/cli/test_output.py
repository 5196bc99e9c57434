"""Standard output that other programs read."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from harness.cli.actions.output import print_json, records


def test_numbers_that_json_lacks_are_null_at_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), {"c": -float("inf")}, "NaN"], "d": (1, 0.1)})
    text = capsys.readouterr().out
    strict = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert strict == {"a": None, "b": [None, {"c": None}, "NaN"], "d": [1, 0.1]}


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
