"""Compare models in rounds of paired repetitions: who trains on, and what may be claimed of the test scores.

Plain numbers in, plain numbers out.  Validation scores decide who trains on (rounds as in Maron & Moore 1994 and
Birattari et al. 2002).  Claims read test scores alone.  Each look at the scores spends a fixed part of the permitted
error, which depends on the number of repetitions alone (Lan & DeMets 1983); the parts of an unbounded ladder of looks
add up to the whole.  So a race may be extended any number of times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.decision import MINIMUM_PAIRS, noether_pairs
from harness.inference import (
    best_probabilities,
    difference_power,
    equivalence_power,
    mean_above_zero,
    student_reach,
)
from harness.statistics import HeldOut, Interval, Scale, highest_rate

Array = NDArray[np.float64]
Verdict = Literal["lost", "equivalent", "open"]
Learned = Literal["yes", "no", "unsure"]
Scores = Mapping[str, Sequence[float]]
"""Model → scores by repetition, NaN where a repetition has none.  Models may have different numbers of them."""

LADDER = (5, 10, 15, 20, 29)
"""First looks of a race, in repetitions.  At 5 nothing is claimed; 29 are Noether's number (see `decision`)."""
HALF_SPENT = 20
"""Repetitions at which half of the permitted error is spent."""
EQUIVALENT_PAIRS = noether_pairs()
"""Pairs from which on models may be equivalent although failures that are too rare to be seen could separate them:
29 repetitions without a failure exclude a failure rate of 10 % at 95 %."""
POWER = 0.8
"""Probability with which the repetitions that are said to be needed decide."""
MOST_NEEDED = 10_000


@dataclass(frozen=True)
class Scoring:
    """How the scores of one split are read."""

    better: Literal["lower", "higher"]
    margin: float = 0.0
    """Means closer than this, on `scale`, count as equivalent."""
    scale: Scale = "linear"
    floor: float | None = None
    """The score of a memoryless baseline on the split whose scores are read."""
    held_out: HeldOut | None = None
    """How many answers the split has, and how exactly they measure; None where this is not recorded."""


@dataclass(frozen=True)
class Gains:
    """Scores on the metric's scale, with the sign changed where necessary so that more is better."""

    values: Mapping[str, Array]
    """A repetition without a score counts as the worst score of any model, or the floor where that is worse."""
    lost: Mapping[str, NDArray[np.bool_]]
    margin: float
    floor: float | None
    linear: bool
    """Whether a log scale was asked for and a score, or the floor, has no logarithm.  Then all scores are on a linear
    scale, where the margin has no meaning and is 0."""
    held_out: HeldOut | None = None

    def common(self, *models: str) -> int:
        """Return the number of repetitions that these models share."""
        return min(len(self.values[model]) for model in models)

    @cached_property
    def worst(self) -> float:
        """The gain of a failed repetition: the floor, or the worst score seen where no floor is known."""
        return self.floor if self.floor is not None else min(float(each.min()) for each in self.values.values())

    def counted(self, model: str, n: int) -> Array:
        """Return the first n gains; below the floor, a gain counts as the floor."""
        counted: Array = np.maximum(self.values[model][:n], self.worst)
        return counted


@dataclass(frozen=True)
class Failures:
    """The repetitions of one model that failed, and what a failure costs."""

    n: int
    failed: int
    """Repetitions in the worse half of the range from the worst gain to the model's median."""
    mean: float
    succeeded: float
    """Mean gain of the repetitions that did not fail."""
    worst: float

    @classmethod
    def of(cls, values: Array, worst: float) -> Failures:
        failed = values < (float(np.median(values)) + worst) / 2
        return cls(len(values), int(failed.sum()), float(values.mean()), float(values[~failed].mean()), worst)

    def hidden_loss(self, error: float, n: int | None = None) -> float:
        """Return by how much failures that were not seen may lower the mean: the failure rate is taken at its upper
        confidence limit (Clopper & Pearson 1934), and each failure at the worst gain.

        n: repetitions with the same share of failures; those that there are where None.
        """
        n = self.n if n is None else n
        rate = highest_rate(round(self.failed / self.n * n), n, error)
        return max(self.mean - (1 - rate) * self.succeeded - rate * self.worst, 0.0)


@dataclass(frozen=True)
class PairwiseComparison:
    """The leader against a rival, on the repetitions that both have."""

    rival: str
    n: int
    wins: int
    """Of the leader."""
    ties: int
    difference: Interval | None
    """Of the mean gain of the leader over the rival, at the error of this look; None below `MINIMUM_PAIRS`."""
    mean: float
    spread: float
    """Standard deviation of the differences, n - 1; NaN where n < 2."""
    probability: float
    """P-value of Student's t test that the leader's mean is better; 0.5 where n < 2."""
    own: Failures
    """Of the leader."""
    other: Failures
    """Of the rival."""
    verdict: Verdict


@dataclass(frozen=True)
class InterimLook:
    """The state of a race at one look."""

    n: int
    """Repetitions of the leader."""
    leader: str
    comparisons: tuple[PairwiseComparison, ...]
    learned: Mapping[str, Learned]
    """Model → whether it is better than the floor by more than the margin; `yes` for all where no floor is known."""

    def of(self, *verdicts: Verdict) -> tuple[str, ...]:
        return tuple(one.rival for one in self.comparisons if one.verdict in verdicts)

    @property
    def nothing_learned(self) -> bool:
        return all(value == "no" for value in self.learned.values())

    @property
    def over(self) -> bool:
        """Every rival is lost or equivalent, or no model learns anything."""
        return self.n >= MINIMUM_PAIRS and (self.nothing_learned or not self.of("open"))


@dataclass(frozen=True)
class ErrorBudget:
    """The error that claims may have over the looks of a race and of all its extensions.

    With probability `confidence` none of the claims `lost` and `best` on test scores is false, at any look (Bonferroni
    over models and looks); the same holds for the claim `better than the floor`.
    """

    pair: float
    """One-sided, of one model against another, over all looks: shared over all ordered pairs."""
    failure: float
    """Of the bound on a model's unseen failures.  It is not divided by looks: a model without a failure in n
    repetitions had none in fewer."""
    seeds: float
    """Of a model against the floor, for the choice of seeds, over all looks."""
    held_out: float
    """Of a model against the floor, for the choice of held-out answers, which are the same at every look."""
    looks: tuple[int, ...]
    """In repetitions.  An extended race keeps the looks that it had."""

    @classmethod
    def of(cls, confidence: float, *, looks: Sequence[int], models: int) -> ErrorBudget:
        error, rivals = 1 - confidence, max(models - 1, 1)
        floor = error / 2 / models
        return cls(error / max(models * (models - 1), 1), error / rivals, floor, floor, tuple(looks))

    def share(self, n: int) -> float:
        """Return the part of an error that the look at n repetitions spends; 0 below `MINIMUM_PAIRS`."""
        looks = self.looks if n <= self.looks[-1] else ladder(n)
        before = max((look for look in looks if MINIMUM_PAIRS <= look < n), default=0)
        return _spent(n) - _spent(before) if n >= MINIMUM_PAIRS else 0.0


def _spent(n: int) -> float:
    return n**2 / (n**2 + HALF_SPENT**2)


def ladder(most: int) -> tuple[int, ...]:
    """Return the planned looks of a race of at most so many repetitions; the last is `most`.

    Beyond the fixed first looks, each has a third more repetitions than the one before.
    """
    looks = list(LADDER)
    while looks[-1] < most:
        looks.append(math.ceil(looks[-1] * 4 / 3))
    return (*(look for look in looks if look < most), most)


def gains(scores: Scores, scoring: Scoring) -> Gains | None:
    """Return the scores as gains; None where no repetition of any model has a score."""
    arrays = {model: np.asarray(values, dtype=np.float64) for model, values in scores.items()}
    finite = np.concatenate([values[np.isfinite(values)] for values in arrays.values()] or [np.empty(0)])
    if finite.size == 0:
        return None
    floor = scoring.floor
    log = scoring.scale == "log" and float(finite.min()) > 0 and (floor is None or floor > 0)
    sign = 1.0 if scoring.better == "higher" else -1.0

    def gain(values: Array) -> Array:
        return sign * (np.log(values) if log else values)

    floor_gain = None if floor is None else float(gain(np.asarray(floor)))
    worst = min([float(gain(finite).min()), *([floor_gain] if floor_gain is not None else [])])
    lost = {model: ~np.isfinite(values) for model, values in arrays.items()}
    values = {
        model: np.where(lost[model], worst, gain(np.where(lost[model], finite[0], array)))
        for model, array in arrays.items()
    }
    linear = scoring.scale == "log" and not log
    margin = 0.0 if linear else scoring.margin
    return Gains(values, lost, margin=margin, floor=floor_gain, linear=linear, held_out=scoring.held_out)


def interim_look(field: Gains, budget: ErrorBudget) -> InterimLook:
    """Return the state of a race.  The leader has the best mean of the models with the most repetitions; of equal means
    the first in alphabetical order, so that the order of models has no effect."""
    most = max(len(values) for values in field.values.values())
    leader = min(
        (model for model, values in field.values.items() if len(values) == most),
        key=lambda model: (-float(field.counted(model, most).mean()), model),
    )
    comparisons = tuple(compare_pair(field, leader, rival, budget) for rival in field.values if rival != leader)
    return InterimLook(most, leader, comparisons, {model: _learned(field, model, budget) for model in field.values})


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


def _wins(field: Gains, one: str, other: str, n: int) -> int:
    """Return the repetitions in which the one is better; a repetition without a score loses to any score."""
    mine, theirs = field.values[one][:n], field.values[other][:n]
    mine_lost, theirs_lost = field.lost[one][:n], field.lost[other][:n]
    return int((~mine_lost & (theirs_lost | (mine > theirs))).sum())


def _verdict(
    n: int, interval: Interval | None, mean: float, both: tuple[Failures, Failures], margin: float, error: float
) -> Verdict:
    """Equivalent: the interval of the difference lies within the margin.  Lost: the difference is surely above zero,
    failures that were not seen would not reverse it, and it is seen to be above the margin.  Open: neither."""
    if interval is None:
        return "open"
    if -margin < interval.low and interval.high < margin:
        hidden = max(each.hidden_loss(error) for each in both)
        return "equivalent" if n >= EQUIVALENT_PAIRS or abs(mean) + hidden < margin else "open"
    sure = interval.low > 0 and mean > both[0].hidden_loss(error)
    return "lost" if sure and mean > margin else "open"


def _learned(field: Gains, model: str, budget: ErrorBudget) -> Learned:
    """Yes: the mean is better than the floor by more than the margin, at least half of the repetitions are, and that
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
    if field.held_out is not None:
        reach += field.held_out.reach(budget.held_out)
    return "yes" if mean - reach > floor else "unsure"


def probabilities(field: Gains, models: Sequence[str], *, seed: int = 0) -> dict[str, float]:
    """Return model → the probability that its mean is the best of these, given the repetitions that they share.

    See `best_probabilities`.  The order of models has no effect.
    """
    n, names = field.common(*models), sorted(models)
    found = best_probabilities(np.stack([field.counted(model, n) for model in names]), seed=seed)
    return dict(zip(names, found.tolist(), strict=True))


def needed(one: PairwiseComparison, *, margin: float, budget: ErrorBudget) -> int | None:
    """Return the repetitions in all that would decide an open comparison with probability `POWER`, were the difference,
    the spread and the share of failures that are seen the true ones.

    None where `MOST_NEEDED` would not, or fewer than two repetitions are seen.
    """
    if one.n < 2:
        return None
    return next((n for n in ladder(MOST_NEEDED) if n > one.n and _power(one, n, margin, budget) >= POWER), None)


def _power(one: PairwiseComparison, n: int, margin: float, budget: ErrorBudget) -> float:
    """Return the probability that the look at n repetitions finds one model better, or both equivalent."""
    error, ahead = budget.pair * budget.share(n), one.own if one.mean > 0 else one.other
    mean, spread = abs(one.mean), max(one.spread, 1e-12 * max(abs(one.mean), 1e-300))
    if mean > margin:
        return difference_power(mean / spread, n, error) if mean > ahead.hidden_loss(budget.failure, n) else 0.0
    hidden = max(each.hidden_loss(budget.failure, n) for each in (one.own, one.other))
    if n < EQUIVALENT_PAIRS and mean + hidden >= margin:
        return 0.0
    return equivalence_power(mean, spread, n, margin=margin, error=error)


@dataclass(frozen=True)
class Step:
    """The next trainings that a race asks for."""

    repetitions: int
    """Each of `models` is to have so many."""
    models: tuple[str, ...]
    """Models that lack some; none where the race is over."""
    alive: tuple[str, ...]
    """Models that were in the race at the last look, in the order given."""
    lost: Mapping[str, int]
    """Model → repetitions at which it was clearly worse on validation."""
    reads: tuple[int, ...] = ()
    """Looks, in repetitions, at which test scores were read."""


def follow(validation: Scores, test: Scores, budget: ErrorBudget, *, on_validation: Scoring, on_test: Scoring) -> Step:
    """Replay a race from its start and return what it asks for next: a function of the scores, however they came.

    A model that is clearly worse on validation trains no further.  Where validation leaves nothing open, and at the
    last look, test scores are read.  The race ends there, unless test scores leave rivals open: these train on.

    validation, test: scores of the same repetitions.  Models that can have no repetition are not in them.
    """
    alive, lost, reads = tuple(validation), dict[str, int](), list[int]()
    held = dict.fromkeys(validation, 0)
    for n in budget.looks:
        lacking = tuple(model for model in alive if len(validation[model]) < n)
        if lacking:
            return Step(n, lacking, alive, lost, tuple(reads))
        held |= dict.fromkeys(alive, n)
        field = gains({model: validation[model][:n] for model in alive}, on_validation)
        if field is None:
            return Step(n, (), alive, lost, tuple(reads))
        now = interim_look(field, budget)
        lost = dict.fromkeys(now.of("lost"), n) | lost
        last = n == budget.looks[-1]
        if not (last or now.over):
            alive = tuple(model for model in alive if model not in now.of("lost"))
            continue
        reads.append(n)
        found = gains({model: test[model][: held[model]] for model in held}, on_test)
        outcome = None if found is None else interim_look(found, budget)
        if last or outcome is None or outcome.over:
            return Step(n, (), alive, lost, tuple(reads))
        alive = tuple(model for model in held if model == outcome.leader or model in outcome.of("open"))
    raise ValueError("a race without looks")
