"""A study run as a race: in rounds, until the answer is clear or the budget is used."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.analysis.cell_result import CellResult, capped, summarize_cell
from harness.execution.runner import StudyOutcome
from harness.ledger.folder import MANIFEST, write_atomically
from harness.ledger.journal import read_study
from harness.recommendation import page
from harness.recommendation.conclusions import answer, scoring_of
from harness.recommendation.race import Errors, Scoring, Step, follow
from harness.recommendation.result import ANSWER, PAGE, Recommendation, Setup
from harness.recommendation.state import Race, write_race
from harness.study.plan import Plan

Train = Callable[[Plan], StudyOutcome]
"""Begins or continues a study at the repetitions of its plan."""


@dataclass
class RaceDriver:
    """Runs the rounds of a race.  `train` does the training, under the lease, as it does that of any study."""

    race: Race
    plan: Plan
    """Of the race's study, from `granted_plan`."""
    runs: Path
    train: Train
    say: Callable[[str], None] = lambda _: None
    _begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folder = self.runs / self.plan.study.name
        self._cells = tuple(cell.cell for cell in self.plan.cells)
        self._models = tuple(cell.model for cell in self._cells)
        self._spent_before = self.race.pilot_seconds + self._trained_seconds()

    def run(self) -> Recommendation | None:
        """The answer, which is written to the folder too; None where something was set aside and is to be done."""
        while True:
            step = self.step()
            if not step.models:
                return self._answer(step)
            step = self._within_time(step)
            if step.models and not self._round(step).complete:
                return None

    def step(self) -> Step:
        """What is wanted next: a function of the ledger and of what was granted."""
        standings = self._standings()
        scores = self._validation_scores(standings)
        looks = self.race.looks
        if self.race.cut is not None:
            looks = (*(n for n in looks if n < self.race.cut), self.race.cut)
        if not scores:  # no search trial of any model completed
            return Step(looks[0], (), (), {})
        scoring = scoring_of(standings[0].facts) if standings else Scoring("lower")
        return follow(scores, scoring, looks, self._errors())

    def _errors(self) -> Errors:
        return Errors.of(self.race.confidence, looks=len(self.race.looks), models=len(self._models))

    def _round(self, step: Step) -> StudyOutcome:
        self.say(
            f"{step.repetitions} repetitions of {', '.join(step.models)}"
            + "".join(f"; {model} has lost after {n}" for model, n in step.lost.items())
        )
        return self.train(self.plan.narrowed(step.models, step.repetitions))

    def _within_time(self, step: Step) -> Step:
        """As many repetitions of the next round as the time that is left has room for; the first round has its own."""
        standings = self._standings()
        scores = self._validation_scores(standings)
        held = min(len(scores[model]) for model in step.models)
        if self.race.seconds is None or held < min(self.race.looks[0], step.repetitions):
            return step
        left = self.race.seconds - self._spent_before - (time.monotonic() - self._begun)
        cost = sum(self._seconds_of(one) for one in standings if one.facts.cell.model in step.models)
        fits = min(step.repetitions, held + max(math.floor(left * self.race.slots / max(cost, 1e-9)), 0))
        if fits == step.repetitions:
            return step
        self.race = self.race.model_copy(update={"cut": fits})
        write_race(self.folder, self.race)
        self.say(f"time is used up at {fits} repetitions")
        return Step(fits, step.models if fits > held else (), step.alive, step.lost)

    def _seconds_of(self, one: CellResult) -> float:
        """Of one repetition, from those that there are."""
        times = [entry.result.ended - entry.result.started for entry in one.finals if entry.result is not None]
        return sum(times) / len(times) if times else 0.0

    def _trained_seconds(self) -> float:
        """What earlier runs of the command took, as far as the ledger tells."""
        results = [entry.result for one in self._standings() for entry in one.entries if entry.result is not None]
        return sum(max(result.ended - result.started, result.train_seconds) for result in results) / self.race.slots

    def _standings(self) -> tuple[CellResult, ...]:
        """Of this race's models, in their order; none before anything is written."""
        if not (self.folder / MANIFEST).exists():
            return ()
        snapshot = read_study(self.folder)
        known = {facts.cell: facts for facts in snapshot.manifest.cells}
        return tuple(summarize_cell(known[cell], snapshot.entries()) for cell in self._cells if cell in known)

    def _validation_scores(self, standings: Sequence[CellResult]) -> dict[str, list[float]]:
        """Model → validation scores of the repetitions that have ended, without a gap; none of a failed search."""
        known = {one.facts.cell.model: one for one in standings}
        return {
            model: _validation(known[model]) if model in known else []
            for model in self._models
            if model not in known or known[model].state != "failed" or known[model].finals
        }

    def _answer(self, step: Step) -> Recommendation:
        standings = self._standings()
        setup = Setup(
            study=self.plan.study.name,
            study_id=read_study(self.folder).manifest.study_id,
            confidence=self.race.confidence,
            looks=len(self.race.looks),
            slots=self.race.slots,
            out_of_time=self.race.cut is not None,
        )
        levelled = [capped(one, one.facts.trials, step.repetitions) for one in standings]
        found = answer(levelled, step, setup)
        write_atomically(self.folder / ANSWER, found.model_dump_json(indent=1))
        write_atomically(self.folder / PAGE, page.page(found, self.folder))
        return found


def _validation(one: CellResult) -> list[float]:
    ended = {entry.trial.repetition or 0: entry.result for entry in one.finals if entry.result is not None}
    scores: list[float] = []
    while (result := ended.get(len(scores))) is not None:
        complete = result.outcome == "complete" and result.score is not None
        scores.append(result.score if complete and result.score is not None else math.nan)
    return scores
