"""Results of checks, tolerances, and global random states."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from harness.testing.outcomes import (
    TOLERANCE,
    CheckError,
    NotApplicableError,
    moved_generators,
    random_state_kept,
    random_states,
    require_close,
    run_checks,
)


def check_passes(subject: int) -> None:
    assert subject == 3


def check_fails(subject: int) -> None:
    raise CheckError("it is odd")


def check_does_not_apply(subject: int) -> None:
    raise NotApplicableError("it has no parts")


def check_raises(subject: int) -> None:
    error = ValueError("first line\nsecond line")
    error.add_note("case 7")
    raise error


CHECKS = (check_passes, check_fails, check_does_not_apply, check_raises)


def test_every_check_runs_and_has_a_status_and_a_reason() -> None:
    results = run_checks(3, "three", CHECKS)
    assert [result.subject for result in results] == ["three"] * 4
    assert [(result.check, result.status, result.good) for result in results] == [
        ("check_passes", "passed", True),
        ("check_fails", "failed", False),
        ("check_does_not_apply", "not applicable", True),
        ("check_raises", "failed", False),
    ]
    reasons = [result.reason for result in results]
    assert reasons[:3] == ["", "it is odd", "it has no parts"]
    assert reasons[3].startswith("ValueError: first line (test_outcomes.py:")
    assert reasons[3].endswith(" [case 7]")


def test_expected_failures_change_the_status_of_failed_and_passed_checks_only() -> None:
    expected = {check.__name__: "known" for check in CHECKS}
    results = run_checks(3, "three", CHECKS, expected)
    assert [(result.status, result.good) for result in results] == [
        ("passed unexpectedly", False),
        ("failed as expected", True),
        ("not applicable", True),
        ("failed as expected", True),
    ]
    assert results[0].reason == "it is expected to fail (known); remove that exemption"


def test_require_close_accepts_differences_within_the_tolerance() -> None:
    ones = torch.ones(2, 3, dtype=torch.float64)
    require_close(ones * (1 + TOLERANCE), ones, "they differ")


def test_require_close_reports_the_largest_difference_and_unequal_shapes() -> None:
    ones = torch.ones(2, 3, dtype=torch.float64)
    with pytest.raises(CheckError, match=r"^they differ: off by 0\.25$"):
        require_close(ones + torch.tensor([0.0, -0.25, 0.125]), ones, "they differ")
    with pytest.raises(CheckError, match=r"^they differ: shape \(2, 3\), not \(3, 2\)$"):
        require_close(ones, ones.T, "they differ")


def next_numbers() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def use_generators_and_fail() -> None:
    next_numbers()
    torch.manual_seed(0)
    raise ZeroDivisionError("planted")


def test_global_random_states_are_restored_also_after_an_exception() -> None:
    with random_state_kept():
        expected = next_numbers()
    with pytest.raises(ZeroDivisionError, match="planted"), random_state_kept():
        use_generators_and_fail()
    with random_state_kept():
        assert next_numbers() == expected


def test_used_generators_are_named() -> None:
    with random_state_kept():
        before = random_states()
        torch.rand(())
        assert moved_generators(before) == []
        np.random.random()
        assert moved_generators(before) == ["numpy.random"]
        random.random()
        assert moved_generators(before) == ["random", "numpy.random"]
