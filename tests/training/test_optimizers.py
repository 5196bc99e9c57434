"""The learning rate over a run."""

from __future__ import annotations

import pytest

from harness.records import Optimisation, Schedule
from harness.training.optimizers import LearningRate, schedule_factor

LOSSES = [5.0, 4.0, 6.0, 3.0, 7.0]
SCHEDULES = [
    Schedule(),
    Schedule(kind="step", every=2, factor=0.5),
    Schedule(kind="plateau", window=2, start=1, factor=0.5),
    Schedule(kind="cosine"),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
def test_the_rate_is_the_reference_rate_times_the_factor_at_every_update(schedule: Schedule) -> None:
    rate = LearningRate(Optimisation(learning_rate=0.3, schedule=schedule), updates=12)
    for count in range(len(LOSSES) + 1):
        losses = LOSSES[:count]
        rate.follow(losses)
        for update in (2 * count, 2 * count + 1):
            assert rate.after(update) == 0.3 * schedule_factor(schedule, losses, update / 12)


def test_other_losses_of_the_same_number_give_their_own_rate() -> None:
    """As after a restored checkpoint."""
    rate = LearningRate(Optimisation(learning_rate=1.0, schedule=SCHEDULES[2]), updates=12)
    rate.follow([1.0, 2.0, 3.0])
    assert rate.after(3) == 0.25
    rate.follow([3.0, 2.0, 1.0])
    assert rate.after(3) == 1.0
