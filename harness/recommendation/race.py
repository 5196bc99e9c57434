"""A race between models over paired repetitions: who goes on, when it is clear, how probable each is the best.

Plain numbers in, plain numbers out.  Rounds of a race as in Maron & Moore (1994, Hoeffding races) and Birattari et al.
(2002, F-Race).  Every look at the scores can err, so the permitted error is shared out over the planned looks and the
rivals (Bonferroni), whatever the looks have in common.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.analysis.paired_tests import MINIMUM_PAIRS
from harness.analysis.statistics import Interval, Scale

Array = NDArray[np.float64]
Verdict = Literal["lost", "equivalent", "open"]
Learned = Literal["yes", "no", "unsure"]
Scores = Mapping[str, Sequence[float]]
"""Model → scores by repetition, NaN where a repetition has none.  Models may have different numbers of them."""

LADDER = (5, 10, 15, 20, 29)
"""Repetitions after which a race is looked at.  Before 5, no number of wins is sure at `SIGN_ERROR`; 29 are Noether's
for a probability of winning of 0.75 (`decision`)."""
STEP = 10
"""Between the looks that follow the ladder."""
SIGN_ERROR = 0.05
"""Of the sign test that must agree with Student's: no claim stands on the normal model alone."""


@dataclass(frozen=True)
class Scoring:
    """How scores are read."""

    better: Literal["lower", "higher"]
    margin: float = 0.0
    """Means closer than this, on `scale`, count as equivalent."""
    scale: Scale = "linear"
    floor: float | None = None
    """The score of having learned nothing."""


@dataclass(frozen=True)
class Gains:
    """Scores on the metric's scale, turned so that more is better."""

    values: Mapping[str, Array]
    """A lost repetition counts as the worst score of any model, or the floor where that is worse."""
    lost: Mapping[str, NDArray[np.bool_]]
    margin: float
    floor: float | None
    linear: bool
    """Whether a log scale was asked for and a score, or the floor, has no logarithm: then all is on a linear scale,
    where the margin means nothing and is 0."""

    def common(self, *models: str) -> int:
        """Repetitions that these models share."""
        return min(len(self.values[model]) for model in models)


@dataclass(frozen=True)
class Duel:
    """The leader against a rival, on the repetitions that both have."""

    rival: str
    n: int
    wins: int
    """Of the leader."""
    ties: int
    difference: Interval | None
    """Of the mean gain of the leader over the rival, on the scale; None where fewer than two are shared."""
    mean: float
    spread: float
    """Standard deviation of the differences, n - 1; NaN where n < 2."""
    probability: float
    """That the rival's mean is better, given these repetitions alone: Student's t; 0.5 where n < 2."""
    verdict: Verdict


@dataclass(frozen=True)
class Look:
    """How a race stands."""

    n: int
    """Repetitions of the leader."""
    leader: str
    duels: tuple[Duel, ...]
    learned: Mapping[str, Learned]
    """Model → whether it is better than the floor by more than the margin; all `yes` where there is no floor."""

    def of(self, *verdicts: Verdict) -> tuple[str, ...]:
        return tuple(duel.rival for duel in self.duels if duel.verdict in verdicts)

    @property
    def nothing_learned(self) -> bool:
        return all(value == "no" for value in self.learned.values())

    @property
    def over(self) -> bool:
        """Every rival has lost; or nobody learns, of which more repetitions would only tell more exactly.

        Equals go on: that they are equivalent must be sure on test too, which a race does not look at.
        """
        return not self.of("open", "equivalent") or (self.nothing_learned and self.n >= MINIMUM_PAIRS)


@dataclass(frozen=True)
class Errors:
    """What one comparison may err, one-sided, so that all comparisons together err with 1 - confidence at most.

    Half is the race's, on validation, over its planned looks; half is that of the one look at test after it.  With
    either, the model that is truly best is held for lost with no more than that half (Bonferroni).
    """

    look: float
    answer: float
    learned: float

    @classmethod
    def of(cls, confidence: float, *, looks: int, models: int) -> Errors:
        share = (1 - confidence) / 2 / max(models - 1, 1)
        return cls(look=share / looks, answer=share, learned=1 - confidence)


def ladder(most: int) -> tuple[int, ...]:
    """Planned looks of a race of at most so many repetitions; the last is `most`."""
    rungs = [*LADDER, *range(LADDER[-1] + STEP, most, STEP)]
    return (*(rung for rung in rungs if rung < most), most)


def gains(scores: Scores, scoring: Scoring) -> Gains | None:
    """None where no repetition of any model has a score."""
    arrays = {model: np.asarray(values, dtype=np.float64) for model, values in scores.items()}
    finite = np.concatenate([values[np.isfinite(values)] for values in arrays.values()] or [np.empty(0)])
    if finite.size == 0:
        return None
    floor = scoring.floor
    log = scoring.scale == "log" and float(finite.min()) > 0 and (floor is None or floor > 0)
    sign = 1.0 if scoring.better == "higher" else -1.0

    def turned(values: Array) -> Array:
        return sign * (np.log(values) if log else values)

    floor_gain = None if floor is None else float(turned(np.asarray(floor)))
    worst = min([float(turned(finite).min()), *([floor_gain] if floor_gain is not None else [])])
    lost = {model: ~np.isfinite(values) for model, values in arrays.items()}
    values = {
        model: np.where(lost[model], worst, turned(np.where(lost[model], finite[0], array)))
        for model, array in arrays.items()
    }
    linear = scoring.scale == "log" and not log
    return Gains(values, lost, margin=0.0 if linear else scoring.margin, floor=floor_gain, linear=linear)


def look(field: Gains, errors: Errors, *, error: float) -> Look:
    """How the race stands, with `error` for each comparison.  The leader has the best mean of those with the most
    repetitions; of equal means, the first."""
    most = max(len(values) for values in field.values.values())
    leader = max(
        (model for model, values in field.values.items() if len(values) == most),
        key=lambda model: float(field.values[model].mean()),
    )
    duels = tuple(_duel(field, leader, rival, error) for rival in field.values if rival != leader)
    return Look(most, leader, duels, {model: _learned(field, model, errors.learned) for model in field.values})


def _duel(field: Gains, leader: str, rival: str, error: float) -> Duel:
    n = field.common(leader, rival)
    mine, theirs = field.values[leader][:n], field.values[rival][:n]
    wins, losses = _wins(field, leader, rival, n), _wins(field, rival, leader, n)
    difference = mine - theirs
    mean = float(difference.mean())
    spread = float(difference.std(ddof=1)) if n > 1 else math.nan
    interval = _interval(mean, spread, n, error) if n > 1 else None
    probability = _below(-mean, spread, n) if n > 1 else 0.5
    open_ = Duel(rival, n, wins, n - wins - losses, interval, mean, spread, probability, "open")
    return replace(open_, verdict=_verdict(open_, field.margin, error))


def _wins(field: Gains, one: str, other: str, n: int) -> int:
    """Repetitions in which the one is better; a lost repetition loses to any score, though it were the worst."""
    mine, theirs = field.values[one][:n], field.values[other][:n]
    mine_lost, theirs_lost = field.lost[one][:n], field.lost[other][:n]
    return int((~mine_lost & (theirs_lost | (mine > theirs))).sum())


def _verdict(duel: Duel, margin: float, error: float) -> Verdict:
    n, interval = duel.n, duel.difference
    if interval is not None and n >= MINIMUM_PAIRS and -margin <= interval.low and interval.high <= margin:
        return "equivalent"
    losses = n - duel.wins - duel.ties
    agrees = duel.wins > 0 and float(special.bdtrc(duel.wins - 1, duel.wins + losses, 0.5)) <= SIGN_ERROR
    return "lost" if n > 1 and duel.probability <= error and agrees else "open"


def _interval(mean: float, spread: float, n: int, error: float) -> Interval:
    """Student's, with `error` on either side."""
    reach = float(special.stdtrit(n - 1, 1 - error)) * spread / math.sqrt(n)
    return Interval(mean - reach, mean + reach, 1 - 2 * error)


def _below(mean: float, spread: float, n: int) -> float:
    """The probability that a quantity of this sample mean is above zero: Student's t, n - 1 degrees of freedom."""
    if spread == 0:
        return 0.5 if mean == 0 else float(mean > 0)
    return float(special.stdtr(n - 1, mean / spread * math.sqrt(n)))


def _learned(field: Gains, model: str, error: float) -> Learned:
    """Yes: the mean is better than the floor by more than the margin, most repetitions are, and that the mean is better
    than the floor is sure.  Unsure: only the last is not."""
    values, floor = field.values[model], field.floor
    if floor is None:
        return "yes"
    bound = floor + field.margin
    succeeded = int((~field.lost[model] & (values > bound)).sum())
    if float(values.mean()) <= bound or 2 * succeeded < len(values):
        return "no"
    if len(values) < 2:
        return "unsure"
    sure = _below(float(values.mean()) - floor, float(values.std(ddof=1)), len(values))
    return "yes" if sure >= 1 - error else "unsure"


@dataclass(frozen=True)
class Step:
    """What a race wants next."""

    repetitions: int
    """Each of `models` is to have so many."""
    models: tuple[str, ...]
    """That lack some; none where the race is over."""
    alive: tuple[str, ...]
    """That were in it at the last look, in the order given."""
    lost: Mapping[str, int]
    """Model → repetitions at which it had clearly lost: all that are out of it, and those of the last look."""


def follow(scores: Scores, scoring: Scoring, looks: Sequence[int], errors: Errors) -> Step:
    """The race from its start: what it wants next is a function of the scores that there are, however they came.

    scores: on validation.  Models that can have no repetition are not in it.
    """
    alive, lost = tuple(scores), dict[str, int]()
    for n in looks:
        lacking = tuple(model for model in alive if len(scores[model]) < n)
        if lacking:
            return Step(n, lacking, alive, lost)
        field = gains({model: scores[model][:n] for model in alive}, scoring)
        if field is None:
            return Step(n, (), alive, lost)
        now = look(field, errors, error=errors.look)
        lost |= dict.fromkeys(now.of("lost"), n)
        if now.over or n == looks[-1]:
            return Step(n, (), alive, lost)
        alive = tuple(model for model in alive if model not in lost)
    raise ValueError("a race without looks")
