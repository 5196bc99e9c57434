"""Limits on the size of modules, functions and parameter lists."""

from __future__ import annotations

import pytest

pytest.importorskip("structure", reason="the core's wheel is tested without benchmarks/")

from structure import functions, module_lines, modules

MODULE_LINES = 350
FUNCTION_LINES = 50
PARAMETERS = 6
COMMANDS = "harness/cli/"
"""Typer reads the options of a command from its function's parameters."""


def test_modules_stay_short() -> None:
    assert {path: lines for path in modules() if (lines := module_lines(path)) > MODULE_LINES} == {}


def test_functions_stay_short() -> None:
    every = [function for path, tree in modules().items() for function in functions(path, tree)]
    assert len(every) > 1000
    long = [function for function in every if function.lines > FUNCTION_LINES]
    assert [function for function in long if not function.place.startswith(COMMANDS)] == []


def test_parameter_lists_stay_short() -> None:
    every = [function for path, tree in modules().items() for function in functions(path, tree)]
    many = [function for function in every if function.parameters > PARAMETERS]
    assert [function for function in many if not function.place.startswith(COMMANDS)] == []
