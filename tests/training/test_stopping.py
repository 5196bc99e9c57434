"""When a run is evaluated and when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from harness.records import Training
from harness.training.stopping import StoppingRule


def rule(**changes: Any) -> StoppingRule:  # fields of `Training`
    return StoppingRule(Training.model_validate({"updates": 10, "batch_size": 1, "evaluate_every": 4, **changes}))


def test_evaluations_fall_on_each_multiple_and_on_the_last_update() -> None:
    assert [update for update in range(1, 11) if rule().evaluation_is_due(update, 0.0)] == [4, 8, 10]


def test_an_evaluation_falls_where_the_seconds_are_over() -> None:
    bounded = rule(seconds=5.0)
    assert not bounded.evaluation_is_due(3, 4.9)
    assert bounded.evaluation_is_due(3, 5.0)
    assert bounded.is_over(3, 5.0, without_better=0)
    assert not rule().is_over(3, 1e9, without_better=0)


@pytest.mark.parametrize(
    ("changes", "update", "without_better", "over"),
    [
        ({}, 9, 100, False),
        ({}, 10, 0, True),
        ({"patience": 2}, 4, 1, False),
        ({"patience": 2}, 4, 2, True),
        ({"patience": 2, "minimum_updates": 5}, 4, 9, False),
        ({"patience": 2, "minimum_updates": 5}, 5, 2, True),
    ],
)
def test_a_run_ends_with_its_updates_or_its_patience(
    changes: dict[str, Any], update: int, without_better: int, over: bool
) -> None:
    assert rule(**changes).is_over(update, 0.0, without_better=without_better) == over
