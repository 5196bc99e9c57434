"""The tree of errors, and the texts of messages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import errors
from harness.errors import HarnessError, cause, did_you_mean, fault_text, raised_in, shown


def _kinds() -> list[type[HarnessError]]:
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HarnessError)]


def _drawn_tree() -> dict[str, str]:
    """Return the parent of each error by name, as drawn in the docstring of the module."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None or line.lstrip("│ ├└─").split()[0] != name:
            continue
        depth = line.index(name)
        above = [(at, other) for at, other in above if at < depth]
        if above:
            parents[name] = above[-1][1]
        above.append((depth, name))
    return parents


def test_docstring_shows_the_tree_of_errors() -> None:
    actual = {kind.__name__: kind.__bases__[0].__name__ for kind in _kinds() if kind is not HarnessError}
    assert _drawn_tree() == actual
    assert len(actual) >= 10


def test_did_you_mean_suggests_a_similar_name() -> None:
    assert did_you_mean("trails", ["trials", "tolerance"]) == " did you mean 'trials'?"


def test_did_you_mean_is_empty_without_a_similar_name() -> None:
    assert did_you_mean("x", ["trials", "tolerance"]) == ""
    assert did_you_mean("x", []) == ""


@given(st.sets(st.text(min_size=1), min_size=1))
def test_did_you_mean_suggests_each_known_name_for_itself(known: set[str]) -> None:
    for name in known:
        assert repr(name) in did_you_mean(name, known)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        ("x", "'x'"),
        (1.5, "1.5"),
        ({}, "an empty table"),
        ({"a": 1}, "a table"),
        ([], "an empty list"),
        ((1,), "a list"),
        ("a" * 100, "'" + "a" * 59 + "…"),
    ],
)
def test_shown_writes_a_value_as_in_toml(value: object, text: str) -> None:
    assert shown(value) == text


def test_fault_text_of_an_unlisted_kind_keeps_its_message() -> None:
    text = fault_text("a.b", 3, kind="set_type", message="Input should be a valid set", limits={})
    assert text == "'a.b': Input should be a valid set, got 3"


def test_fault_text_of_a_validator_is_its_own_message() -> None:
    assert fault_text("", {}, kind="value_error", message="Value error, too odd", limits={}) == "too odd"
    assert fault_text("a", {}, kind="value_error", message="Value error, too odd", limits={}) == "'a': too odd"


def _raised(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError("no exception was raised")


def test_line_of_an_error_is_in_the_authors_code_and_not_in_pytorch() -> None:
    layer = torch.nn.Linear(2, 3)
    error = _raised(lambda: layer(torch.zeros(1, 5)))
    assert re.fullmatch(r"RuntimeError: mat1 and mat2 shapes cannot be .* \(test_errors\.py:\d+\)", cause(error))


def test_line_of_an_error_without_the_authors_code_is_the_last_one() -> None:
    error = _raised_in_torch()
    assert re.fullmatch(r"linear\.py:\d+", raised_in(error))
    assert raised_in(ValueError("never raised")) == ""
    assert cause(ValueError("never raised")) == "ValueError: never raised"


def _raised_in_torch() -> Exception:
    """Return an error from PyTorch whose traceback has no frame of this file."""
    error = _raised(lambda: torch.nn.Linear(2, 3)(torch.zeros(1, 5)))
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals["__name__"] == __name__:
        trace = trace.tb_next
    return error.with_traceback(trace)
