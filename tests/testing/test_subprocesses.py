"""Calls in another process."""

from __future__ import annotations

import math
import os

import pytest
import torch

from harness.testing import check_other_process, check_output_shape
from harness.testing.builds import _sample
from harness.testing.cases import subject_of
from harness.testing.outcomes import CheckError
from harness.testing.subprocesses import call_in_subprocess, faults_of_backbones
from tests.testing.attention_models import Attention, Lazy


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


def test_backbone_whose_sums_are_computed_by_another_number_of_threads_is_the_same() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)  # the other process has one
    try:
        check_other_process(Attention())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("change", ["outputs", "weights"])
def test_backbone_that_differs_by_more_than_rounding_is_a_fault(change: str) -> None:
    sample = _sample(next(iter(subject_of(Attention()).cases(1))))
    assert faults_of_backbones([sample]) == []
    if change == "outputs":
        sample.y.add_(1e-4)
    else:
        next(iter(sample.weights.values())).add_(1e-4)
    (fault,) = faults_of_backbones([sample])
    assert f"different {change} in another process" in fault


def test_lazy_modules_fail_the_checks_with_the_reason() -> None:
    with pytest.raises(CheckError, match=r"build returns lazy modules \(weight has no shape yet\)"):
        check_output_shape(Lazy())
