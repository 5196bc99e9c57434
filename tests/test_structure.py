"""Limits on the size of modules, functions and parameter lists."""

from __future__ import annotations

import pytest

pytest.importorskip("structure", reason="the core's wheel is tested without benchmarks/")

from structure import Function, functions, module_lines, modules

MODULE_LINES = 350
FUNCTION_LINES = 50
PARAMETERS = 6
DECLARATIONS = ("harness/cli/", "harness/workflow/run.py", "harness/workflow/recommend.py")
"""Typer reads the options of a command from its function's parameters; `harness.run` and `harness.recommend` have the
same options.  Nothing else in these modules may be longer."""


def test_modules_stay_short() -> None:
    assert {path: lines for path in modules() if (lines := module_lines(path)) > MODULE_LINES} == {}


def test_functions_stay_short() -> None:
    every = [function for path, tree in modules().items() for function in functions(path, tree)]
    assert len(every) > 1000
    long = [function for function in every if function.lines > FUNCTION_LINES]
    assert [function for function in long if not declares(function)] == []


def test_parameter_lists_stay_short() -> None:
    every = [function for path, tree in modules().items() for function in functions(path, tree)]
    many = [function for function in every if function.parameters > PARAMETERS]
    assert [function for function in many if not declares(function)] == []


def declares(function: Function) -> bool:
    place, _, name = function.place.partition(" ")
    return place.startswith(DECLARATIONS) and (place.startswith("harness/cli/") or name in ("run", "recommend"))
