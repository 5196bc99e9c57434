"""Convert a time budget into updates, trials and repetitions, the same for every model.

Pure: no clock and no files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from harness.errors import BudgetError
from harness.recommendation.pairwise import LADDER
from harness.records import Record

TRIALS, MOST_TRIALS = 8, 20
"""Search trials per model: the number that the updates are chosen for, and the maximum.  Further time is used for
repetitions."""
REPETITIONS = 10
"""Repetitions per model that the updates are chosen for.  With fewer, a race rarely reaches a decision."""
FEWEST_UPDATES, MOST_UPDATES = 100, 10_000
KEPT_BACK = 0.2
"""Share of the time in which no training is planned: workers start, and some configurations are slower than the
pilot's."""
SEARCH_SHARE = TRIALS / (TRIALS + REPETITIONS)
TEST_EVALUATIONS = 4
"""Evaluations of a repetition on test: its best weights, and those of its last three evaluations."""


class Throughput(Record):
    """How fast a model trains on this machine."""

    update_seconds: float
    evaluation_seconds: float
    """Seconds per pass over the validation data."""
    start_seconds: float
    """Seconds before the first update."""

    def training(self, updates: int, evaluations: int) -> float:
        """Return the seconds of one training."""
        return self.start_seconds + updates * self.update_seconds + evaluations * self.evaluation_seconds


@dataclass(frozen=True)
class TimeBudget:
    """The updates, trials and repetitions that every model gets."""

    updates: int
    trials: int
    repetitions: int
    """Maximum number: a race may stop earlier, and the time may allow fewer."""


def allocate(
    throughputs: Mapping[str, Throughput],
    seconds: float,
    *,
    evaluations: int,
    repetitions: int,
    updates: int | None = None,
    trials: int | None = None,
) -> TimeBudget:
    """Return the longest training for which `TRIALS` trials and `REPETITIONS` repetitions of every model fit.

    If more or fewer trainings fit, trials and repetitions change in proportion.  throughputs: by model.
    seconds: time of all slots together.  evaluations: per training.  repetitions: maximum.
    updates, trials: values that the user gives.  Raises BudgetError if not even two trials (or the given number) and
    the repetitions of the first interim look fit.
    """
    usable = seconds * (1 - KEPT_BACK)
    planned = (trials or TRIALS) + min(REPETITIONS, repetitions)
    length = updates or _updates(throughputs, usable / planned, evaluations)
    fitting = math.floor(usable / _seconds_per_round(throughputs, length, evaluations))
    first_look = min(LADDER[0], repetitions)
    fewest = (trials or min(2, fitting)) + first_look
    if fitting < fewest or fitting < 2:
        raise BudgetError(_too_short(throughputs, seconds, length, evaluations, (trials or 2) + first_look))
    searched = trials or max(min(round(fitting * SEARCH_SHARE), MOST_TRIALS, fitting - first_look), 2)
    possible = _most_repetitions(fitting - searched, len(throughputs))
    return TimeBudget(length, searched, max(min(possible, repetitions), first_look))


def allocate_to_fastest(
    throughputs: Mapping[str, Throughput],
    seconds: float,
    *,
    evaluations: int,
    repetitions: int,
    updates: int | None = None,
    trials: int | None = None,
) -> tuple[TimeBudget, dict[str, float]]:
    """Return what `allocate` returns for the fastest models: as many as fit into the time.

    The second value has the postponed models, the fastest first, with the seconds that each takes over all slots:
    search and `REPETITIONS` repetitions.  Raises BudgetError if not even the fastest model fits.
    """
    order = sorted(throughputs, key=lambda model: throughputs[model].training(updates or FEWEST_UPDATES, evaluations))
    allocated_to = partial(
        allocate, seconds=seconds, evaluations=evaluations, repetitions=repetitions, updates=updates, trials=trials
    )
    for count in range(len(order), 0, -1):
        try:
            allocated = allocated_to({model: throughputs[model] for model in order[:count]})
        except BudgetError:
            continue
        trainings = (allocated.trials + min(REPETITIONS, repetitions)) / (1 - KEPT_BACK)
        return allocated, {
            model: trainings * throughputs[model].training(allocated.updates, evaluations + TEST_EVALUATIONS)
            for model in order[count:]
        }
    return allocated_to(throughputs), {}  # raises the error that counts all models


def _seconds_per_round(throughputs: Mapping[str, Throughput], updates: int, evaluations: int) -> float:
    """Return the seconds of one training of each model."""
    return sum(model.training(updates, evaluations + TEST_EVALUATIONS) for model in throughputs.values())


def _updates(throughputs: Mapping[str, Throughput], seconds: float, evaluations: int) -> int:
    """Return the updates that fit if each model is trained once in this time, rounded down to two digits."""
    update_seconds = sum(model.update_seconds for model in throughputs.values())
    fitting = max(seconds - _seconds_per_round(throughputs, 0, evaluations), 0) / update_seconds
    digits = 10 ** max(math.floor(math.log10(fitting)) - 1, 0) if fitting >= 1 else 1
    return min(max(int(fitting // digits * digits), FEWEST_UPDATES), MOST_UPDATES)


def _most_repetitions(trainings: int, models: int) -> int:
    """Return the repetitions that fit if only two models go on after the first look.

    trainings: number of trainings of every model that would fit in the same time.
    """
    return LADDER[0] + (trainings - LADDER[0]) * models // min(models, 2) if trainings > LADDER[0] else trainings


def _too_short(
    throughputs: Mapping[str, Throughput], seconds: float, updates: int, evaluations: int, trainings: int
) -> str:
    needed = trainings * _seconds_per_round(throughputs, updates, evaluations) / (1 - KEPT_BACK)
    return (
        f"--minutes: {seconds / 60:.1f} minutes over all slots are too short: {trainings} trainings of {updates} "
        f"updates of each of {len(throughputs)} models take about {needed / 60:.1f} minutes; give more --minutes, "
        "fewer --models or updates=N"
    )
