"""The search of one cell: its trials so far and the next one."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.records import ParamValue, Resources, Trial
from harness.search.proposals import Proposer
from harness.seeds import Seeds
from harness.study.budget import Size
from harness.study.cell_plan import CellPlan


@dataclass
class CellState:
    """What is known of one cell: its plan and every trial that ever started."""

    proposer: Proposer
    study_id: str
    entries: dict[str, TrialEntry] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    """Keys of trials that started, do not run and have not ended: they go first."""
    alone: set[str] = field(default_factory=set)
    """Keys of those that ran out of memory beside others on a GPU: they get it for themselves, once."""

    @property
    def plan(self) -> CellPlan:
        return self.proposer.plan

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
            return self.entries[due].trial.model_copy(update={"resources": self.next_resources()})
        if len(self.searched) < self.plan.facts.trials:
            return self.search_trial(len(self.searched))
        missing = self.missing_repetitions()
        return self.final_trial(missing[0]) if missing else None

    def next_resources(self) -> Resources:
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
        """The trial of this number: the next configuration that meets the budget."""
        proposal = self.proposer.propose(self.searched)
        return self._trial(
            phase="search",
            number=number,
            params=proposal.params,
            build=proposal.build,
            size=proposal.size,
            optimisation=self.plan.space.optimisation(proposal.params, self.plan.schedule),
            seeds=Seeds.of(self.proposer.seed, 0),
            draw=proposal.draw,
            rejections=proposal.rejections,
        )

    def final_trial(self, repetition: int) -> Trial:
        """The cell's setting again, with the seeds of this repetition."""
        number = sum(entry.trial.phase == "final" for entry in self.entries.values())
        seeds = Seeds.of(self.proposer.seed, repetition + 1)
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
                embedding_dropout=setting.embedding_dropout,
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
