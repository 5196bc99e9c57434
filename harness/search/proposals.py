"""Propose configurations of a cell: draw from its space, solve the widths, or reject with the reason."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, count

from optuna.trial import FrozenTrial

from harness.errors import BudgetError
from harness.ledger.journal import TrialEntry
from harness.plugin.registry import plugin_border
from harness.records import ParamValue
from harness.samplers import WITHOUT_HISTORY
from harness.search.ask_storage import numbered
from harness.search.suggestion import draw_of, suggest, told_trial
from harness.seeds import derive
from harness.study.budget import Size
from harness.study.cell_plan import CellPlan

DRAWS = 1000
"""After this many rejected draws in a row, the cell's budget counts as impossible."""


@dataclass(frozen=True)
class Proposal:
    """A configuration that meets the budget."""

    params: Mapping[str, ParamValue]
    """One value of each dimension of the cell's space."""
    build: Mapping[str, ParamValue]
    """The part of `params` that `Model.build` takes."""
    size: Size
    draw: int
    """Number of the draw among all draws of the cell, rejected draws included."""
    rejections: tuple[str, ...] = ()
    """Why each draw since the previous proposal was rejected."""


class Proposer:
    """Draws configurations of one cell and solves their widths.

    A proposal is a function of (seed, cell, draw, history), so a resumed study continues with the same proposals.
    """

    def __init__(self, plan: CellPlan, *, seed: int) -> None:
        self.plan = plan
        self.seed = seed
        """The seed of the study."""
        self._sizes: dict[str, Size | str] = {}
        """Architecture → its size, or why it has none.  Dropout changes no count, so an architecture is solved once."""
        self._entries: list[TrialEntry] = []
        self._told: list[FrozenTrial] = []
        """The trials of `_entries` as the sampler reads them."""

    def propose(self, history: Sequence[TrialEntry]) -> Proposal:
        """Return the first configuration after those of `history` that meets the budget.

        history: the cell's search trials so far.  Raises BudgetError if `DRAWS` configurations in a row are rejected,
        and PluginError if the first of all is rejected because the model does not take every width.
        """
        # Draws are numbered in the order in which their trials start.
        return self._from(1 + (history[-1].trial.draw or 0) if history else 0, history)

    def first(self, count: int) -> Iterator[Proposal]:
        """Yield the first `count` proposals of a search in which no trial has ended."""
        draw = 0
        for _ in range(count):
            proposal = self._from(draw, ())
            draw = proposal.draw + 1
            yield proposal

    def _from(self, first: int, history: Sequence[TrialEntry]) -> Proposal:
        rejections: list[str] = []
        for draw, params in self._draws(first, history):
            build = self.plan.space.build_params(params)
            size = self._size(params, build)
            if isinstance(size, Size):
                return Proposal(params, build, size, draw, tuple(rejections))
            if draw == 0:
                self.plan.check_widths(build)
            rejections.append(size)
        raise BudgetError(
            f"{self.plan.cell}: {DRAWS} configurations in a row were rejected; last reason: {rejections[-1]}; "
            "change the task's parameters, the model's space or budget.tolerance"
        )

    def _draws(self, first: int, history: Sequence[TrialEntry]) -> Iterator[tuple[int, dict[str, ParamValue]]]:
        seed = derive(self.seed, "search", str(self.plan.cell))
        factory, space = self.plan.sampler, self.plan.space.dimensions
        told = () if factory.value in WITHOUT_HISTORY else self._told_trials(history)
        for number in range(first, first + DRAWS):
            draw = draw_of(space, cell_seed=seed, number=number)
            with plugin_border(f"{self.plan.cell}: sampler {factory.name!r}", factory.plugin):
                params = suggest(factory.value, draw, told)
            yield number, params

    def _told_trials(self, history: Sequence[TrialEntry]) -> Sequence[FrozenTrial]:
        """Return the trials as the sampler reads them.  Only those whose entry has changed are made again."""
        space, better = self.plan.space.dimensions, self.plan.facts.metric.better
        del self._entries[len(history) :], self._told[len(history) :]
        changed = map(operator.is_not, self._entries, history)
        for index in (*compress(count(), changed), *range(len(self._entries), len(history))):
            trial = numbered(told_trial(history[index], space, better), index)
            self._entries[index : index + 1], self._told[index : index + 1] = [history[index]], [trial]
        return self._told

    def _size(self, params: Mapping[str, ParamValue], build: Mapping[str, ParamValue]) -> Size | str:
        architecture = repr([params[name] for name in self.plan.space.architecture])
        if architecture not in self._sizes:
            try:
                self._sizes[architecture] = self.plan.size(build)
            except BudgetError as error:
                self._sizes[architecture] = str(error)
        return self._sizes[architecture]
