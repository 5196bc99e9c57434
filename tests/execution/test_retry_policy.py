"""The retry policy: documented cases, and laws over random histories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execution.retry_policy import (
    CRASHES,
    MAX_FAILURES,
    SILENT_FAILURES,
    FailureKind,
    RetryDecision,
    WorkerFailure,
    retry_decision,
)

KINDS = st.sampled_from(["crash", "silent", "early", "node"])


def failures(*kinds: FailureKind, points: int = 3) -> list[WorkerFailure]:
    return [WorkerFailure(kind, points) for kind in kinds]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (failures("crash"), "retry"),
        (failures("crash", "crash"), "failed"),
        (failures("crash", "silent"), "retry"),
        (failures("crash", "node", "early", "crash"), "failed"),
        (failures("silent", "silent", "silent"), "retry"),
        (failures("silent", "silent", "silent", "silent"), "failed"),
        (failures("crash", points=3) + failures("crash", points=4), "retry"),
        (failures("memory"), "out-of-memory"),
        (failures("silent", "memory"), "out-of-memory"),
        (failures("crash", "crash", "node"), "retry"),
        (failures("node") * 50, "retry"),
        (failures("early") * (MAX_FAILURES - 1), "retry"),
        (failures("early") * MAX_FAILURES, "postpone"),
    ],
)
def test_decision_is_the_documented_one(history: list[WorkerFailure], expected: RetryDecision) -> None:
    assert retry_decision(history) == expected


@given(st.lists(KINDS, min_size=1, max_size=30))
def test_trial_with_progress_between_failures_never_counts_as_their_cause(kinds: list[FailureKind]) -> None:
    history = [WorkerFailure(kind, number) for number, kind in enumerate(kinds)]
    assert retry_decision(history) in ("retry", "postpone")


@given(st.lists(st.builds(WorkerFailure, KINDS, st.integers(0, 3)), max_size=60))
def test_trial_is_not_retried_forever_unless_machines_are_lost(history: list[WorkerFailure]) -> None:
    counted = [failure for failure in history if failure.kind != "node"]
    if retry_decision(history) == "retry" and history and history[-1].kind != "node":
        assert len(counted) < MAX_FAILURES


def test_failures_with_a_trace_count_more_than_failures_without() -> None:
    assert CRASHES < SILENT_FAILURES < MAX_FAILURES
