"""The state of one cell: its trials so far, and its next trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.api.model import Published
from harness.ledger.journal import TrialEntry
from harness.records import ParamValue, Resources, Trial, TrialResult
from harness.search.history import History
from harness.search.promotion import Decisions, decide
from harness.search.proposals import Proposer
from harness.seeds import Seeds
from harness.study.budget import Size
from harness.study.cell_plan import CellPlan


@dataclass
class CellState:
    """The plan of one cell and every trial that ever started."""

    proposer: Proposer
    study_id: str
    entries: History = field(init=False)
    again: list[str] = field(default_factory=list)
    """Keys of interrupted trials: they started, do not run and have not ended.  They are resumed before new trials."""
    alone: set[str] = field(default_factory=set)
    """Keys of trials that ran out of memory while they shared a GPU.  They are retried once with a whole GPU."""
    _continued: set[tuple[str, int]] = field(default_factory=set)
    """Key and rung of each trial that was promoted to this rung and has started there."""
    _decisions: Decisions | None = None
    """Decisions about the trials that wait at a rung; None if a trial has ended or paused since they were made."""

    def __post_init__(self) -> None:
        self.entries = History(self.plan.facts.metric.better, self.plan.facts.rungs)

    @property
    def plan(self) -> CellPlan:
        return self.proposer.plan

    @property
    def searched(self) -> Sequence[TrialEntry]:
        """The search trials so far, ended or not."""
        return self.entries.searched

    def winner(self) -> TrialEntry | None:
        """Return the best search trial so far; None if none has completed."""
        return self.entries.winner

    def search_ended(self) -> bool:
        """Return whether all search trials of the budget have ended."""
        return len(self.searched) >= self.plan.facts.trials and self.entries.open_searches == 0

    def missing_repetitions(self) -> list[int]:
        """Return the repetitions without a final trial of the current winner or the published setting.

        The list is empty while the search runs, and if the search has no winner.
        """
        best = self.winner()
        if not self.search_ended() or (best is None and self.plan.setting is None):
            return []
        started = {entry.trial.repetition for entry in self.finals()}
        return [repetition for repetition in range(self.plan.facts.repetitions) if repetition not in started]

    def finals(self) -> list[TrialEntry]:
        """Return the final trials of the current winner or the published setting.

        Final trials of an earlier winner are superseded and left out.
        """
        best = self.winner()
        return self.entries.finals(best.trial.key if best else None)

    def next_trial(self) -> Trial | None:
        """Return the next trial of this cell; None if it must wait for results or has all its trials."""
        interrupted = self._interrupted()
        if interrupted is not None:
            return self._again(interrupted)
        if len(self.searched) < self.plan.facts.trials:
            return self.search_trial(len(self.searched))
        promoted = next((key for key in self.decisions().promoted if not self._has_continued(key)), None)
        if promoted is not None:
            return self._again(promoted)
        missing = self.missing_repetitions()
        return self.final_trial(missing[0]) if missing else None

    def _again(self, key: str) -> Trial:
        """Return a trial that started before, as it starts now."""
        # The study may give other resources than when the trial started.
        until = self._until(len(self.entries[key].rungs)) if self.entries[key].trial.phase == "search" else None
        return self.entries[key].trial.model_copy(update={"resources": self.next_resources(), "until": until})

    def _until(self, rung: int) -> int | None:
        """Return the updates after which a trial pauses that trains to the rung of this index; None: at its end."""
        rungs = self.plan.facts.rungs
        return rungs[rung].updates if rung + 1 < len(rungs) else None

    def _has_continued(self, key: str) -> bool:
        return (key, len(self.entries[key].rungs)) in self._continued

    def decisions(self) -> Decisions:
        """Return which of the trials that wait at a rung train on, and which are pruned."""
        if not self.plan.facts.rungs:
            return Decisions()
        if self._decisions is None:
            self._decisions = decide(self.searched, self.plan.facts.rungs, self.plan.facts.metric.better)
        return self._decisions

    def next_resources(self) -> Resources:
        """Return the resources of the next trial."""
        resources = self.plan.resources
        return resources.model_copy(update={"gpu": 1.0}) if self._interrupted() in self.alone else resources

    def _interrupted(self) -> str | None:
        """Return the key of the first interrupted trial that is still needed."""
        return next((key for key in self.again if self._is_needed(self.entries[key].trial)), None)

    def _is_needed(self, trial: Trial) -> bool:
        """Return whether an interrupted trial is still needed: a final trial only if its winner is still the winner."""
        if trial.phase == "search":
            return True
        best = self.winner()
        return self.search_ended() and trial.winner == (best.trial.key if best else None)

    def finished(self) -> bool:
        """Return whether all search and final trials have ended."""
        ended = all(entry.result is not None for entry in self.finals())
        return ended and self.search_ended() and not self.missing_repetitions()

    def remember(self, trial: Trial) -> None:
        """Record that a trial starts, for the first time or at the rung to which it was promoted."""
        if trial.key in self.entries:
            self._continued.add((trial.key, len(self.entries[trial.key].rungs)))
        else:
            self.entries[trial.key] = TrialEntry(trial, 1)

    def pause(self, trial: Trial, result: TrialResult) -> None:
        """Record that a trial has trained to its next rung, where it waits for the decision."""
        entry = self.entries[trial.key]
        self.entries[trial.key] = replace(entry, rungs=(*entry.rungs, result))
        self._decisions = None

    def tell(self, trial: Trial, result: TrialResult) -> None:
        """Record the result of a trial."""
        self.entries[trial.key] = replace(self.entries[trial.key], trial=trial, result=result)
        self._decisions = None

    def search_trial(self, number: int) -> Trial:
        """Return the search trial of this number: the next configuration that meets the budget."""
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
            until=self._until(0),
        )

    def final_trial(self, repetition: int) -> Trial:
        """Return the trial of the published setting or the winner with the seeds of this repetition, from 0."""
        seeds = Seeds.of(self.proposer.seed, repetition + 1)
        changes: dict[str, object] = {
            "phase": "final",
            "number": self.entries.final_count,
            "seeds": seeds,
            "repetition": repetition,
        }
        if self.plan.setting is not None:
            return self._published_trial(self.plan.setting, changes)
        best = self.winner()
        assert best is not None  # `missing_repetitions` is empty without a winner
        changes |= {
            "winner": best.trial.key,
            "draw": None,
            "rejections": (),
            "until": None,
            "resources": self.plan.resources,
        }
        return best.trial.model_copy(update=changes)

    def _published_trial(self, setting: Published, given: Mapping[str, object]) -> Trial:
        params: dict[str, ParamValue] = {
            **setting.params,
            "optimizer": setting.optimisation.optimizer,
            "learning_rate": setting.optimisation.learning_rate,
            "clip": setting.optimisation.clip,
        }
        return self._trial(
            params=params,
            build=dict(setting.params),
            size=self.plan.published_size(),
            embedding=setting.embedding,
            embedding_dropout=setting.embedding_dropout,
            tied=setting.tied,
            optimisation=setting.optimisation.model_copy(update={"schedule": self.plan.schedule}),
            **given,
        )

    def _trial(self, *, size: Size, **given: object) -> Trial:
        """Return a trial of this cell.  given: the fields of `Trial` that the plan does not decide."""
        plan = self.plan
        return Trial.model_validate(
            {
                "study": self.study_id,
                "cell": plan.cell,
                "task": plan.facts.task,
                "model": plan.model.name,
                "widths": size.widths,
                "parameters": size.count.parameters,
                "embedding_parameters": size.count.embedding,
                "training": plan.training,
                "resources": plan.resources,
                "data": dict(plan.data),
                "plugins": plan.plugins,
                **given,
            }
        )
