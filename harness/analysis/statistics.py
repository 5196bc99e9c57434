"""Estimators with confidence intervals, on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Scale = Literal["linear", "log"]
FEWEST_FOR_A_MEDIAN = 5
"""Fewest values for an interval of the median: the range of four values holds it with only 87.5 %."""
FEWEST_GROUPS = 10
"""Fewest groups of held-out answers from which a standard error is trusted: of fewer, all may be right by chance."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval; `level` is in (0, 1)."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Summary:
    """Summary of a sample, in the unit of its values except for `std`."""

    n: int
    mean: float
    """Arithmetic mean on a linear scale, geometric mean on a log scale."""
    median: float
    std: float | None
    """Standard deviation (n - 1): of the values on a linear scale, of their natural logarithms on a log scale.

    None if n = 1.
    """
    interval: Interval | None
    """95 % interval of the mean; None if n = 1 or the mean is not meaningful (see `CellResult.summary`)."""
    scale: Scale
    median_interval: Interval | None = None
    """Interval of the median: see `median_interval`."""


@dataclass(frozen=True)
class Proportion:
    """How often an event happened, with an interval of its probability."""

    happened: int
    n: int
    interval: Interval
    """Exact interval of the probability."""

    @property
    def share(self) -> float:
        return self.happened / self.n


def proportion(happened: int, n: int, level: float = 0.95) -> Proportion:
    """Return the proportion with Clopper and Pearson's interval.

    Its coverage is at least `level` at every n and every probability.  Wilson's interval is shorter, but at 5 or 10
    trials and probabilities near 0 or 1 it covers 84 % for a nominal 95 %.  Raises ValueError if n is 0 or `happened`
    is not between 0 and n.
    """
    if not 0 <= happened <= n or n == 0:
        raise ValueError(f"{happened} of {n} is no proportion")
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, happened, n - happened + 1)) if happened > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, happened + 1, n - happened)) if happened < n else 1.0
    return Proportion(happened, n, Interval(low, high, level))


def highest_rate(happened: int, n: int, error: float) -> float:
    """Return the one-sided upper confidence limit of a probability (Clopper & Pearson 1934), exact at this error."""
    return 1.0 if happened >= n else float(special.betaincinv(happened + 1, n - happened, 1 - error))


@dataclass(frozen=True)
class SamplingError:
    """How much the score of one model would vary between held-out sets of this size."""

    groups: int
    """Independent groups of held-out answers from which the standard error is estimated."""
    standard_error: float

    def reach(self, error: float) -> float:
        """Return by how much a score may exceed that of a baseline by chance, one-sided at this error.

        Twice Student's t interval, because the baseline is scored on the same answers: its standard error is taken to
        be as large, and the correlation of the two to be -1.  Infinite below `FEWEST_GROUPS`.
        """
        if self.groups < FEWEST_GROUPS:
            return math.inf
        return -2 * float(special.stdtrit(self.groups - 1, error)) * self.standard_error


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values of Holm (1979), in the order given: the family-wise error is at most the level."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def mean_interval(values: Sequence[float], level: float = 0.95, scale: Scale = "linear") -> Interval | None:
    """Return Student's t interval of the mean of independent, normal values; None if there are fewer than two.

    On a log scale the values are log-normal, and the interval is that of their geometric mean.  Raises ValueError if
    `level` is not in (0, 1), if a value is not finite, or if a value on a log scale is not positive.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    scaled = _on_scale(values, scale)
    if len(scaled) < 2:
        return None
    error = float(scaled.std(ddof=1)) / len(scaled) ** 0.5
    reach = float(stats.t.ppf((1 + level) / 2, len(scaled) - 1)) * error
    mean = float(scaled.mean())
    return Interval(_off_scale(mean - reach, scale), _off_scale(mean + reach, scale), level)


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return an exact interval of the median of independent values from any continuous distribution.

    The interval lies between the r-th values from either end of the sorted sample.  They miss the median with
    probability 2 P(Binomial(n, 1/2) < r); r is the largest for which that is at most 1 - level.  For five values even
    the range holds only 93.75 %, which is then its level.  None for fewer values.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n < FEWEST_FOR_A_MEDIAN:
        return None
    rank = max(1, int(stats.binom.ppf((1 - level) / 2, n, 0.5)))
    held = 1 - 2 * float(stats.binom.cdf(rank - 1, n, 0.5))
    return Interval(float(ordered[rank - 1]), float(ordered[n - rank]), held)


def summarise(values: Sequence[float], scale: Scale = "linear") -> Summary:
    """Summarise a sample.

    Raises ValueError if there are no values, if a value is not finite, or if a value on a log scale is not positive.
    """
    scaled = _on_scale(values, scale)
    if len(scaled) == 0:
        raise ValueError("no values to summarise")
    return Summary(
        n=len(scaled),
        mean=_off_scale(float(scaled.mean()), scale),
        median=float(np.median(np.asarray(values, dtype=np.float64))),
        std=float(scaled.std(ddof=1)) if len(scaled) > 1 else None,
        interval=mean_interval(values, scale=scale),
        scale=scale,
        median_interval=median_interval(values),
    )


def _on_scale(values: Sequence[float], scale: Scale) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"values that are not finite: {list(values)}")
    if scale == "linear":
        return array
    if (array <= 0).any():
        raise ValueError(f"a log scale takes positive values only: {list(values)}")
    logs: NDArray[np.float64] = np.log(array)
    return logs


def _off_scale(value: float, scale: Scale) -> float:
    if scale == "linear":
        return value
    with np.errstate(over="ignore"):
        return float(np.exp(value))
