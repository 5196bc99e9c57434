"""List the shapes of a search space that cannot meet a parameter budget at any widths."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.api.distributions import at_unit
from harness.api.model import Model
from harness.api.signature import Signature
from harness.errors import BudgetError
from harness.records import ParamValue
from harness.study.budget import Size, nearest_size, reason_unmet

MOST_SHAPES = 1000
"""Maximum number of shapes of one space that are solved."""

Values = tuple[ParamValue, ...]


@dataclass(frozen=True)
class UnmetShape:
    """A shape that cannot meet the budget."""

    params: Mapping[str, ParamValue]
    """Values of the dimensions that decide whether and with which widths a shape meets the budget."""
    size: Size | None
    """The size with the nearest count; None if width 1 is above the budget, or no width reaches it."""
    reason: str


@dataclass(frozen=True)
class Shapes:
    """How many shapes a space has, and those that do not meet the budget."""

    total: int
    """Shapes that can serve the task, counted over the dimensions that `UnmetShape.params` names."""
    unmet: tuple[UnmetShape, ...]
    complete: bool
    """Whether the space has at most `MOST_SHAPES` shapes.  If not, only the first ones were solved."""


def unmet_shapes(
    model: Model, signature: Signature, space: Mapping[str, BaseDistribution], *, budget: int, tolerance: float
) -> Shapes:
    """Solve every shape of an architecture's space.

    A shape has one value of each discrete dimension; a continuous dimension takes its middle.  Shapes that the model
    does not support for this signature are left out, and so are dimensions that change no size (a forget bias).
    """
    discrete = {name: values for name, distribution in space.items() if (values := _values(distribution)) is not None}
    middle = {name: at_unit(distribution, 0.5) for name, distribution in space.items() if name not in discrete}
    names = list(discrete)
    grid = itertools.product(*discrete.values())
    outcomes: dict[Values, Size | str] = {}
    for values in itertools.islice(grid, MOST_SHAPES):
        params = {**middle, **dict(zip(names, values, strict=True)), "dropout": 0.0}
        if model.unsupported(signature, **params) is None:
            outcomes[values] = _outcome(model, signature, params, budget, tolerance)
    complete = next(grid, None) is None
    names, outcomes = _without_idle(names, outcomes)
    unmet = [
        UnmetShape(
            dict(zip(names, values, strict=True)),
            None if isinstance(outcome, str) else outcome,
            outcome if isinstance(outcome, str) else reason_unmet(model, outcome, tolerance),
        )
        for values, outcome in outcomes.items()
        if isinstance(outcome, str) or not outcome.met
    ]
    return Shapes(len(outcomes), tuple(unmet), complete)


def _values(distribution: BaseDistribution) -> Sequence[ParamValue] | None:
    """Return the values of a discrete dimension; None if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        choices: tuple[ParamValue, ...] = distribution.choices
        return choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        steps = round((distribution.high - distribution.low) / distribution.step) + 1
        return [at_unit(distribution, (index + 0.5) / steps) for index in range(steps)]
    return None


def _outcome(
    model: Model, signature: Signature, params: Mapping[str, ParamValue], budget: int, tolerance: float
) -> Size | str:
    """Return the nearest size, or the reason why there is none."""
    try:
        return nearest_size(model, signature, params, budget=budget, tolerance=tolerance)
    except BudgetError as error:
        return str(error)


def _without_idle(
    names: Sequence[str], outcomes: Mapping[Values, Size | str]
) -> tuple[list[str], dict[Values, Size | str]]:
    """Return names and outcomes without the dimensions whose value changes the outcome of no shape."""
    kept, left = list(names), dict(outcomes)
    for name in names:
        index = kept.index(name)
        merged: dict[Values, set[Size | str]] = {}
        for values, outcome in left.items():
            merged.setdefault((*values[:index], *values[index + 1 :]), set()).add(outcome)
        if all(len(distinct) == 1 for distinct in merged.values()) and len(merged) < len(left):
            kept.remove(name)
            left = {values: distinct.pop() for values, distinct in merged.items()}
    return kept, left
