"""Compare models in rounds, and stop when the result is statistically clear or the budget is used up."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.analysis.cell_result import CellResult, capped, summarize_cell
from harness.execution.runner import StudyOutcome
from harness.ledger.folder import MANIFEST, write_atomically
from harness.ledger.journal import read_study
from harness.recommendation import page
from harness.recommendation.conclusions import answer, scoring_of_test, scoring_of_validation
from harness.recommendation.gains import Scoring
from harness.recommendation.pairwise import ErrorBudget
from harness.recommendation.race import Step, follow
from harness.recommendation.result import ANSWER, PAGE, Recommendation, Setup
from harness.recommendation.state import Race, write_race
from harness.study.plan import Plan

Train = Callable[[Plan], StudyOutcome]
"""Starts or resumes a study at the repetitions of its plan."""


@dataclass
class RaceDriver:
    """Runs the rounds of a race.  `train` trains a plan, as for any study; the caller holds the lease of its folder."""

    race: Race
    plan: Plan
    """The plan of the race's study, from `race_plan`."""
    runs: Path
    train: Train
    say: Callable[[str], None] = lambda _: None
    """Receives progress messages of one line."""
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folder = self.runs / self.plan.study.name
        postponed = {each.model for each in self.race.postponed}
        self._cells = tuple(cell.cell for cell in self.plan.cells if cell.cell.model not in postponed)
        self._models = tuple(cell.model for cell in self._cells)
        self._used_before_seconds = self.race.pilot_seconds + self._trained_seconds()

    def run(self) -> Recommendation | None:
        """Return the recommendation and write it to the folder; None if trials were postponed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_race(self.folder, self.race)
        while True:
            step = self.step()
            if not step.models:
                return self._answer(step)
            step = self._within_time(step)
            if step.models and not self._round(step).complete:
                return None

    def step(self) -> Step:
        """Return the models and repetitions to train next.  They depend on the ledger and the race alone."""
        results = self._cell_results()
        validation, test = self._scores(results, "validation"), self._scores(results, "test")
        if not validation:  # no search trial of any model completed
            return Step(self.race.looks[0], (), (), {})
        on_validation = scoring_of_validation(results[0].facts) if results else Scoring("lower")
        on_test = scoring_of_test(results) if results else Scoring("lower")
        return follow(validation, test, self._error_budget(), on_validation=on_validation, on_test=on_test)

    def _error_budget(self) -> ErrorBudget:
        # Postponed models count from the start: they may join a resumed race, and no error may be spent twice.
        return ErrorBudget.of(self.race.confidence, looks=self._looks(), models=len(self.plan.cells))

    def _looks(self) -> tuple[int, ...]:
        cut = self.race.cut
        return self.race.looks if cut is None else (*(n for n in self.race.looks if n < cut), cut)

    def _round(self, step: Step) -> StudyOutcome:
        self.say(
            f"{step.repetitions} repetitions of {', '.join(step.models)}"
            + "".join(f"; {model} was dropped after {n}" for model, n in step.lost.items())
            + self._interim()
        )
        return self.train(self.plan.narrowed(step.models, step.repetitions))

    def _interim(self) -> str:
        """Return who leads so far, by the mean validation score of the repetitions; '' before there are any."""
        results = self._cell_results()
        scores = {model: values for model, values in self._scores(results, "validation").items() if values}
        means = {model: statistics.fmean(values) for model, values in scores.items()}
        finite = {model: mean for model, mean in means.items() if math.isfinite(mean)}
        if not finite:
            return ""
        metric = results[0].facts.metric
        best = (min if metric.better == "lower" else max)(finite, key=lambda model: finite[model])
        return f"; so far {best} leads with a mean validation {metric.name} of {finite[best]:.4g}"

    def _within_time(self, step: Step) -> Step:
        """Return the step with as many repetitions as fit into the remaining time.  The first round is never cut."""
        results = self._cell_results()
        scores = self._scores(results, "validation")
        done = min(len(scores[model]) for model in step.models)
        if self.race.seconds is None or done < min(self.race.looks[0], step.repetitions):
            return step
        remaining = self.race.seconds - self._used_before_seconds - (time.monotonic() - self._started)
        cost = sum(_repetition_seconds(result) for result in results if result.facts.cell.model in step.models)
        fitting = min(step.repetitions, done + max(math.floor(remaining * self.race.slots / max(cost, 1e-9)), 0))
        if fitting == step.repetitions:
            return step
        self.race = self.race.model_copy(update={"cut": fitting})
        write_race(self.folder, self.race)
        self.say(f"the time budget is used up after {fitting} repetitions")
        return Step(fitting, step.models if fitting > done else (), step.alive, step.lost)

    def _trained_seconds(self) -> float:
        """Return the time that earlier runs of the command used, in seconds, as far as the ledger has it."""
        trials = [trial.result for cell in self._cell_results() for trial in cell.entries if trial.result is not None]
        return sum(max(trial.ended - trial.started, trial.train_seconds) for trial in trials) / self.race.slots

    def _cell_results(self) -> tuple[CellResult, ...]:
        """Return the results of this race's cells, in their order; none before the study has a manifest."""
        if not (self.folder / MANIFEST).exists():
            return ()
        snapshot = read_study(self.folder)
        known = {facts.cell: facts for facts in snapshot.manifest.cells}
        return tuple(summarize_cell(known[cell], snapshot.entries()) for cell in self._cells if cell in known)

    def _scores(self, results: Sequence[CellResult], split: Literal["validation", "test"]) -> dict[str, list[float]]:
        """Return model → scores of its first repetitions, up to the first that has not ended.

        Models whose search failed are left out.
        """
        known = {result.facts.cell.model: result for result in results}
        return {
            model: _scores_of(known[model], split) if model in known else []
            for model in self._models
            if model not in known or known[model].state != "failed" or known[model].finals
        }

    def _answer(self, step: Step) -> Recommendation:
        if not set(step.reads) <= set(self.race.test_reads):
            reads = tuple(sorted({*self.race.test_reads, *step.reads}))
            self.race = self.race.model_copy(update={"test_reads": reads})
            write_race(self.folder, self.race)
        looks, asked = self._looks(), self.race.asked_repetitions
        # The time may have been too short for the requested repetitions from the start.
        short = looks[-1] < asked and step.repetitions == looks[-1]
        setup = Setup(
            study=self.plan.study.name,
            study_id=read_study(self.folder).manifest.study_id,
            confidence=self.race.confidence,
            looks=looks,
            test_reads=self.race.test_reads,
            slots=self.race.slots,
            out_of_time=self.race.cut is not None or short,
            asked_repetitions=asked,
            postponed=self.race.postponed,
        )
        results = [capped(result, result.facts.trials, step.repetitions) for result in self._cell_results()]
        recommendation = answer(results, step, setup)
        write_atomically(self.folder / ANSWER, recommendation.model_dump_json(indent=1))
        write_atomically(self.folder / PAGE, page.page(recommendation, self.folder))
        return recommendation


def _repetition_seconds(cell: CellResult) -> float:
    """Return the mean time of the cell's repetitions so far, in seconds; 0 if there is none."""
    times = [entry.result.ended - entry.result.started for entry in cell.finals if entry.result is not None]
    return sum(times) / len(times) if times else 0.0


def _scores_of(cell: CellResult, split: Literal["validation", "test"]) -> list[float]:
    """Return the scores of the first repetitions that have ended; nan for a repetition without a score."""
    ended = {entry.trial.repetition or 0: entry.result for entry in cell.finals if entry.result is not None}
    scores: list[float] = []
    while (result := ended.get(len(scores))) is not None:
        score = result.score if split == "validation" else result.metrics.get("test", {}).get(cell.facts.metric.name)
        scores.append(math.nan if score is None else score)
    return scores
