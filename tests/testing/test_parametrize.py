"""Checks as pytest tests."""

from __future__ import annotations

import pytest

from harness.testing import TASK_CHECKS, BoundCheck, NotApplicableError, TaskSubject, parametrize_checks
from tests.testing.planted_tasks import Flips


class Fewer(Flips):
    name = "fewer"


def test_there_is_one_test_per_subject_and_check_with_both_in_its_name() -> None:
    name, parameters = parametrize_checks(Flips(), Fewer(sequences=8)).args
    assert name == "check"
    assert [parameter.id for parameter in parameters] == [
        f"{subject}-{check.__name__}" for subject in ("planted", "fewer-sequences-8") for check in TASK_CHECKS
    ]
    # The checks of a task share its loaded splits.
    assert len({id(parameter.values[0].subject) for parameter in parameters}) == 2
    assert all(isinstance(parameter.values[0].subject, TaskSubject) for parameter in parameters)


def test_expected_failure_is_a_strict_xfail_of_that_check_only() -> None:
    mark = parametrize_checks(Flips(), Fewer(), expected_failed_checks={"planted": {"check_epoch": "its reason"}})
    marked = {parameter.id: parameter.marks for parameter in mark.args[1] if parameter.marks}
    assert set(marked) == {"planted-check_epoch"}
    (xfail,) = marked["planted-check_epoch"]
    assert (xfail.name, xfail.kwargs) == ("xfail", {"reason": "its reason", "strict": True})


def test_check_that_does_not_apply_skips_its_test() -> None:
    def check(subject: int) -> None:
        raise NotApplicableError(f"{subject} has no parts")

    with pytest.raises(pytest.skip.Exception, match="3 has no parts"):
        BoundCheck(check, 3)()
