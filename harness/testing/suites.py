"""All checks of a model, a task and a sampler, in the order of the printed table, and the functions that run them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api.model import Model
from harness.api.sampler import SamplerFactory
from harness.api.task import Task
from harness.testing import backbones, builds, floors, samplers, splits, stacks, tasks
from harness.testing.cases import ModelCheck, ModelSubject, subject_of
from harness.testing.outcomes import CheckResult, run_checks
from harness.testing.samplers import SamplerCheck, SamplerSubject
from harness.testing.tasks import TaskCheck, TaskSubject, task_subject_of

MODEL_CHECKS: tuple[ModelCheck, ...] = (
    backbones.check_output_shape,
    backbones.check_causality,
    backbones.check_present_input,
    backbones.check_suffix,
    backbones.check_scan,
    backbones.check_scan_state,
    backbones.check_scan_gradient,
    backbones.check_receptive_field,
    stacks.check_stack,
    backbones.check_batch_independence,
    backbones.check_no_state,
    backbones.check_memory_layout,
    builds.check_meta_build,
    builds.check_count_grows,
    builds.check_budget,
    builds.check_unknown_parameter,
    builds.check_seed,
    builds.check_random_state,
    builds.check_gradients,
    builds.check_dtype,
    builds.check_device,
    builds.check_copies,
    builds.check_other_process,
)

TASK_CHECKS: tuple[TaskCheck, ...] = (
    tasks.check_signature,
    tasks.check_epoch,
    tasks.check_loss,
    tasks.check_padding,
    tasks.check_batch_size,
    tasks.check_metric_direction,
    floors.check_floor,
    splits.check_splits_disjoint,
    splits.check_seed_axes,
    splits.check_global_random_state,
    splits.check_data_in_another_process,
    splits.check_test_split_unopened,
)

SAMPLER_CHECKS: tuple[SamplerCheck, ...] = (
    samplers.check_suggestion_space,
    samplers.check_suggestion_repeats,
    samplers.check_draws_differ,
    samplers.check_cells_differ,
    samplers.check_suggestion_in_another_process,
)


def check_model(
    model: Model | ModelSubject, *, expected_failed_checks: Mapping[str, str] | None = None
) -> list[CheckResult]:
    """Run every check of a model and return the results; a failed check does not raise.

    expected_failed_checks: mapping from the name of a check to the reason why it may fail.

    Raises UnknownNameError if expected_failed_checks names an unknown check.
    """
    subject = subject_of(model)
    return run_checks(subject, subject.name, MODEL_CHECKS, expected_failed_checks)


def check_task(
    task: Task | TaskSubject, *, expected_failed_checks: Mapping[str, str] | None = None
) -> list[CheckResult]:
    """Run every check of a task with its options and return the results; a failed check does not raise.

    expected_failed_checks: mapping from the name of a check to the reason why it may fail.

    Raises UnknownNameError if expected_failed_checks names an unknown check.
    """
    subject = task_subject_of(task)
    return run_checks(subject, subject.name, TASK_CHECKS, expected_failed_checks)


def check_sampler(
    name: str, factory: SamplerFactory, *, expected_failed_checks: Mapping[str, str] | None = None
) -> list[CheckResult]:
    """Run every check of a sampler and return the results; a failed check does not raise.

    name: under which it is registered.  expected_failed_checks: mapping from the name of a check to the reason why it
    may fail.

    Raises UnknownNameError if expected_failed_checks names an unknown check.
    """
    return run_checks(SamplerSubject(name, factory), name, SAMPLER_CHECKS, expected_failed_checks)
