"""Calls in another process."""

from __future__ import annotations

import math
import os

import pytest

from harness.testing.outcomes import CheckError
from harness.testing.subprocesses import call_in_subprocess


def test_result_is_returned_from_a_process_with_another_hash_seed() -> None:
    assert call_in_subprocess(math.factorial, 20) == math.factorial(20)
    assert call_in_subprocess(hash, "a string") != hash("a string")


def test_exception_in_the_other_process_is_a_check_error_with_its_last_line() -> None:
    with pytest.raises(CheckError, match=r"^raises in another process: ValueError: invalid literal for int\(\) .*'x'$"):
        call_in_subprocess(int, "x")


def test_function_that_cannot_be_pickled_is_a_check_error() -> None:
    with pytest.raises(CheckError, match=r"^cannot be pickled: .*lambda"):
        call_in_subprocess(lambda number: number, 1)


@pytest.mark.parametrize(("here", "there"), [("1", "2"), ("2", "1"), ("random", "1")])
def test_hash_seed_of_the_other_process_differs(here: str, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", here)
    assert call_in_subprocess(os.getenv, "PYTHONHASHSEED") == there
