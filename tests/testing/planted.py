"""The planted defects, and which checks of the conformance kit catch each of them.

`python -m tests.testing.planted` prints the table of defects and checks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from harness import Model, Task
from harness.testing import MODEL_CHECKS, SIGNATURES, TASK_CHECKS, CheckResult, ModelSubject, TaskSubject
from harness.testing.outcomes import run_checks
from tests.testing.planted_models import (
    AnswersInDouble,
    BuildsOnCpu,
    CentredInTraining,
    CentredOverBatch,
    DrawsFromPython,
    EvenWidths,
    FieldTooShort,
    HashedWeights,
    LargeTable,
    LearnsInForward,
    LooksAhead,
    LostAxis,
    MakesOnCpu,
    NeedsContiguousInput,
    OneStepLate,
    OutsideStateDict,
    SameWeights,
    ScanDrifts,
    StackSharesBias,
    StackSharesDropout,
    StateIsAView,
    StateIsDetached,
    SuffixWithoutHistory,
    TakesAnything,
    Unseeded,
    Unused,
    WidthAsFloat,
    planted,
)
from tests.testing.planted_tasks import (
    FloorTooHigh,
    FloorTooLow,
    FloorWithoutInput,
    HashedSeed,
    LongerThanStated,
    MeanOfMeans,
    OpensTest,
    OtherEpoch,
    ReadsBack,
    ScoresPadding,
    SeedsGlobally,
    TestFromData,
    ValidatesOnTraining,
    WrongWay,
)

IN_ANOTHER_PROCESS = ("check_other_process", "check_data_in_another_process")
"""Checks that start an interpreter, which takes seconds each."""
FEW = (SIGNATURES[0], SIGNATURES[4])
"""The signatures for planted models: numbers read at the last step, and tokens with a tied decoder."""


@dataclass(frozen=True)
class Defect:
    """One defect and the check that catches it."""

    kind: Literal["model", "task"]
    subject: Callable[[], Model | Task]
    check: str
    description: str
    also: Mapping[str, str] = field(default_factory=dict)
    """Other checks that must fail too, with the reason."""

    @property
    def name(self) -> str:
        return type(self.subject()).__name__.removesuffix("Model")


def _model(backbone: type[nn.Module], check: str, description: str, also: Mapping[str, str] | None = None) -> Defect:
    return Defect("model", lambda: planted(backbone), check, description, also or {})


def _task(task: type[Task], check: str, description: str, also: Mapping[str, str] | None = None) -> Defect:
    return Defect("task", task, check, description, also or {})


_LOST_AXIS = "it compares outputs at a single step, which have lost an axis"
MODEL_DEFECTS: tuple[Defect, ...] = (
    _model(WidthAsFloat, "check_output_shape", "out_features is a float"),
    _model(
        LostAxis,
        "check_output_shape",
        "a squeeze drops the time axis of a single step",
        {"check_suffix": _LOST_AXIS, "check_scan": _LOST_AXIS},
    ),
    _model(CentredInTraining, "check_causality", "in training, outputs are centred over time"),
    _model(LooksAhead, "check_causality", "an output depends on the next step"),
    _model(OneStepLate, "check_present_input", "an output depends only on earlier steps"),
    _model(SuffixWithoutHistory, "check_suffix", "suffix ignores the earlier steps"),
    _model(ScanDrifts, "check_scan", "scan adds a constant to every window except the first"),
    _model(StateIsAView, "check_scan_state", "the state is a view of the window"),
    _model(StateIsDetached, "check_scan_gradient", "scan detaches its state"),
    _model(FieldTooShort, "check_receptive_field", "the stated receptive field is one step too short"),
    _model(StackSharesBias, "check_stack", "all members of a stack have the bias of the first"),
    _model(StackSharesDropout, "check_stack", "all members of a stack have the same dropout mask"),
    _model(CentredOverBatch, "check_batch_independence", "outputs are centred over the batch"),
    _model(LearnsInForward, "check_no_state", "calls in training update a running mean, which eval() adds"),
    _model(NeedsContiguousInput, "check_memory_layout", "view of an input that may not be contiguous"),
    _model(BuildsOnCpu, "check_meta_build", "a parameter is always created on the CPU"),
    _model(EvenWidths, "check_count_grows", "odd widths are rounded up"),
    _model(LargeTable, "check_budget", "300,000 parameters at any width"),
    Defect("model", TakesAnything, "check_unknown_parameter", "build silently ignores unknown parameters"),
    _model(SameWeights, "check_seed", "initial weights do not depend on the seed"),
    _model(
        Unseeded,
        "check_seed",
        "initial weights come from an unseeded generator",
        {"check_other_process": "unseeded weights differ between processes"},
    ),
    _model(DrawsFromPython, "check_random_state", "build draws from Python's generator"),
    _model(Unused, "check_gradients", "a layer is not used"),
    _model(AnswersInDouble, "check_dtype", "outputs are float64 for any input"),
    _model(MakesOnCpu, "check_device", "forward creates a tensor on the CPU"),
    _model(OutsideStateDict, "check_copies", "a random number is not stored as a buffer"),
    _model(HashedWeights, "check_other_process", "initial weights depend on the hash of a string"),
)
TASK_DEFECTS: tuple[Defect, ...] = (
    _task(LongerThanStated, "check_signature", "sequences are longer than the signature states"),
    _task(OtherEpoch, "check_epoch", "training_sequences differs from the data"),
    _task(ReadsBack, "check_loss", "loss reads a count back from the device"),
    _task(
        ScoresPadding,
        "check_padding",
        "padded steps are scored",
        {"check_batch_size": "larger batches have more padding"},
    ),
    _task(MeanOfMeans, "check_batch_size", "loss returns means of batches, each with count 1"),
    _task(WrongWay, "check_metric_direction", "the metric states that higher is better, but lower is"),
    _task(FloorTooLow, "check_floor", "no predictor without memory reaches the floor"),
    _task(FloorTooHigh, "check_floor", "a constant prediction beats the floor"),
    _task(FloorWithoutInput, "check_floor", "a rule on the present input beats the floor"),
    _task(ValidatesOnTraining, "check_splits_disjoint", "validation is the training split"),
    _task(TestFromData, "check_seed_axes", "the test split depends on the seed `data`"),
    _task(SeedsGlobally, "check_global_random_state", "load seeds PyTorch's default generator"),
    _task(HashedSeed, "check_data_in_another_process", "the seed depends on the hash of a string"),
    _task(OpensTest, "check_test_split_unopened", "loading the training split loads the test split"),
)
DEFECTS = MODEL_DEFECTS + TASK_DEFECTS


def results_of(subject: Model | Task, wanted: set[str] | None) -> list[CheckResult]:
    """Run all checks; of those in another process only the wanted ones, or all if `wanted` is None."""
    if isinstance(subject, Model):
        return run_checks(ModelSubject(subject, signatures=FEW), subject.name, _select(MODEL_CHECKS, wanted))
    return run_checks(TaskSubject(subject), subject.name, _select(TASK_CHECKS, wanted))


def _select(checks: Sequence[Callable[[Any], None]], wanted: set[str] | None) -> list[Callable[[Any], None]]:
    return [
        check
        for check in checks
        if wanted is None or check.__name__ in wanted or check.__name__ not in IN_ANOTHER_PROCESS
    ]


def caught_by(defect: Defect, *, all_checks: bool) -> set[str]:
    """Return the names of the checks that fail.

    all_checks: whether to run the checks in another process even if the defect does not concern them.
    """
    results = results_of(defect.subject(), wanted=None if all_checks else {defect.check, *defect.also})
    return {result.check for result in results if result.status == "failed"}


def main() -> None:
    """Print one line per defect: its description and all checks that fail."""
    all_checks = "--quick" not in sys.argv
    print("| defect | description | caught by | also, expected | also, unexpected |\n|---|---|---|---|---|")
    for defect in DEFECTS:
        caught = caught_by(defect, all_checks=all_checks)
        own = defect.check if defect.check in caught else "NOT CAUGHT"
        also = ", ".join(f"{name} ({why})" for name, why in defect.also.items() if name in caught)
        rest = ", ".join(sorted(caught - {defect.check, *defect.also}))
        print(f"| {defect.name} | {defect.description} | {own} | {also} | {rest} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
