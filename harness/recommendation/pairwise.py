"""Compare two models on paired repetitions, or one with the floor, at an error that all claims of a race share.

Plain numbers in, plain numbers out.  Each look at the scores spends a fixed part of the permitted error, which depends
on the number of repetitions alone (Lan & DeMets 1983).  The parts of an unbounded ladder of looks add up to the whole,
so a race may be extended any number of times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.paired_tests import noether_pairs
from harness.analysis.sign_test import MINIMUM_PAIRS
from harness.analysis.statistics import Interval
from harness.recommendation.gains import Failures, Gains
from harness.recommendation.inference import difference_power, equivalence_power, mean_above_zero, student_reach

RivalStatus = Literal["lost", "equivalent", "open"]
Learned = Literal["yes", "no", "unsure"]

LADDER = (5, 10, 15, 20, 29)
"""First looks of a race, in repetitions.  At 5 nothing is claimed; 29 are Noether's number (see `decision`)."""
HALF_SPENT = 24
"""Repetitions at which half of the permitted error is spent."""
EQUIVALENT_PAIRS = noether_pairs()
"""Pairs from which on models may be equivalent although failures that are too rare to be seen could separate them:
29 repetitions without a failure exclude a failure rate of 10 % at 95 %."""
POWER = 0.8
"""Probability with which the repetitions that are said to be needed decide."""
MOST_NEEDED = 10_000


@dataclass(frozen=True)
class ErrorBudget:
    """The error that claims may have over the looks of a race and of all its extensions.

    With probability `confidence` none of the claims `lost` and `best` on test scores is false, at any look (Bonferroni
    over models and looks); the same holds for the claim `better than the floor`.
    """

    pair: float
    """One-sided, of one model against another, over all looks: shared over all ordered pairs."""
    failure: float
    """Error of the bound on a model's unseen failures.  It is not divided by looks: a model without a failure in n
    repetitions had none in fewer."""
    seeds: float
    """Error of the claim that a model is better than the floor, for the choice of seeds, over all looks."""
    held_out: float
    """Error of the same claim for the choice of held-out answers, which are the same at every look."""
    looks: tuple[int, ...]
    """In repetitions.  An extended race keeps the looks that it had."""
    step: float = 1.0
    """Factor on `pair` once one difference is sure: then at least one model differs from the others, and fewer pairs
    can be equal (Shaffer 1986)."""

    @classmethod
    def of(cls, confidence: float, *, looks: Sequence[int], models: int) -> ErrorBudget:
        error, rivals = 1 - confidence, max(models - 1, 1)
        floor, step = error / 2 / models, models / (models - 2) if models > 2 else 1.0
        return cls(error / max(models * (models - 1), 1), error / rivals, floor, floor, tuple(looks), step)

    def share(self, n: int) -> float:
        """Return the part of an error that the look at n repetitions spends; 0 below `MINIMUM_PAIRS`."""
        looks = self.looks if n <= self.looks[-1] else ladder(n)
        before = max((look for look in looks if MINIMUM_PAIRS <= look < n), default=0)
        return _spent(n) - _spent(before) if n >= MINIMUM_PAIRS else 0.0


def _spent(n: int) -> float:
    return n**3 / (n**3 + HALF_SPENT**3)


def ladder(most: int) -> tuple[int, ...]:
    """Return the planned looks of a race of at most so many repetitions; the last is `most`.

    Beyond the fixed first looks, each has a third more repetitions than the one before.
    """
    looks = list(LADDER)
    while looks[-1] < most:
        looks.append(math.ceil(looks[-1] * 4 / 3))
    return (*(look for look in looks if look < most), most)


@dataclass(frozen=True)
class PairwiseComparison:
    """The leader against a rival, on the repetitions that both have."""

    rival: str
    n: int
    wins: int
    """Repetitions in which the leader is better."""
    ties: int
    difference: Interval | None
    """Interval of the leader's mean gain over the rival, at the error of this look; None below `MINIMUM_PAIRS`."""
    mean: float
    spread: float
    """Standard deviation of the differences, n - 1; NaN where n < 2."""
    probability: float
    """P-value of Student's t test that the leader's mean is better; 0.5 where n < 2."""
    own: Failures
    """Failures of the leader."""
    other: Failures
    """Failures of the rival."""
    verdict: RivalStatus


def compare_pair(field: Gains, leader: str, rival: str, budget: ErrorBudget) -> PairwiseComparison:
    """Return the comparison of two models at the error of the look at the repetitions that they share."""
    n = field.common(leader, rival)
    mine, theirs = field.counted(leader, n), field.counted(rival, n)
    own, other = Failures.of(mine, field.worst), Failures.of(theirs, field.worst)
    wins, losses = _wins(field, leader, rival, n), _wins(field, rival, leader, n)
    difference = mine - theirs
    mean = float(difference.mean())
    spread = float(difference.std(ddof=1)) if n > 1 else math.nan
    probability = mean_above_zero(-mean, spread, n) if n > 1 else 0.5
    error = budget.pair * budget.share(n)
    interval = None
    if n >= MINIMUM_PAIRS:
        reach = student_reach(spread, n, error)
        interval = Interval(mean - reach, mean + reach, 1 - 2 * error)
    verdict = _verdict(n, interval, mean, (own, other), field.margin, budget.failure)
    return PairwiseComparison(
        rival, n, wins, n - wins - losses, interval, mean, spread, probability, own, other, verdict
    )


def _wins(field: Gains, model: str, other: str, n: int) -> int:
    """Return how many of n repetitions the model wins; a repetition without a score loses to any score."""
    mine, theirs = field.values[model][:n], field.values[other][:n]
    mine_lost, theirs_lost = field.lost[model][:n], field.lost[other][:n]
    return int((~mine_lost & (theirs_lost | (mine > theirs))).sum())


def _verdict(
    n: int, interval: Interval | None, mean: float, both: tuple[Failures, Failures], margin: float, error: float
) -> RivalStatus:
    """Equivalent: the interval of the difference lies within the margin.  Lost: the difference is surely above zero,
    failures that were not seen would not reverse it, and it is seen to be above the margin.  Open: neither."""
    if interval is None:
        return "open"
    if -margin < interval.low and interval.high < margin:
        hidden = max(each.hidden_loss(error) for each in both)
        return "equivalent" if n >= EQUIVALENT_PAIRS or abs(mean) + hidden < margin else "open"
    sure = interval.low > 0 and mean > both[0].hidden_loss(error)
    return "lost" if sure and mean > margin else "open"


def learned(field: Gains, model: str, budget: ErrorBudget) -> Learned:
    """Return whether a model is better than the floor.

    Yes: the mean is better than the floor by more than the margin, at least half of the repetitions are, and that
    the mean is better than the floor is sure for other seeds and other held-out answers.  Unsure: only the last is not.
    """
    values, floor = field.values[model], field.floor
    if floor is None:
        return "yes"
    bound, n, mean = floor + field.margin, len(values), float(values.mean())
    succeeded = int((~field.lost[model] & (values > bound)).sum())
    if mean <= bound or 2 * succeeded < n:
        return "no"
    if n < MINIMUM_PAIRS:
        return "unsure"
    reach = student_reach(float(values.std(ddof=1)), n, budget.seeds * budget.share(n))
    if model in field.sampling:
        reach += field.sampling[model].reach(budget.held_out)
    return "yes" if mean - reach > floor else "unsure"


def needed(pair: PairwiseComparison, *, margin: float, budget: ErrorBudget) -> int | None:
    """Return the total repetitions that would decide an open comparison with probability `POWER`.

    The observed difference, spread and share of failures are taken to be the true ones.  None if `MOST_NEEDED` would
    not decide, or if there are fewer than two repetitions.
    """
    if pair.n < 2:
        return None
    return next((n for n in ladder(MOST_NEEDED) if n > pair.n and _power(pair, n, margin, budget) >= POWER), None)


def _power(pair: PairwiseComparison, n: int, margin: float, budget: ErrorBudget) -> float:
    """Return the probability that the look at n repetitions finds one model better, or both equivalent."""
    error, ahead = budget.pair * budget.share(n), pair.own if pair.mean > 0 else pair.other
    mean, spread = abs(pair.mean), max(pair.spread, 1e-12 * max(abs(pair.mean), 1e-300))
    if mean > margin:
        return difference_power(mean / spread, n, error) if mean > ahead.hidden_loss(budget.failure, n) else 0.0
    hidden = max(each.hidden_loss(budget.failure, n) for each in (pair.own, pair.other))
    if n < EQUIVALENT_PAIRS and mean + hidden >= margin:
        return 0.0
    return equivalence_power(mean, spread, n, margin=margin, error=error)
