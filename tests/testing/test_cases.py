"""The configurations that the checks of a model use."""

from __future__ import annotations

from typing import Any

import pytest

from harness import Signature
from harness.testing import CheckError, NotApplicableError
from harness.testing.cases import DRAWS, DROPOUTS, NARROWEST, SIGNATURES, WIDEST, Case, ModelSubject, each_case
from tests.testing.planted_models import Sound


class Selective(Sound):
    """A model that supports only a part of its search space, and no signature of one step."""

    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        return "too small" if params["scale"] < 1.3 or signature.length == 1 else None


def test_first_configuration_is_the_middle_of_the_space_and_dropout_alternates() -> None:
    cases = list(ModelSubject(Sound()).cases())
    assert len(cases) == DRAWS * len(SIGNATURES)
    assert [case.params["scale"] for case in cases[::DRAWS]] == [1.0] * len(SIGNATURES)
    assert [case.params["dropout"] for case in cases[:DRAWS]] == list(DROPOUTS)
    assert all(NARROWEST <= width <= WIDEST for case in cases for width in case.widths)


def test_rejected_configurations_are_replaced_and_unsupported_signatures_left_out() -> None:
    cases = list(ModelSubject(Selective()).cases())
    assert {case.signature for case in cases} == {signature for signature in SIGNATURES if signature.length > 1}
    assert len(cases) == DRAWS * (len(SIGNATURES) - 1)
    assert all(case.params["scale"] >= 1.3 for case in cases)


def test_lengths_include_one_step_and_more_than_the_task_has() -> None:
    for case in ModelSubject(Sound()).cases(1):
        times = case.times()
        assert times[0] == 1
        assert {case.signature.length, case.signature.length + 3} <= set(times)
        assert len(times) == len(set(times))


def test_check_raises_the_first_failure_with_its_configuration() -> None:
    @each_case()
    def check_long_signatures(case: Case) -> None:
        if case.signature.length == 1:
            raise CheckError("too short")

    with pytest.raises(CheckError, match=r"^too short \[Real\(size=3\) to Real\(size=2\), widths"):
        check_long_signatures(Sound())


def test_check_applies_if_it_applies_to_any_configuration() -> None:
    checked: list[int] = []

    @each_case(draws=1)
    def check_single_steps(case: Case) -> None:
        if case.signature.length > 1:
            raise NotApplicableError("has several steps")
        checked.append(case.signature.length)

    check_single_steps(Sound())
    assert checked == [1]
    with pytest.raises(NotApplicableError, match=r"^has several steps$"):
        check_single_steps(ModelSubject(Sound(), signatures=SIGNATURES[:2]))
