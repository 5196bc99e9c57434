"""Decide from paired repetitions which of two models is better, or estimate how many pairs would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.equivalence_test import equivalence_p_value
from harness.analysis.sign_test import LEVEL, MEANINGFUL, MINIMUM_PAIRS, needed_pairs, sign_p_value
from harness.analysis.statistics import Interval, Scale, holm, mean_interval, proportion

PairedVerdict = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True)
class Decision:
    """The decision between two models on one task."""

    verdict: PairedVerdict
    wins: int
    ties: int
    n: int
    """Number of pairs; a missing score loses to any score and ties with another missing score."""
    interval: Interval
    """Exact 95 % interval of the probability of winning a pair; ties count half."""
    difference: Interval | None
    """95 % interval of the mean difference, first less second score, on the metric's scale.

    None if a score is missing or has no logarithm, if a mean is not meaningful, or if there is only one pair.
    """
    needed: int | None
    """Number of pairs that would decide, if undecided: see `needed_pairs`."""
    p_sign: float
    """P-value of the hypothesis that each model wins a pair with probability 1/2: see `sign_p_value`."""
    p_equivalent: float | None
    """P-value of the hypothesis that the means differ by the margin or more: see `equivalence_p_value`.

    None if the task has no margin or the mean difference is unknown.
    """
    within: bool
    """Whether the interval of the difference lies within the margin.  Then no model is called better."""

    @property
    def probability(self) -> float:
        return (self.wins + self.ties / 2) / self.n

    @property
    def reversed(self) -> Decision:
        """The decision of the second model against the first."""
        opposite: dict[PairedVerdict, PairedVerdict] = {"better": "worse", "worse": "better"}
        return replace(
            self,
            verdict=opposite.get(self.verdict, self.verdict),
            wins=self.n - self.wins - self.ties,
            interval=Interval(1 - self.interval.high, 1 - self.interval.low, self.interval.level),
            difference=Interval(-self.difference.high, -self.difference.low, self.difference.level)
            if self.difference is not None
            else None,
        )


def decide(
    scores: Sequence[float],
    other: Sequence[float],
    *,
    better: Literal["lower", "higher"],
    margin: float = 0.0,
    scale: Scale | None = "linear",
) -> Decision:
    """Decide between two models that are compared alone; `correct` decides several pairs of models together.

    Better: the probability of winning is above one half.  Equivalent: the mean difference is within the margin, which
    takes precedence.  Both claims are made at `LEVEL`, from `MINIMUM_PAIRS` pairs on, and pairs may be added until they
    decide.

    scores, other: scores by repetition; NaN if a repetition has none.  margin: on `scale`.  scale: the scale of the
    mean difference; None if a mean of these scores is not meaningful.  Raises ValueError if the scores are not paired.
    """
    if len(scores) != len(other) or not scores:
        raise ValueError(f"{len(scores)} and {len(other)} scores are no pairs")
    gain = _gains(scores, other, better)
    wins, ties, n = int((gain > 0).sum()), int((gain == 0).sum()), len(scores)
    interval = Interval(proportion(wins, n).interval.low, proportion(wins + ties, n).interval.high, 0.95)
    difference = _difference(scores, other, scale)
    within = difference is not None and -margin < difference.low and difference.high < margin
    p_equivalent = _equivalence_p_value(difference, n, margin)
    p_sign = sign_p_value(wins, n - wins - ties, ties)
    alone = Decision("undecided", wins, ties, n, interval, difference, None, p_sign, p_equivalent, within)
    return correct([alone])[0]


def correct(decisions: Sequence[Decision]) -> list[Decision]:
    """Return the decisions with verdicts of which any is false with probability `LEVEL` at most.

    Holm's correction (1979) over all possible claims: for each pair of models that one is better and, if the task has a
    margin, that they are equivalent.
    """
    signs = [decision.p_sign for decision in decisions]
    able = [index for index, decision in enumerate(decisions) if decision.p_equivalent is not None]
    adjusted = holm([*signs, *(decisions[index].p_equivalent or 0.0 for index in able)])
    equivalent = dict(zip(able, adjusted[len(signs) :], strict=True))
    return [
        _decided(decision, adjusted[index], equivalent.get(index, 1.0), len(adjusted))
        for index, decision in enumerate(decisions)
    ]


def _decided(decision: Decision, p_sign: float, p_equivalent: float, claims: int) -> Decision:
    """Return the decision with the verdict that the adjusted p-values allow."""
    verdict: PairedVerdict = "undecided"
    losses = decision.n - decision.wins - decision.ties
    if decision.n >= MINIMUM_PAIRS:
        if p_equivalent <= LEVEL:
            verdict = "equivalent"
        elif p_sign <= LEVEL and not decision.within:
            verdict = "better" if decision.wins > losses else "worse"
    needed = needed_pairs(decision.wins, losses, decision.ties, claims) if verdict == "undecided" else None
    return replace(decision, verdict=verdict, needed=needed)


def _equivalence_p_value(difference: Interval | None, n: int, margin: float) -> float | None:
    """Return the p-value from Student's interval of the difference; None without an interval or a margin."""
    if difference is None or margin <= 0:
        return None
    middle = (difference.low + difference.high) / 2
    error = (difference.high - difference.low) / 2 / float(stats.t.ppf((1 + difference.level) / 2, n - 1))
    return equivalence_p_value(middle, error, n, margin)


def _gains(scores: Sequence[float], other: Sequence[float], better: str) -> NDArray[np.float64]:
    """Return 1 for each pair won, 0 for a tie and -1 for each pair lost."""
    sign = -1.0 if better == "lower" else 1.0
    mine, others = (
        np.where(np.isfinite(values), sign * np.asarray(values, dtype=np.float64), -np.inf)
        for values in (scores, other)
    )
    return np.sign(np.greater(mine, others).astype(np.float64) - np.less(mine, others))


def _difference(scores: Sequence[float], other: Sequence[float], scale: Scale | None) -> Interval | None:
    values = np.asarray([scores, other], dtype=np.float64)
    if scale is None or not np.isfinite(values).all() or (scale == "log" and (values <= 0).any()):
        return None
    mine, others = np.log(values) if scale == "log" else values
    return mean_interval((mine - others).tolist())


def noether_pairs(probability: float = MEANINGFUL, alpha: float = 0.05, power: float = 0.95) -> int:
    """Return the number of pairs that detects a probability of winning (Noether 1987, as in Bouthillier et al. 2021).

    For 0.75 it is 29 at an error of 5 % either way, and 17 at a power of 80 %.  Raises ValueError if `probability` is
    not in (0.5, 1].
    """
    if not 0.5 < probability <= 1:
        raise ValueError(f"probability {probability} is not above a half")
    distance = stats.norm.ppf(1 - alpha) + stats.norm.ppf(power)
    return math.ceil((distance / (6**0.5 * (probability - 0.5))) ** 2)


def power(n: int, probability: float = MEANINGFUL) -> float:
    """Return how likely n pairs without ties decide for a model that wins each pair with `probability`."""
    if n < MINIMUM_PAIRS:
        return 0.0
    enough = next((wins for wins in range((n + 1) // 2, n + 1) if sign_p_value(wins, n - wins) <= LEVEL), n + 1)
    return float(stats.binom.sf(enough - 1, n, probability))
