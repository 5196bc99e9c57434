"""Summarise the trials of a cell; tracking and reports are both built on this summary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.analysis.statistics import Proportion, Scale, Summary, proportion, summarise
from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.records import Cell, CellFacts, Outcome, Trial

Curve = tuple[tuple[int, float], ...]
"""(update, value) pairs, in order of updates."""
Curves = Mapping[str, Mapping[str, Curve]]
"""Trial key → name of the measured quantity → its curve."""

State = Literal["complete", "partial", "failed", "incomplete"]


@dataclass(frozen=True)
class CellResult:
    """The trials of one cell and the results derived from them."""

    facts: CellFacts
    search: tuple[TrialEntry, ...]
    """Search trials, in the order in which they were asked for."""
    finals: tuple[TrialEntry, ...]
    """Final trials of the current winner, by repetition."""
    superseded: tuple[TrialEntry, ...]
    """Final trials of an earlier winner: shown, never averaged."""
    winner: TrialEntry | None
    """The search trial of the best validation score, under pruning of those that entered the last rung; None under
    protocol `paper` or if no trial has a score."""
    scale: Scale
    """The scale on which scores are averaged: the metric's, or linear if a test score of the task is not positive."""

    @property
    def entries(self) -> tuple[TrialEntry, ...]:
        return (*self.search, *self.finals, *self.superseded)

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many search trials and current final trials have each outcome."""
        return outcomes_of((*self.search, *self.finals))

    @property
    def search_ended(self) -> int:
        return sum(entry.result is not None for entry in self.search)

    @property
    def finals_ended(self) -> int:
        return sum(entry.result is not None for entry in self.finals)

    @property
    def state(self) -> State:
        """How far the cell is.

        Complete: all allocated trials have ended, and each repetition has a test score.  Failed: no trial can
        follow, and there is no score.  Partial: some repetitions have no score, so a mean over the others would
        favour a model that fails.
        """
        if self.search_ended < self.facts.trials:
            return "incomplete"
        if self.facts.trials > 0 and self.winner is None:
            return "failed"
        if self.finals_ended < self.facts.repetitions:
            return "incomplete"
        scored = len(self.scores("test"))
        if scored == 0:
            return "failed"
        return "complete" if scored >= self.facts.repetitions else "partial"

    @property
    def reason(self) -> str:
        """Why trials did not complete; '' if all are complete.

        For the search, then for the repetitions: the outcomes, most frequent first, and the first reason given.
        """
        search, finals = _incomplete(self.search), _incomplete(self.finals)
        return "; ".join([*([search] if search else []), *([f"repetitions: {finals}"] if finals else [])])

    @property
    def setting(self) -> Trial | None:
        """The trial whose configuration was measured: the winner, or the published setting."""
        if self.winner is not None:
            return self.winner.trial
        return self.finals[0].trial if self.finals else None

    @property
    def deviation_percent(self) -> float | None:
        """Deviation of the measured setting from the budget; from the task's published size if there is no budget."""
        size = self.facts.parameters if self.facts.parameters is not None else self.facts.task_parameters
        return None if self.setting is None or size is None else 100 * (self.setting.parameters / size - 1)

    @property
    def off_budget(self) -> bool:
        """Whether the measured setting deviates from the parameter budget by more than the tolerance.

        False under protocol `paper`, which keeps published widths and has no budget.
        """
        setting, facts = self.setting, self.facts
        if setting is None or facts.parameters is None or facts.tolerance is None:
            return False
        bare = setting.parameters - (setting.embedding_parameters or 0)
        return abs(setting.parameters - facts.parameters) > facts.tolerance * bare

    @property
    def best_validation(self) -> float | None:
        return None if self.winner is None or self.winner.result is None else self.winner.result.score

    @property
    def test_opened(self) -> int:
        """How often the test split was scored, superseded final trials included."""
        return sum(entry.result.test_opened for entry in (*self.finals, *self.superseded) if entry.result is not None)

    @property
    def train_seconds(self) -> float:
        """Training and evaluation time of all trials in seconds, superseded final trials included."""
        return sum(entry.result.train_seconds for entry in self.entries if entry.result is not None)

    @property
    def peak_bytes(self) -> int | None:
        """Largest peak memory of any trial in bytes; None if no trial reported it."""
        peaks = (entry.result.peak_bytes for entry in self.entries if entry.result is not None)
        return max((peak for peak in peaks if peak is not None), default=None)

    @property
    def rejections(self) -> tuple[str, ...]:
        """Why configurations were rejected before training: one reason per configuration."""
        return tuple(reason for entry in self.search for reason in entry.trial.rejections)

    def scores(self, weights: str) -> list[float]:
        """Return the finite scores of final trials, by repetition.

        weights: 'test' (best validation), or 'test-last3' (mean over the last three evaluations).
        """
        return [score for score in self.repeated(weights).values() if math.isfinite(score)]

    def repeated(self, weights: str, metric: str | None = None) -> dict[int, float]:
        """Return repetition → score of each final trial that has ended; NaN if the trial has no score.

        metric: name of a metric that the task reports; None for the cell's own.  A final trial that diverged has the
        test score of its best evaluation before that, and no score of its last three evaluations.
        """
        name = self.facts.metric.name if metric is None else metric
        scores = {
            entry.trial.repetition or 0: entry.result.metrics.get(weights, {}).get(name, math.nan)
            for entry in self.finals
            if entry.result is not None
        }
        return {repetition: score if math.isfinite(score) else math.nan for repetition, score in scores.items()}

    @property
    def success(self) -> Proportion | None:
        """Success rate of the repetitions that have ended; None before the first has ended.

        A repetition succeeds if its test score is better than the floor by more than the task's margin.  If the floor
        is unknown, any finite score is a success.
        """
        scores = self.repeated("test")
        return proportion(sum(map(self.succeeds, scores.values())), len(scores)) if scores else None

    def succeeds(self, score: float) -> bool:
        """Return whether a test score is better than the floor by more than the task's margin."""
        metric, floor = self.facts.metric, self.facts.floor
        if floor is None or not math.isfinite(score):
            return math.isfinite(score)
        if metric.scale == "log" and floor > 0:
            bound = floor * math.exp(-metric.margin if metric.better == "lower" else metric.margin)
        else:
            bound = floor + (-metric.margin if metric.better == "lower" else metric.margin)
        return score < bound if metric.better == "lower" else score > bound

    @property
    def mixed(self) -> bool:
        """Whether some repetitions succeed and some do not.

        A mean over both groups describes neither, and there are too few runs of either for an interval.
        """
        success = self.success
        return success is not None and 0 < success.happened < success.n

    def summary(self, weights: str) -> Summary | None:
        """Summarise the repetitions with a score; None if there are none.

        The mean has no interval if the repetitions are `mixed`.
        """
        scores = self.scores(weights)
        summary = summarise(scores, self.scale) if scores else None
        return replace(summary, interval=None) if summary is not None and self.mixed else summary

    @property
    def successes(self) -> Summary | None:
        """Summary of the test scores of successful repetitions; None unless the repetitions are `mixed`."""
        scores = [score for score in self.scores("test") if self.succeeds(score)]
        return summarise(scores, self.scale) if self.mixed else None


def outcomes_of(entries: Iterable[TrialEntry]) -> Counter[Outcome]:
    """Count the outcomes of the trials that have ended."""
    return Counter(entry.result.outcome for entry in entries if entry.result is not None)


def _incomplete(entries: Sequence[TrialEntry]) -> str:
    outcomes = outcomes_of(entries)
    del outcomes["complete"], outcomes["pruned"]
    if not outcomes:
        return ""
    results = [entry.result for entry in entries if entry.result is not None and entry.result.outcome in outcomes]
    reasons = [result.reason for result in results if result.reason]
    return ": ".join([", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common()), *reasons[:1]])


def summarize_cells(cells: Iterable[CellFacts], entries: Iterable[TrialEntry]) -> tuple[CellResult, ...]:
    """Return the result of each cell, averaged on one scale per task.

    entries: trials of any cells.
    """
    own: dict[Cell, list[TrialEntry]] = {}
    for entry in entries:
        own.setdefault(entry.trial.cell, []).append(entry)
    return on_one_scale([summarize_cell(facts, own.get(facts.cell, ())) for facts in cells])


def on_one_scale(results: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """Give all cells of a task the same scale: linear if one of them has it.

    An arithmetic mean and a geometric mean are not comparable.
    """
    cells = tuple(results)
    linear = {cell.facts.cell.task for cell in cells if cell.scale == "linear"}
    return tuple(replace(cell, scale="linear") if cell.facts.cell.task in linear else cell for cell in cells)


def summarize_cell(facts: CellFacts, entries: Iterable[TrialEntry]) -> CellResult:
    """Return the result of one cell.

    entries: trials of any cells.  The scale depends on this cell alone; `summarize_cells` unifies it per task.
    """
    own = [entry for entry in entries if entry.trial.cell == facts.cell]
    search = tuple(entry for entry in own if entry.trial.phase == "search")
    best = winner(search, facts.metric.better, facts.rungs)
    key = best.trial.key if best is not None else None
    finals = [entry for entry in own if entry.trial.phase == "final"]
    current = [entry for entry in finals if entry.trial.winner == key]
    result = CellResult(
        facts=facts,
        search=search,
        finals=tuple(sorted(current, key=lambda entry: (entry.trial.repetition or 0, entry.trial.number))),
        superseded=tuple(entry for entry in finals if entry.trial.winner != key),
        winner=best,
        scale=facts.metric.scale,
    )
    positive = all(score > 0 for weights in ("test", "test-last3") for score in result.scores(weights))
    return result if positive else replace(result, scale="linear")


def capped(result: CellResult, trials: int, repetitions: int) -> CellResult:
    """Return the result that the cell would have with this budget.

    Repetitions of an earlier winner count again if it wins under this budget.
    """
    facts = result.facts.model_copy(
        update={"trials": min(result.facts.trials, trials), "repetitions": min(result.facts.repetitions, repetitions)}
    )
    kept = [
        entry
        for entry in result.entries
        if (
            entry.trial.number < trials
            if entry.trial.phase == "search"
            else (entry.trial.repetition or 0) < repetitions
        )
    ]
    return summarize_cell(facts, kept)
