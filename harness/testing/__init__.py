"""The conformance kit: checks of what the harness requires from a model, a task or a sampler, for their authors.

With pytest, one test per check:

    from harness.testing import parametrize_checks

    @parametrize_checks(MyModel(), MyTask(length=20))
    def test_contract(check):
        check()

Without pytest, `check_model(MyModel())`, `check_task(MyTask())` and `check_sampler("mine", factory)` return the result
of each check.  A single check such as `check_causality(MyModel())` raises `CheckError` if it fails.  `harness check
NAME` prints a table.
"""

from harness.testing.backbones import (
    check_batch_independence,
    check_causality,
    check_memory_layout,
    check_no_state,
    check_output_shape,
    check_present_input,
    check_receptive_field,
    check_scan,
    check_scan_gradient,
    check_scan_state,
    check_suffix,
)
from harness.testing.builds import (
    check_budget,
    check_copies,
    check_count_grows,
    check_device,
    check_dtype,
    check_gradients,
    check_meta_build,
    check_other_process,
    check_random_state,
    check_seed,
    check_unknown_parameter,
)
from harness.testing.cases import SIGNATURES, Case, ModelSubject, each_case
from harness.testing.floors import check_floor
from harness.testing.outcomes import CheckError, CheckResult, NotApplicableError
from harness.testing.parametrize import BoundCheck, parametrize_checks
from harness.testing.samplers import (
    SamplerSubject,
    check_cells_differ,
    check_draws_differ,
    check_suggestion_in_another_process,
    check_suggestion_repeats,
    check_suggestion_space,
)
from harness.testing.splits import (
    check_data_in_another_process,
    check_global_random_state,
    check_seed_axes,
    check_splits_disjoint,
    check_test_split_unopened,
)
from harness.testing.stacks import check_stack
from harness.testing.suites import MODEL_CHECKS, SAMPLER_CHECKS, TASK_CHECKS, check_model, check_sampler, check_task
from harness.testing.tasks import (
    TaskSubject,
    check_batch_size,
    check_epoch,
    check_loss,
    check_metric_direction,
    check_padding,
    check_signature,
)

__all__ = [
    "MODEL_CHECKS",
    "SAMPLER_CHECKS",
    "SIGNATURES",
    "TASK_CHECKS",
    "BoundCheck",
    "Case",
    "CheckError",
    "CheckResult",
    "ModelSubject",
    "NotApplicableError",
    "SamplerSubject",
    "TaskSubject",
    "check_batch_independence",
    "check_batch_size",
    "check_budget",
    "check_causality",
    "check_cells_differ",
    "check_copies",
    "check_count_grows",
    "check_data_in_another_process",
    "check_device",
    "check_draws_differ",
    "check_dtype",
    "check_epoch",
    "check_floor",
    "check_global_random_state",
    "check_gradients",
    "check_loss",
    "check_memory_layout",
    "check_meta_build",
    "check_metric_direction",
    "check_model",
    "check_no_state",
    "check_other_process",
    "check_output_shape",
    "check_padding",
    "check_present_input",
    "check_random_state",
    "check_receptive_field",
    "check_sampler",
    "check_scan",
    "check_scan_gradient",
    "check_scan_state",
    "check_seed",
    "check_seed_axes",
    "check_signature",
    "check_splits_disjoint",
    "check_stack",
    "check_suffix",
    "check_suggestion_in_another_process",
    "check_suggestion_repeats",
    "check_suggestion_space",
    "check_task",
    "check_test_split_unopened",
    "check_unknown_parameter",
    "each_case",
    "parametrize_checks",
]
