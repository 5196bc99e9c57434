"""Decide from paired repetitions which of two models is better, or estimate how many pairs would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.statistics import Interval, Scale, mean_interval, proportion

Verdict = Literal["better", "worse", "equivalent", "undecided"]

MINIMUM_PAIRS = 10
"""Fewest pairs for a decision: with 5 pairs, even 5 wins leave a probability of 0.48 possible."""
MEANINGFUL = 0.75
"""Probability of winning a pair from which a difference is meaningful (Bouthillier et al. 2021)."""


@dataclass(frozen=True)
class Decision:
    """The decision between two models on one task."""

    verdict: Verdict
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

    @property
    def probability(self) -> float:
        return (self.wins + self.ties / 2) / self.n

    @property
    def reversed(self) -> Decision:
        """The decision of the second model against the first."""
        opposite: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
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
    one: Sequence[float],
    other: Sequence[float],
    *,
    better: Literal["lower", "higher"],
    margin: float = 0.0,
    scale: Scale | None = "linear",
) -> Decision:
    """Decide between two models from paired scores.

    Better: the probability of winning is above one half.  Equivalent: the mean difference is within the margin.  Both
    claims are made at 95 %, from `MINIMUM_PAIRS` pairs on.  A significant difference within the margin is equivalent.

    one, other: scores by repetition; NaN if a repetition has none.  margin: on `scale`.  scale: the scale of the mean
    difference; None if a mean of these scores is not meaningful.  Raises ValueError if the scores are not paired.
    """
    if len(one) != len(other) or not one:
        raise ValueError(f"{len(one)} and {len(other)} scores are no pairs")
    gain = _gains(one, other, better)
    wins, ties, n = int((gain > 0).sum()), int((gain == 0).sum()), len(one)
    interval = Interval(proportion(wins, n).interval.low, proportion(wins + ties, n).interval.high, 0.95)
    difference = _difference(one, other, scale)
    verdict = _verdict(n, interval, difference, margin)
    needed = needed_pairs(n, (wins + ties / 2) / n) if verdict == "undecided" else None
    return Decision(verdict, wins, ties, n, interval, difference, needed)


def _gains(one: Sequence[float], other: Sequence[float], better: str) -> NDArray[np.float64]:
    """Return 1 for each pair won, 0 for a tie and -1 for each pair lost."""
    sign = -1.0 if better == "lower" else 1.0
    mine, others = (
        np.where(np.isfinite(values), sign * np.asarray(values, dtype=np.float64), -np.inf) for values in (one, other)
    )
    return np.sign(np.greater(mine, others).astype(np.float64) - np.less(mine, others))


def _difference(one: Sequence[float], other: Sequence[float], scale: Scale | None) -> Interval | None:
    values = np.asarray([one, other], dtype=np.float64)
    if scale is None or not np.isfinite(values).all() or (scale == "log" and (values <= 0).any()):
        return None
    mine, others = np.log(values) if scale == "log" else values
    return mean_interval((mine - others).tolist())


def _verdict(n: int, interval: Interval, difference: Interval | None, margin: float) -> Verdict:
    if n < MINIMUM_PAIRS:
        return "undecided"
    if difference is not None and -margin < difference.low and difference.high < margin:
        return "equivalent"
    if interval.low > 0.5:
        return "better"
    return "worse" if interval.high < 0.5 else "undecided"


def noether_pairs(probability: float = MEANINGFUL, alpha: float = 0.05, power: float = 0.95) -> int:
    """Return the number of pairs that detects a probability of winning (Noether 1987, as in Bouthillier et al. 2021).

    For 0.75 it is 29 at an error of 5 % either way, and 17 at a power of 80 %.  Raises ValueError if `probability` is
    not in (0.5, 1].
    """
    if not 0.5 < probability <= 1:
        raise ValueError(f"probability {probability} is not above a half")
    distance = stats.norm.ppf(1 - alpha) + stats.norm.ppf(power)
    return math.ceil((distance / (6**0.5 * (probability - 0.5))) ** 2)


def needed_pairs(n: int, probability: float) -> int | None:
    """Return how many pairs would decide if n pairs have not.

    This is the number that detects a meaningful probability; if n is already as large, the number that detects the
    observed probability.  None if neither model leads, or if n pairs should have detected it.
    """
    if n < noether_pairs():
        return noether_pairs()
    leader = max(probability, 1 - probability)
    needed = noether_pairs(leader) if leader > 0.5 else None
    return needed if needed is not None and needed > n else None


def power(n: int, probability: float = MEANINGFUL) -> float:
    """Return how likely n pairs without ties decide for a model that wins each pair with `probability`."""
    if n < MINIMUM_PAIRS:
        return 0.0
    enough = next((wins for wins in range(n + 1) if proportion(wins, n).interval.low > 0.5), n + 1)
    return float(stats.binom.sf(enough - 1, n, probability))
