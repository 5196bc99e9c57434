"""The conformance kit: each check catches its defect, no other check does, and sound plugins pass."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness.testing as kit
from harness import Batch, Signature, Total
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
    check_stack,
    check_task,
    parametrize_checks,
)
from tests.support.toys import ToyEma, ToyRagged, ToyStack, ToySum
from tests.testing.planted import DEFECTS, FEW, Defect, caught_by, results_of
from tests.testing.planted_models import LooksAhead, Sound, Stackable, planted
from tests.testing.planted_tasks import Flips

every_defect = pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
EXPECTED = {"toy-ragged": {"check_splits_disjoint": "three flips of two coins: some are in two splits by chance"}}


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
    assert caught_by(defect, all_checks=False) == {defect.check, *defect.also}


@pytest.mark.slow
@every_defect
def test_defect_is_not_caught_by_other_checks_in_another_process(defect: Defect) -> None:
    assert caught_by(defect, all_checks=True) == {defect.check, *defect.also}


def test_every_check_has_a_defect() -> None:
    checks = {check.__name__ for check in (*MODEL_CHECKS, *TASK_CHECKS)}
    assert {defect.check for defect in DEFECTS} == checks


def test_every_check_is_public_and_documents_what_it_checks() -> None:
    for check in (*MODEL_CHECKS, *TASK_CHECKS):
        assert getattr(kit, check.__name__) is check
        summary = (check.__doc__ or "").split("\n")[0]
        assert summary.startswith("Check that ")
        assert summary.endswith(".")


def test_all_has_no_repetition_and_resolves() -> None:
    assert len(kit.__all__) == len(set(kit.__all__))
    assert all(hasattr(kit, name) for name in kit.__all__)


def test_check_error_names_the_configuration() -> None:
    with pytest.raises(
        CheckError, match=r"depends on later input: off by .* \[Real\(size=1\) to Real\(size=1\), widths"
    ):
        check_causality(planted(LooksAhead))


def test_check_of_a_method_that_is_not_offered_does_not_apply() -> None:
    statuses = {result.check: result.status for result in results_of(planted(LooksAhead), wanted=set())}
    assert {check for check, status in statuses.items() if status == "not applicable"} == {
        "check_suffix",
        "check_scan",
        "check_scan_state",
        "check_scan_gradient",
        "check_receptive_field",
        "check_stack",
    }


class Raises(Sound):
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        raise ZeroDivisionError("a planted raise")


def test_exception_of_a_model_is_reported_with_type_message_line_and_configuration() -> None:
    result = results_of(Raises(), wanted=set())[0]
    assert result.status == "failed"
    assert result.reason.startswith("ZeroDivisionError: a planted raise (test_kit.py:")
    assert "Real(size=1)" in result.reason


class Refuses(Sound):
    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        return "never"


def test_model_that_supports_nothing_is_not_checked() -> None:
    with pytest.raises(NotApplicableError, match="planted supports none of the 6 signatures"):
        check_causality(Refuses())


def test_expected_failure_is_good_and_has_its_reason() -> None:
    subject = ModelSubject(planted(LooksAhead), signatures=FEW)
    results = check_model(subject, expected_failed_checks={"check_causality": "it reads the future"})
    result = next(result for result in results if result.check == "check_causality")
    assert (result.status, result.reason, result.good) == ("failed as expected", "it reads the future", True)


def test_unexpected_pass_is_not_good() -> None:
    results = check_task(Flips(), expected_failed_checks={"check_epoch": "why not"})
    result = next(result for result in results if result.check == "check_epoch")
    assert (result.status, result.good) == ("passed unexpectedly", False)


def test_expected_failure_of_an_unknown_check_or_subject_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="unknown check 'check_causalty'; did you mean 'check_causality'"):
        check_model(Sound(), expected_failed_checks={"check_causalty": ""})
    with pytest.raises(UnknownNameError, match="'plantd' is not among what is checked; did you mean 'planted'"):
        parametrize_checks(Sound(), expected_failed_checks={"plantd": {}})


def test_checks_restore_the_global_random_states() -> None:
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    results_of(Sound(), wanted=set())
    results_of(Flips(), wanted=set())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]


def test_cases_are_reproducible_and_have_the_fixed_parameters() -> None:
    subject = ModelSubject(ToyEma(), {"bias": False})
    assert list(map(str, subject.cases())) == list(map(str, subject.cases()))
    assert {case.params["bias"] for case in subject.cases()} == {False}
    assert subject.name == "toy-ema-bias-False"


def test_subject_of_a_task_is_named_by_its_options() -> None:
    assert TaskSubject(ToySum(length=9)).name == "toy-sum-length-9"


def test_model_that_another_process_cannot_import_fails_with_the_reason() -> None:
    class Local(Sound):
        pass

    with pytest.raises(CheckError, match=r"cannot be pickled: .*Local"):
        check_other_process(Local())


def test_importing_the_kit_imports_neither_pytest_nor_ray_nor_mlflow() -> None:
    script = "import sys, harness.testing; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"pytest", "ray", "mlflow", "hypothesis"} & set(done.stdout.split())


class Recurrent(nn.GRU):
    """A GRU with one mistake that authors often make."""

    state: Tensor | None = None

    def __init__(self, in_features: int, width: int, **_: Any) -> None:
        super().__init__(in_features, width, batch_first=True)
        self.out_features = width


class KeepsItsState(Recurrent):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        fits = self.state is not None and self.state.shape[1] == len(x)
        y, after = super().forward(x, self.state if fits else None)
        self.state = after.detach()
        return y


class ReturnsItsState(Recurrent):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x)


class TimeLast(Recurrent):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)[0].transpose(1, 2)


def reasons_of(backbone: type[nn.Module]) -> dict[str, str]:
    """Return the reasons of the failed checks of a sound model with this backbone, by check."""
    model = type("Planted", (Sound,), {"backbone": backbone})()
    return {result.check: result.reason for result in results_of(model, wanted=set()) if result.status == "failed"}


def test_state_kept_between_calls_is_not_reported_as_a_dependence_on_later_input() -> None:
    reasons = reasons_of(KeepsItsState)
    assert reasons["check_causality"].startswith("in eval(), a second call with the same input gives another output")
    assert reasons["check_no_state"].startswith("the output depends on an earlier call: off by")


def test_output_of_a_wrong_type_or_shape_is_reported_with_what_is_expected() -> None:
    reason = reasons_of(ReturnsItsState)["check_output_shape"]
    assert reason.startswith("forward returns a tuple; it must return one tensor")
    reason = reasons_of(TimeLast)["check_output_shape"]
    assert re.match(
        r"forward returns \(2, (\d+), 1\) for 2 sequences of 1 steps; it must return .* = \(2, 1, \1\) ", reason
    )


class PlainList(nn.Module):
    def __init__(self, in_features: int, width: int, **_: Any) -> None:
        super().__init__()
        self.out_features = width
        self.layers = [nn.Linear(in_features, width)]

    def forward(self, x: Tensor) -> Any:
        return self.layers[0](x)


def test_layers_in_a_plain_list_are_reported() -> None:
    assert reasons_of(PlainList)["check_seed"].startswith(
        "the backbone has no parameters; put layers into nn.ModuleList"
    )


class SumsToFloat(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        return {name: Total(total.sum.item(), total.count) for name, total in super().loss(output, batch).items()}  # type: ignore[arg-type]


def test_sum_that_is_not_a_tensor_is_reported_with_advice() -> None:
    (result,) = [result for result in check_task(SumsToFloat()) if result.check == "check_loss"]
    assert result.reason == "the sum of total 'nats' is a float, not a tensor; leave .item() out"


class StackOfOtherNames(Stackable):
    def stack(self, count: int) -> nn.Module:
        return nn.Sequential(super().stack(count)).train(self.training)


class StackInTraining(Stackable):
    def stack(self, count: int) -> nn.Module:
        return super().stack(count).train()


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (
            StackOfOtherNames,
            "the weights of a stack must be the backbone's with one more first axis; different: .*linear",
        ),
        (StackInTraining, "stack returns a module in another mode than the backbone"),
    ],
)
def test_invalid_stack_is_reported(backbone: type[nn.Module], message: str) -> None:
    model = type("Planted", (Sound,), {"backbone": backbone})()
    with pytest.raises(CheckError, match=message):
        check_stack(model)
