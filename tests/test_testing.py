"""The conformance kit: each check catches its defect, and nothing else."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import harness.testing as kit
from harness import Signature
from harness.errors import UnknownNameError
from harness.testing import (
    MODEL_CHECKS,
    TASK_CHECKS,
    BoundCheck,
    CheckError,
    ModelSubject,
    NotApplicableError,
    TaskSubject,
    check_causality,
    check_model,
    check_other_process,
    check_task,
    parametrize_checks,
)
from tests.planted import DEFECTS, FEW, Defect, Flips, LooksAhead, Sound, caught_by, planted, results_of
from tests.toys import ToyEma, ToyRagged, ToyStack, ToySum

every_defect = pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
EXPECTED = {"toy-ragged": {"check_splits_disjoint": "three flips of two coins: chance alone puts some into two splits"}}


@parametrize_checks(
    Sound(),
    ToyEma(),
    ToyStack(),
    Flips(),
    ToySum(sequences=1000),
    ToyRagged(),
    expected_failed_checks=EXPECTED,
)
def test_sound_model_or_task_passes(check: BoundCheck[Any]) -> None:
    check()


@every_defect
def test_defect_is_caught_by_its_check_and_no_other(defect: Defect) -> None:
    assert caught_by(defect, elsewhere=False) == {defect.check, *defect.also}


@pytest.mark.slow
@every_defect
def test_defect_is_caught_by_no_other_check_in_another_process_either(defect: Defect) -> None:
    assert caught_by(defect, elsewhere=True) == {defect.check, *defect.also}


def test_every_check_has_a_defect() -> None:
    checks = {check.__name__ for check in (*MODEL_CHECKS, *TASK_CHECKS)}
    assert {defect.check for defect in DEFECTS} == checks


def test_every_check_is_public_and_says_what_holds() -> None:
    for check in (*MODEL_CHECKS, *TASK_CHECKS):
        assert getattr(kit, check.__name__) is check
        assert (check.__doc__ or "").split("\n")[0].endswith((".", ":"))


def test_all_has_no_repetition_and_resolves() -> None:
    assert len(kit.__all__) == len(set(kit.__all__))
    assert all(hasattr(kit, name) for name in kit.__all__)


def test_check_raises_with_the_configuration_it_failed_at() -> None:
    with pytest.raises(
        CheckError, match=r"depends on later input: off by .* \[Real\(size=1\) to Real\(size=1\), widths"
    ):
        check_causality(planted(LooksAhead))


def test_check_of_a_verb_that_is_not_offered_does_not_apply() -> None:
    statuses = {result.check: result.status for result in results_of(planted(LooksAhead), wanted=set())}
    assert {check for check, status in statuses.items() if status == "not applicable"} == {
        "check_suffix",
        "check_scan",
        "check_scan_state",
        "check_scan_gradient",
        "check_receptive_field",
    }


class Raises(Sound):
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        raise ZeroDivisionError("a planted raise")


def test_model_that_raises_fails_with_type_message_line_and_configuration() -> None:
    result = results_of(Raises(), wanted=set())[0]
    assert result.status == "failed"
    assert result.reason.startswith("ZeroDivisionError: a planted raise (test_testing.py:")
    assert "Real(size=1)" in result.reason


class Refuses(Sound):
    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        return "never"


def test_model_that_supports_nothing_is_not_checked() -> None:
    with pytest.raises(NotApplicableError, match="planted supports none of the 6 signatures"):
        check_causality(Refuses())


def test_expected_failure_is_good_and_carries_its_reason() -> None:
    subject = ModelSubject(planted(LooksAhead), signatures=FEW)
    results = check_model(subject, expected_failed_checks={"check_causality": "it reads backwards"})
    found = next(result for result in results if result.check == "check_causality")
    assert (found.status, found.reason, found.good) == ("failed as expected", "it reads backwards", True)


def test_pass_of_a_check_that_is_expected_to_fail_is_a_fault() -> None:
    results = check_task(Flips(), expected_failed_checks={"check_epoch": "why not"})
    found = next(result for result in results if result.check == "check_epoch")
    assert (found.status, found.good) == ("passed unexpectedly", False)


def test_expected_failure_of_an_unknown_check_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no check 'check_causalty'; did you mean 'check_causality'"):
        check_model(Sound(), expected_failed_checks={"check_causalty": ""})
    with pytest.raises(UnknownNameError, match="'plantd' is not among what is checked; did you mean 'planted'"):
        parametrize_checks(Sound(), expected_failed_checks={"plantd": {}})


def test_checks_leave_the_global_random_states_as_they_were() -> None:
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    results_of(Sound(), wanted=set())
    results_of(Flips(), wanted=set())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]


def test_cases_are_the_same_each_time_and_take_fixed_keywords() -> None:
    subject = ModelSubject(ToyEma(), {"bias": False})
    assert list(map(str, subject.cases())) == list(map(str, subject.cases()))
    assert {case.params["bias"] for case in subject.cases()} == {False}
    assert subject.name == "toy-ema-bias-False"


def test_subject_of_a_task_is_named_by_its_options() -> None:
    assert TaskSubject(ToySum(length=9)).name == "toy-sum-length-9"


def test_model_that_another_process_cannot_import_is_said_so() -> None:
    class Local(Sound):
        pass

    with pytest.raises(CheckError, match=r"cannot be pickled: .*Local"):
        check_other_process(Local())


def test_importing_the_kit_needs_neither_pytest_nor_ray_nor_mlflow() -> None:
    script = "import sys, harness.testing; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"pytest", "ray", "mlflow", "hypothesis"} & set(done.stdout.split())
