"""What a time budget buys: updates, trials and repetitions, the same for every model.  Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import BudgetError
from harness.pairwise import LADDER
from harness.records import Record

TRIALS, MOST_TRIALS = 8, 20
"""Search trials that updates are chosen for, and those after which time goes to repetitions."""
REPETITIONS = 10
"""That updates are chosen for: with fewer, hardly anything is decided."""
FEWEST_UPDATES, MOST_UPDATES = 100, 10_000
KEPT_BACK = 0.2
"""Share of the time that no training is planned for: starting workers, and configurations slower than the pilot's."""
SEARCH_SHARE = TRIALS / (TRIALS + REPETITIONS)
TEST_EVALUATIONS = 4
"""A repetition scores the test split with its best weights and those of its last three evaluations."""


class Pace(Record):
    """How fast a model trains here."""

    update_seconds: float
    evaluation_seconds: float
    """Of one pass over validation."""
    start_seconds: float
    """Before the first update."""

    def training(self, updates: int, evaluations: int) -> float:
        """Seconds of one training."""
        return self.start_seconds + updates * self.update_seconds + evaluations * self.evaluation_seconds


@dataclass(frozen=True)
class Allowance:
    """What every model is granted."""

    updates: int
    trials: int
    repetitions: int
    """At most; a race may want fewer, and the clock may allow fewer."""


def allow(
    paces: Mapping[str, Pace],
    seconds: float,
    *,
    evaluations: int,
    repetitions: int,
    updates: int | None = None,
    trials: int | None = None,
) -> Allowance:
    """The longest training of which `TRIALS` trials and `REPETITIONS` repetitions of every model fit; what is left
    over, or lacking, in trainings goes to both in proportion.

    seconds: of all slots together.  updates, trials: as wished, where they are.  BudgetError where not even two
    trials and as many repetitions as the first look takes fit.
    """
    usable = seconds * (1 - KEPT_BACK)
    wished = (trials or TRIALS) + min(REPETITIONS, repetitions)
    length = updates or _updates(paces, usable / wished, evaluations)
    fits = math.floor(usable / _round(paces, length, evaluations))
    first = min(LADDER[0], repetitions)
    fewest = (trials or min(2, fits)) + first
    if fits < fewest or fits < 2:
        raise BudgetError(_too_few(paces, seconds, length, evaluations, (trials or 2) + first))
    searched = trials or max(min(round(fits * SEARCH_SHARE), MOST_TRIALS, fits - first), 2)
    return Allowance(length, searched, max(min(_most(fits - searched, len(paces)), repetitions), first))


def _round(paces: Mapping[str, Pace], updates: int, evaluations: int) -> float:
    """Seconds of one training of each model."""
    return sum(pace.training(updates, evaluations + TEST_EVALUATIONS) for pace in paces.values())


def _updates(paces: Mapping[str, Pace], seconds: float, evaluations: int) -> int:
    """Of one training of each model in this time, to two digits."""
    a_update = sum(pace.update_seconds for pace in paces.values())
    found = max(seconds - _round(paces, 0, evaluations), 0) / a_update
    digits = 10 ** max(math.floor(math.log10(found)) - 1, 0) if found >= 1 else 1
    return min(max(int(found // digits * digits), FEWEST_UPDATES), MOST_UPDATES)


def _most(trainings: int, models: int) -> int:
    """Repetitions of two models that go on after the first look, in the time of so many of all."""
    return LADDER[0] + (trainings - LADDER[0]) * models // min(models, 2) if trainings > LADDER[0] else trainings


def _too_few(paces: Mapping[str, Pace], seconds: float, updates: int, evaluations: int, trainings: int) -> str:
    wanted = trainings * _round(paces, updates, evaluations) / (1 - KEPT_BACK)
    return (
        f"{seconds / 60:.1f} minutes (over all slots) are too few: {trainings} trainings of {updates} updates of each "
        f"of {len(paces)} models take about {wanted / 60:.1f}; give more --minutes, fewer --models or updates=N"
    )
