"""Options of a notebook: they reach a study as they were given, whatever type they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.errors import StudyError
from harness.study.overrides import parse_assignment
from harness.workflow.arguments import assignments

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
)


@given(SCALARS | st.lists(SCALARS.filter(lambda value: value is not None)))
def test_value_is_read_back_as_it_was_given(value: Any) -> None:
    (line,) = assignments({"key": value}, "recommend")
    assert "\n" not in line
    assert parse_assignment(line) == ("key", value)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("id"), "id"),
        (np.array([1, 2]), [1, 2]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (range(3), [0, 1, 2]),
        (Path("data/x.csv"), "data/x.csv"),
        ("id😀", "id😀"),
        ([None, 1], ["none", 1]),
        ([{"name": "tcn", "space": {"clip": None}}], [{"name": "tcn", "space": {"clip": "none"}}]),
    ],
)
def test_value_of_another_type_becomes_one_of_a_study_file(value: Any, read: Any) -> None:
    (line,) = assignments({"key": value}, "recommend")
    assert parse_assignment(line) == ("key", read)


def test_table_changes_the_keys_that_it_has() -> None:
    options = {"budget": {"trials": 5}, "search": {"space": {"clip": None, "layers": [1, 2]}}}
    lines = ["budget.trials=5", "search.space.clip=none", "search.space.layers=[1, 2]"]
    assert list(assignments(options, "recommend")) == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": {"length": {3}}}, "recommend: options: 'length' is of type set; give a number"),
        ({"options": "length=5"}, "recommend: options must be a mapping, such as {'updates': 500}, got 'length=5'"),
        ({"models": "gru"}, "recommend: 'models' must be a list, got 'gru'; write ['gru']"),
        ({"trials": "5"}, "recommend: 'trials' must be a number, got '5'"),
        ({"minutes": "5"}, "recommend: 'minutes' must be a number, got '5'"),
        ({"minutes": float("nan")}, "recommend: 'minutes' must be a number, got nan"),
        ({"confidence": None}, "recommend: 'confidence' must be a number, got None"),
        ({"budget": 0}, "'0': not a number of parameters"),
        ({"budget": -5}, "'-5': not a number of parameters"),
        ({"budget": [500, 500.0]}, "has 500 twice"),
    ],
)
def test_argument_of_another_kind_is_one_line(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as caught:
        harness.recommend(FRAME, "b", **{"budget": 500, "executor": "serial", "progress": False, **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


FRAME = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
