"""Values and quantiles of the dimensions of a search space."""

from __future__ import annotations

import math

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.errors import SpaceError
from harness.records import ParamValue


def at_unit(distribution: BaseDistribution, unit: float) -> ParamValue:
    """Return the value at quantile `unit`, in [0, 1), of a distribution.

    Quasi-random points become parameters in this way.  Raises SpaceError if the distribution is not one of Optuna's.
    """
    if isinstance(distribution, CategoricalDistribution):
        choices: tuple[ParamValue, ...] = distribution.choices
        return choices[int(unit * len(choices))]
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            low, high = distribution.low - 0.5, distribution.high + 0.5
            return int(min(max(round(low * (high / low) ** unit), distribution.low), distribution.high))
        steps = (distribution.high - distribution.low) // distribution.step + 1
        return int(distribution.low + int(unit * steps) * distribution.step)
    if isinstance(distribution, FloatDistribution):
        start, stop = float(distribution.low), float(distribution.high)
        if distribution.step is not None:
            value = start + int(unit * (round((stop - start) / distribution.step) + 1)) * float(distribution.step)
        else:
            value = start * (stop / start) ** unit if distribution.log else start + (stop - start) * unit
        return min(max(value, start), stop)  # rounding may step over an end
    raise SpaceError(
        f"{distribution!r}: unknown kind of dimension; use Optuna's IntDistribution, FloatDistribution or "
        "CategoricalDistribution"
    )


def unit_of(distribution: BaseDistribution, value: ParamValue) -> float:
    """Return the quantile of a number in its dimension, in [0, 1]: in the middle of those that `at_unit` maps to it."""
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        raise SpaceError(f"{distribution!r}: a choice has no quantile")
    number, low, high = float(value or 0), float(distribution.low), float(distribution.high)
    if distribution.log:
        half = 0.5 if isinstance(distribution, IntDistribution) else 0.0  # an integer holds the span around it
        return math.log(number / (low - half)) / math.log((high + half) / (low - half))
    if distribution.step is not None:
        return ((number - low) / distribution.step + 0.5) / (round((high - low) / distribution.step) + 1)
    return (number - low) / (high - low)
