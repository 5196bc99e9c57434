"""Search spaces: the dimensions that all models share, a model's own, and what a study fixes or restricts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.api.model import Model
from harness.api.signature import Signature
from harness.api.task import Task
from harness.errors import SpaceError, did_you_mean
from harness.records import Optimisation, ParamValue, Schedule
from harness.study.schema import SpaceOverride

Space = Mapping[str, BaseDistribution]

REFERENCE_RATES = {"adam": 2e-3, "rmsprop": 1e-3, "sgd": 0.1, "adagrad": 1e-2}
"""Optimiser → learning rate at a factor of 1, so that one range of factors fits all optimisers.  Adam: Bai et al. 2018,
section 5.1.  The others: usual settings of their papers and of PyTorch."""


def common_space(task: Task) -> dict[str, BaseDistribution]:
    """Return the dimensions that all models of a task share."""
    return {
        "optimizer": CategoricalDistribution(["adam", "rmsprop"]),
        "learning_rate_factor": FloatDistribution(0.1, 10.0, log=True),
        "clip": CategoricalDistribution([0.25, 1.0, None]),
        **task.regularisation(),
    }


@dataclass(frozen=True)
class CellSpace:
    """The search space of a cell: the dimensions that all models share, and those of the model's architecture."""

    common: Space
    architecture: Space

    @property
    def dimensions(self) -> dict[str, BaseDistribution]:
        """All dimensions, in the order of their names.  They are drawn in this order."""
        return dict(sorted({**self.common, **self.architecture}.items()))

    def build_params(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """Return the parameters that `Model.build` takes."""
        return {name: value for name, value in params.items() if name in self.architecture or name == "dropout"}

    def optimisation(self, params: Mapping[str, ParamValue], schedule: Schedule) -> Optimisation:
        """Return the optimiser, learning rate and clipping of a configuration, with this schedule."""
        optimizer = str(params["optimizer"])
        rate = REFERENCE_RATES[optimizer] * float(params["learning_rate_factor"] or 0)
        clip = params["clip"]
        return Optimisation.model_validate(
            {"optimizer": optimizer, "learning_rate": rate, "clip": clip, "schedule": schedule}
        )


def cell_space(
    task: Task, model: Model, signature: Signature, *, shared: SpaceOverride, own: SpaceOverride, where: str
) -> CellSpace:
    """Return the space of a cell.

    shared, own: what the study fixes or restricts in the shared dimensions and in the model's own.
    where: beginning of error messages.  Raises SpaceError if a dimension is unknown or a value lies outside its space.
    """
    common = common_space(task)
    architecture = model.space(signature)
    clash = common.keys() & architecture.keys()
    if clash:
        raise SpaceError(f"{where}: model {model.name!r} searches {min(clash)!r}, which all models share")
    for name, given in shared.items():
        if name not in common:
            hint = did_you_mean(name, common)
            raise SpaceError(f"{where}: no model shares a dimension {name!r};{hint} Shared: {', '.join(common)}")
        within = CategoricalDistribution(list(REFERENCE_RATES)) if name == "optimizer" else common[name]
        common[name] = restrict(within, given, f"{where}: {name!r}")
    for name, given in own.items():
        if name in common:
            raise SpaceError(f"{where}: {name!r} is the same for every model; set it under search.space")
        # A study may also fix a parameter of `build` that is not searched by default.
        within = architecture.get(name, CategoricalDistribution(_values(given)))
        architecture[name] = restrict(within, given, f"{where}: {name!r}")
    return CellSpace(common, architecture)


def restrict(distribution: BaseDistribution, given: ParamValue | list[ParamValue], where: str) -> BaseDistribution:
    """Return a choice among the given values.  Raises SpaceError if a value lies outside the distribution.

    where: beginning of the error message.
    """
    values = _values(given)
    for value in values:
        if not contains(distribution, value):
            given_text = "none" if value is None else repr(value)
            raise SpaceError(f"{where} is {given_text}, outside its space {describe(distribution)}")
    return CategoricalDistribution(values)


def contains(distribution: BaseDistribution, value: ParamValue) -> bool:
    """Return whether a dimension contains a value.

    An int is accepted as a float.  A float is not accepted as an int (3.0 as 3), and a bool as neither of them.
    """
    if isinstance(distribution, CategoricalDistribution):
        return any(_same(value, choice) for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(distribution, IntDistribution):
        on_grid = isinstance(value, int) and (value - distribution.low) % distribution.step == 0
        return on_grid and distribution.low <= value <= distribution.high
    if not isinstance(distribution, FloatDistribution) or not distribution.low <= value <= distribution.high:
        return False
    steps = 0.0 if distribution.step is None else (value - distribution.low) / distribution.step
    return math.isclose(steps, round(steps), abs_tol=1e-8)


def _same(value: ParamValue, choice: ParamValue) -> bool:
    same_kind = isinstance(value, bool) == isinstance(choice, bool)
    return value == choice and same_kind and not (isinstance(value, float) and isinstance(choice, int))


def describe(distribution: BaseDistribution) -> str:
    """Return a dimension as text: `{a, b}` for choices, `[low, high]` for numbers."""
    if isinstance(distribution, CategoricalDistribution):
        return "{" + ", ".join("none" if choice is None else str(choice) for choice in distribution.choices) + "}"
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return f"[{distribution.low}, {distribution.high}]" + (" log" if distribution.log else "")
    return repr(distribution)


def _values(given: ParamValue | list[ParamValue]) -> list[ParamValue]:
    values = given if isinstance(given, list) else [given]
    return [None if value == "none" else value for value in values]
