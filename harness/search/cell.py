"""The search of one cell: its trials so far and the next one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.errors import BudgetError
from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.records import ParamValue, Resources, Trial
from harness.search.samplers import SamplerName, suggest
from harness.seeds import Seeds, derive
from harness.study.budget import Size
from harness.study.cell_plan import CellPlan

DRAWS = 1000
"""Rejected draws in a row after which a cell's budget counts as impossible."""


@dataclass
class CellState:
    """What is known of one cell: its plan and every trial that was ever dealt for it."""

    plan: CellPlan
    study_id: str
    seed: int
    """The study's."""
    sampler: SamplerName
    entries: dict[str, TrialEntry] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    """Keys of trials that were dealt and neither run nor ended: they go first."""
    alone: set[str] = field(default_factory=set)
    """Keys of those that ran out of memory beside others on a GPU: they get it for themselves, once."""
    _sizes: dict[str, Size | str] = field(default_factory=dict)
    """Architecture → its size, or why it has none."""

    @property
    def searched(self) -> list[TrialEntry]:
        return [entry for entry in self.entries.values() if entry.trial.phase == "search"]

    def winner(self) -> TrialEntry | None:
        return winner(self.entries.values(), self.plan.facts.metric.better)

    def search_ended(self) -> bool:
        searched = self.searched
        return len(searched) >= self.plan.facts.trials and all(entry.result is not None for entry in searched)

    def missing_repetitions(self) -> list[int]:
        """Repetitions that the cell's present setting has no final trial for."""
        best = self.winner()
        if not self.search_ended() or (best is None and self.plan.setting is None):
            return []
        dealt = {entry.trial.repetition for entry in self.finals()}
        return [repetition for repetition in range(self.plan.facts.repetitions) if repetition not in dealt]

    def finals(self) -> list[TrialEntry]:
        """Final trials of the present winner or the published setting; those of an earlier winner are superseded."""
        best = self.winner()
        key = best.trial.key if best else None
        return [entry for entry in self.entries.values() if entry.trial.phase == "final" and entry.trial.winner == key]

    def next_trial(self) -> Trial | None:
        """The trial this cell would have next; None where it must wait or has all."""
        due = self._due()
        if due is not None:
            # What a trial occupies may differ from when it was first dealt.
            return self.entries[due].trial.model_copy(update={"resources": self.wants()})
        if len(self.searched) < self.plan.facts.trials:
            return self.search_trial(len(self.searched))
        missing = self.missing_repetitions()
        return self.final_trial(missing[0]) if missing else None

    def wants(self) -> Resources:
        """What the next trial occupies."""
        wanted = self.plan.resources
        return wanted.model_copy(update={"gpu": 1.0}) if self._due() in self.alone else wanted

    def _due(self) -> str | None:
        return next((key for key in self.again if self._is_due(self.entries[key].trial)), None)

    def _is_due(self, trial: Trial) -> bool:
        """Whether an interrupted trial is still wanted: a final one only of a winner that stands."""
        best = self.winner()
        stands = self.search_ended() and trial.winner == (best.trial.key if best else None)
        return trial.phase == "search" or stands

    def finished(self) -> bool:
        ended = all(entry.result is not None for entry in self.finals())
        return ended and self.search_ended() and not self.missing_repetitions()

    def remember(self, trial: Trial) -> None:
        """It was dealt for the first time."""
        self.entries[trial.key] = TrialEntry(trial, 1)

    def search_trial(self, number: int) -> Trial:
        """The trial of this number: the first draw, after those of the trial before, that the budget admits."""
        plan = self.plan
        history = self.searched
        first = 1 + max((entry.trial.draw or 0 for entry in history), default=-1)
        rejections: list[str] = []
        for draw, params in self._draws(first, history):
            build = plan.space.build_params(params)
            size = self._size(params, build)
            if isinstance(size, str):
                rejections.append(size)
                continue
            return self._trial(
                phase="search",
                number=number,
                params=params,
                build=build,
                size=size,
                optimisation=plan.space.optimisation(params, plan.schedule),
                seeds=Seeds.of(self.seed, 0),
                draw=draw,
                rejections=tuple(rejections),
            )
        raise BudgetError(
            f"{plan.cell}: {DRAWS} configurations in a row were rejected, the last with: {rejections[-1]}; "
            "change the task's parameters, the model's space or budget.tolerance"
        )

    def _size(self, params: Mapping[str, ParamValue], build: Mapping[str, ParamValue]) -> Size | str:
        """The solved size, or why there is none.

        Solved once an architecture, since dropout alters no count: a slot waits while the next trial is being made.
        """
        architecture = repr([params[name] for name in self.plan.space.architecture])
        if architecture not in self._sizes:
            try:
                self._sizes[architecture] = self.plan.size(build)
            except BudgetError as error:
                self._sizes[architecture] = str(error)
        return self._sizes[architecture]

    def _draws(self, first: int, history: Sequence[TrialEntry]) -> Iterator[tuple[int, dict[str, ParamValue]]]:
        dimensions = self.plan.space.dimensions
        seed = derive(self.seed, "search", str(self.plan.cell))
        told = [_lower_is_better(entry, self.plan.facts.metric.better) for entry in history]
        for draw in range(first, first + DRAWS):
            yield draw, suggest(self.sampler, dimensions, seed=seed, draw=draw, history=told)

    def final_trial(self, repetition: int) -> Trial:
        """The cell's setting again, with the seeds of this repetition."""
        number = sum(entry.trial.phase == "final" for entry in self.entries.values())
        seeds = Seeds.of(self.seed, repetition + 1)
        setting, best = self.plan.setting, self.winner()
        if setting is not None:
            params: dict[str, ParamValue] = {
                **setting.params,
                "optimizer": setting.optimisation.optimizer,
                "learning_rate": setting.optimisation.learning_rate,
                "clip": setting.optimisation.clip,
            }
            return self._trial(
                phase="final",
                number=number,
                params=params,
                build=dict(setting.params),
                size=self.plan.published_size(),
                embedding=setting.embedding,
                tied=setting.tied,
                optimisation=setting.optimisation.model_copy(update={"schedule": self.plan.schedule}),
                seeds=seeds,
                repetition=repetition,
            )
        assert best is not None  # `missing_repetitions` is empty without a winner
        again = {"phase": "final", "number": number, "seeds": seeds, "repetition": repetition, "winner": best.trial.key}
        return best.trial.model_copy(update={**again, "draw": None, "rejections": (), "resources": self.plan.resources})

    def _trial(self, *, size: Size, **given: object) -> Trial:
        plan = self.plan
        return Trial.model_validate(
            {
                "study": self.study_id,
                "cell": plan.cell,
                "task": plan.facts.task,
                "model": plan.model.name,
                "widths": size.widths,
                "parameters": size.count.parameters,
                "training": plan.training,
                "resources": plan.resources,
                "data": dict(plan.data),
                "plugins": plan.plugins,
                **given,
            }
        )


def _lower_is_better(entry: TrialEntry, better: Literal["lower", "higher"]) -> TrialEntry:
    if better == "lower" or entry.result is None or entry.result.score is None:
        return entry
    return TrialEntry(entry.trial, entry.attempt, (), entry.result.model_copy(update={"score": -entry.result.score}))
