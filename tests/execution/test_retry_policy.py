from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execution.retry_policy import (
    CRASHES,
    MOST_DEATHS,
    SILENT_DEATHS,
    RetryDecision,
    WorkerFailure,
    retry_decision,
)
from harness.records import Death

DEATHS = st.sampled_from(["crash", "silent", "early", "node"])


def of(*deaths: Death, points: int = 3) -> list[WorkerFailure]:
    return [WorkerFailure(death, points) for death in deaths]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (of("crash"), "again"),
        (of("crash", "crash"), "failed"),
        (of("crash", "silent"), "again"),
        (of("crash", "node", "early", "crash"), "failed"),
        (of("silent", "silent", "silent"), "again"),
        (of("silent", "silent", "silent", "silent"), "failed"),
        (of("crash", points=3) + of("crash", points=4), "again"),
        (of("memory"), "out-of-memory"),
        (of("silent", "memory"), "out-of-memory"),
        (of("crash", "crash", "node"), "again"),
        (of("node") * 50, "again"),
        (of("early") * (MOST_DEATHS - 1), "again"),
        (of("early") * MOST_DEATHS, "aside"),
    ],
)
def test_verdict_is_the_documented_one(history: list[WorkerFailure], expected: RetryDecision) -> None:
    assert retry_decision(history) == expected


@given(st.lists(DEATHS, min_size=1, max_size=30))
def test_with_progress_between_deaths_no_trial_is_blamed(deaths: list[Death]) -> None:
    history = [WorkerFailure(death, number) for number, death in enumerate(deaths)]
    assert retry_decision(history) in ("again", "aside")


@given(st.lists(st.builds(WorkerFailure, DEATHS, st.integers(0, 3)), max_size=60))
def test_no_trial_is_dealt_for_ever_unless_machines_go(history: list[WorkerFailure]) -> None:
    told = [lost for lost in history if lost.death != "node"]
    if retry_decision(history) == "again" and history and history[-1].death != "node":
        assert len(told) < MOST_DEATHS


def test_a_trace_weighs_more_than_silence() -> None:
    assert CRASHES < SILENT_DEATHS < MOST_DEATHS
