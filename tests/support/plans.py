"""Plans of the toys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.api.model import Model
from harness.plugin.registry import Entry, Registry
from harness.study.cell_plan import CellPlan
from harness.study.plan import Plan
from tests.support.toys import ToyEma

PlanOf = Callable[..., Plan]
"""Top-level keys of a study file that replace those of the toys → the plan of the study."""


def only_cell(plan: Plan) -> CellPlan:
    """Return the cell of a plan that has one."""
    (cell,) = plan.cells
    return cell


def with_model(registry: Registry, model: Model) -> Registry:
    """Return a registry with one more model."""
    entry = Entry(model.name, model, registry.plugins[0], "here")
    return replace(registry, models={**registry.models, model.name: entry})


class HookedModel(ToyEma):
    """Calls a function before each forward pass in training."""

    name = "toy-hooked"

    def __init__(self, before: Callable[[], None]) -> None:
        self.before = before

    def build(self, signature: Any, widths: tuple[int, ...], **params: Any) -> Any:
        network = super().build(signature, widths, **params)
        network.register_forward_pre_hook(self._call)
        return network

    def _call(self, module: Any, _: Any) -> None:
        if module.training:
            self.before()


class RaisingModel(ToyEma):
    """Raises in the method of this name."""

    name = "odd"

    def __init__(self, where: str) -> None:
        self.where = where

    def space(self, signature: Any) -> Any:  # as its parent's, whose types this class does not import
        self._raise_at("space")
        return super().space(signature)

    def unsupported(self, signature: Any, **params: Any) -> str | None:
        self._raise_at("unsupported")
        return None

    def build(self, signature: Any, widths: tuple[int, ...], **params: Any) -> Any:
        self._raise_at("build")
        return super().build(signature, widths, **params)

    def _raise_at(self, where: str) -> None:
        if self.where == where:
            raise KeyError("odd")
