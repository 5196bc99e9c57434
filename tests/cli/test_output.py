"""Standard output that other programs read."""

from __future__ import annotations

import json

import pytest

from harness.cli.actions.output import print_json


def test_numbers_that_json_lacks_are_null_at_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), {"c": -float("inf")}, "NaN"], "d": (1, 0.1)})
    text = capsys.readouterr().out
    strict = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert strict == {"a": None, "b": [None, {"c": None}, "NaN"], "d": [1, 0.1]}
