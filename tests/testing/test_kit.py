"""The conformance kit: each check catches its defect, and nothing else."""

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
from tests.testing.planted import (
    DEFECTS,
    FEW,
    Defect,
    Flips,
    LooksAhead,
    Sound,
    Stackable,
    caught_by,
    planted,
    results_of,
)

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
        "check_stack",
    }


class Raises(Sound):
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        raise ZeroDivisionError("a planted raise")


def test_model_that_raises_fails_with_type_message_line_and_configuration() -> None:
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


class Recurrent(nn.GRU):
    """A GRU as an author may write it first, with one mistake."""

    kept: Tensor | None = None

    def __init__(self, in_features: int, width: int, **_: Any) -> None:
        super().__init__(in_features, width, batch_first=True)
        self.out_features = width


class KeepsItsState(Recurrent):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        fits = self.kept is not None and self.kept.shape[1] == len(x)
        y, after = super().forward(x, self.kept if fits else None)
        self.kept = after.detach()
        return y


class GivesItsState(Recurrent):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x)


class TimeLast(Recurrent):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)[0].transpose(1, 2)


def found(backbone: type[nn.Module]) -> dict[str, str]:
    """What failed of a sound model with this backbone, and why."""
    model = type("Planted", (Sound,), {"backbone": backbone})()
    return {result.check: result.reason for result in results_of(model, wanted=set()) if result.status == "failed"}


def test_state_that_is_kept_between_calls_is_not_called_a_look_ahead() -> None:
    reasons = found(KeepsItsState)
    assert reasons["check_causality"].startswith(
        "in eval(), the same input gives another output when it is given again"
    )
    assert reasons["check_no_state"].startswith("the output depends on an earlier call: off by")


def test_output_that_is_no_tensor_or_of_another_shape_is_told_with_what_is_right() -> None:
    reason = found(GivesItsState)["check_output_shape"]
    assert reason.startswith("forward gives a tuple, not a tensor: outputs alone; a state is for scan to give")
    reason = found(TimeLast)["check_output_shape"]
    assert re.match(r"forward gives \(2, (\d+), 1\) for 2 sequences of 1 steps, not .* = \(2, 1, \1\) ", reason)


class PlainList(nn.Module):
    def __init__(self, in_features: int, width: int, **_: Any) -> None:
        super().__init__()
        self.out_features = width
        self.layers = [nn.Linear(in_features, width)]

    def forward(self, x: Tensor) -> Any:
        return self.layers[0](x)


def test_layers_that_are_not_registered_are_told_of() -> None:
    assert found(PlainList)["check_seed"].startswith("the backbone has no parameters; layers in a plain list count as")


class SumsToFloat(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        return {name: Total(total.sum.item(), total.count) for name, total in super().loss(output, batch).items()}  # type: ignore[arg-type]


def test_total_that_is_no_tensor_is_told_of_with_the_way_out() -> None:
    (result,) = [result for result in check_task(SumsToFloat()) if result.check == "check_loss"]
    assert result.reason == "total 'nats' sums to a float, not a tensor: leave .item() out"


class StackOfOtherNames(Stackable):
    def stack(self, count: int) -> nn.Module:
        return nn.Sequential(super().stack(count)).train(self.training)


class StackInTraining(Stackable):
    def stack(self, count: int) -> nn.Module:
        return super().stack(count).train()


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (StackOfOtherNames, "the weights of a stack are not a backbone's with one more axis in front: .*linear"),
        (StackInTraining, "stack gives a module of another mode than its backbone's"),
    ],
)
def test_stack_that_is_no_stack_is_told_of(backbone: type[nn.Module], message: str) -> None:
    model = type("Planted", (Sound,), {"backbone": backbone})()
    with pytest.raises(CheckError, match=message):
        check_stack(model)
