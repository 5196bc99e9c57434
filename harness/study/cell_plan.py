"""One cell of a plan: a task and a model, with everything that its trials need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.api.model import Model, Published
from harness.api.sampler import SamplerFactory
from harness.api.signature import Signature
from harness.api.task import Task
from harness.errors import BudgetError, PluginError, cause
from harness.plugin.registry import SAMPLERS, Entry, names_of, plugin_border
from harness.records import Cell, CellFacts, ParamValue, Plugin, Resources, Schedule, Training
from harness.study.budget import Size, count_at, solve
from harness.study.space import CellSpace

TRIED_WIDTHS = (720, 17, 97)
"""A width that most numbers of heads or groups divide, and two that none does."""


@dataclass(frozen=True)
class CellPlan:
    """One cell and everything that its trials are made from."""

    facts: CellFacts
    task: Task
    model: Model
    signature: Signature
    space: CellSpace
    training: Training
    schedule: Schedule
    resources: Resources
    tolerance: float
    setting: Published | None
    """The published setting that the cell trains unchanged, without a search; None if the cell searches."""
    data: Mapping[str, str]
    """Data file → SHA-256."""
    plugins: tuple[Plugin, ...]
    sampler: Entry[SamplerFactory] = SAMPLERS["random"]

    @property
    def cell(self) -> Cell:
        return self.facts.cell

    def size(self, build: Mapping[str, ParamValue]) -> Size:
        """Return the widths of a configuration.

        Raises BudgetError with the reason if the configuration cannot be used, also if the model's `build` raises, and
        PluginError if the model cannot be used at all.
        """
        try:
            with plugin_border(f"model {self.model.name!r}", self.plugins[-1]):
                return self._size(build)
        except PluginError as error:
            if error.__cause__ is None:  # not raised in the plugin, but about it
                raise PluginError(f"{self.cell}: {error} (from {names_of(self.plugins[-1:])})") from None
            raise BudgetError(str(error)) from error

    def check_widths(self, build: Mapping[str, ParamValue]) -> None:
        """Raise PluginError if the model's `build` accepts some widths of a configuration and raises at others."""
        faults: dict[int, str] = {}
        for width in TRIED_WIDTHS:
            try:
                count_at(self.model, self.signature, (width,) * self.model.levels(**build), build)
            except Exception as error:  # noqa: BLE001  # third-party code may raise anything
                faults[width] = cause(error)
        accepted = [width for width in TRIED_WIDTHS if width not in faults]
        if faults and accepted:
            width, fault = next(iter(faults.items()))
            raise PluginError(
                f"{self.cell}: model {self.model.name!r} of {names_of(self.plugins[-1:])} takes width {accepted[0]}, "
                f"but not {width} ({fault}); widths are solved from the budget and may be any integers; make build "
                "accept every integer"
            )

    def _size(self, build: Mapping[str, ParamValue]) -> Size:
        reason = self.model.unsupported(self.signature, **build)
        if reason is not None:
            raise BudgetError(reason)
        if self.facts.parameters is None:
            raise BudgetError(f"{self.cell}: has published widths and no budget to solve")
        return solve(self.model, self.signature, build, budget=self.facts.parameters, tolerance=self.tolerance)

    def published_size(self) -> Size:
        """Return the size of the published setting: its own widths under `paper`, solved widths under `fair`.

        Raises BudgetError if the cell has no published setting.
        """
        if self.setting is None:
            raise BudgetError(f"{self.cell}: has no published setting")
        if self.facts.parameters is not None:
            return self.size(self.setting.params)
        count = count_at(self.model, self.signature, self.setting.widths, self.setting.params)
        row = self.task.published()
        size = row.parameters if row is not None and row.parameters is not None else count.parameters
        return Size(self.setting.widths, count, size, allowed=math.inf)
