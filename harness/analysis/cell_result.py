"""The result of a cell: a summary of its trials, on which tracking and report are based."""

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
"""(update, value), in order of updates."""
Curves = Mapping[str, Mapping[str, Curve]]
"""Key of a trial → name of what was measured → its curve."""

State = Literal["complete", "partial", "failed", "incomplete"]


@dataclass(frozen=True)
class CellResult:
    """The result of one cell so far."""

    facts: CellFacts
    search: tuple[TrialEntry, ...]
    """Search trials in the order of their start."""
    finals: tuple[TrialEntry, ...]
    """Final trials of the present winner, by repetition."""
    superseded: tuple[TrialEntry, ...]
    """Finals of an earlier winner: shown, never averaged."""
    winner: TrialEntry | None
    """The search trial of the best validation score; None under protocol `paper`."""
    scale: Scale
    """Scale on which its scores are averaged: the metric's, or linear if a test score of its task is not positive."""

    @property
    def entries(self) -> tuple[TrialEntry, ...]:
        return (*self.search, *self.finals, *self.superseded)

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Outcomes of search trials and the present finals."""
        return outcomes_of((*self.search, *self.finals))

    @property
    def search_ended(self) -> int:
        return sum(entry.result is not None for entry in self.search)

    @property
    def finals_ended(self) -> int:
        return sum(entry.result is not None for entry in self.finals)

    @property
    def granted(self) -> int:
        return self.facts.trials + self.facts.repetitions

    @property
    def state(self) -> State:
        """State of the cell.

        complete: all allocated trials have ended, and each repetition has a test score. failed: no trial can follow and
        there is no score. partial: some repetitions have no score, so a mean over the others would favour a model that
        fails.
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
        """Outcomes other than complete, of the search and then of the repetitions: most frequent first, with the reason
        of the first one; '' if all are complete.
        """
        search, finals = _lost(self.search), _lost(self.finals)
        return "; ".join([*([search] if search else []), *([f"repetitions: {finals}"] if finals else [])])

    @property
    def setting(self) -> Trial | None:
        """The setting that was measured: the winner's, or the published one."""
        if self.winner is not None:
            return self.winner.trial
        return self.finals[0].trial if self.finals else None

    @property
    def best_validation(self) -> float | None:
        return None if self.winner is None or self.winner.result is None else self.winner.result.score

    @property
    def test_opened(self) -> int:
        """How often the test split was scored, superseded finals included."""
        return sum(entry.result.test_opened for entry in (*self.finals, *self.superseded) if entry.result is not None)

    @property
    def train_seconds(self) -> float:
        """Training and evaluation of all trials, superseded finals included."""
        return sum(entry.result.train_seconds for entry in self.entries if entry.result is not None)

    @property
    def peak_bytes(self) -> int | None:
        """Largest peak memory of any trial; None if none was reported."""
        peaks = (entry.result.peak_bytes for entry in self.entries if entry.result is not None)
        return max((peak for peak in peaks if peak is not None), default=None)

    @property
    def rejections(self) -> tuple[str, ...]:
        """Reasons for which draws of the search were rejected before training, one per draw."""
        return tuple(reason for entry in self.search for reason in entry.trial.rejections)

    def scores(self, weights: str) -> list[float]:
        """The cell's metric of finals that have a score, by repetition; `weights`: 'test' or 'test-last3'."""
        return [score for score in self.repeated(weights).values() if math.isfinite(score)]

    def repeated(self, weights: str, metric: str | None = None) -> dict[int, float]:
        """Return repetition → score of each final that has ended, NaN without a score.

        A final that diverged has the test score of its best evaluation before, and none of its last three.

        metric: the cell's own where None, else another that the task reports.
        """
        name = self.facts.metric.name if metric is None else metric
        found = {
            entry.trial.repetition or 0: entry.result.metrics.get(weights, {}).get(name, math.nan)
            for entry in self.finals
            if entry.result is not None
        }
        return {repetition: score if math.isfinite(score) else math.nan for repetition, score in found.items()}

    @property
    def success(self) -> Proportion | None:
        """Proportion of ended repetitions whose test score is better than the floor by more than the task's margin;
        without a known floor, of those with a score. None before the first one has ended.
        """
        scores = self.repeated("test")
        return proportion(sum(map(self._succeeds, scores.values())), len(scores)) if scores else None

    def _succeeds(self, score: float) -> bool:
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
        """Whether runs split into successes and failures. A mean of both is not meaningful, and so few of either give
        no interval.
        """
        success = self.success
        return success is not None and 0 < success.happened < success.n

    def summary(self, weights: str) -> Summary | None:
        """Return the summary of repetitions with a score; without an interval of the mean if runs are mixed."""
        scores = self.scores(weights)
        found = summarise(scores, self.scale) if scores else None
        return replace(found, interval=None) if found is not None and self.mixed else found

    @property
    def successes(self) -> Summary | None:
        """Summary of the test scores of successful repetitions, if runs are mixed: conditional on success."""
        scores = [score for score in self.scores("test") if self._succeeds(score)]
        return summarise(scores, self.scale) if self.mixed else None


def outcomes_of(entries: Iterable[TrialEntry]) -> Counter[Outcome]:
    """Return how many of the ended trials have each outcome."""
    return Counter(entry.result.outcome for entry in entries if entry.result is not None)


def _lost(entries: Sequence[TrialEntry]) -> str:
    outcomes = outcomes_of(entries)
    del outcomes["complete"]
    if not outcomes:
        return ""
    lost = [entry.result for entry in entries if entry.result is not None and entry.result.outcome != "complete"]
    said = [result.reason for result in lost if result.reason]
    return ": ".join([", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common()), *said[:1]])


def summarize_cells(cells: Iterable[CellFacts], entries: Iterable[TrialEntry]) -> tuple[CellResult, ...]:
    """Return the results of cells, given the trials of any cells."""
    own: dict[Cell, list[TrialEntry]] = {}
    for entry in entries:
        own.setdefault(entry.trial.cell, []).append(entry)
    return on_one_scale([summarize_cell(facts, own.get(facts.cell, ())) for facts in cells])


def on_one_scale(standings: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """Return the results with one scale per task: if one cell cannot be averaged on a log scale, none of its task
    is.
    """
    found = tuple(standings)
    linear = {one.facts.cell.task for one in found if one.scale == "linear"}
    return tuple(replace(one, scale="linear") if one.facts.cell.task in linear else one for one in found)


def summarize_cell(facts: CellFacts, entries: Iterable[TrialEntry]) -> CellResult:
    """Return the result of a cell, given the trials of any cells, on a scale of its own: see `summarize_cells`."""
    own = [entry for entry in entries if entry.trial.cell == facts.cell]
    search = tuple(entry for entry in own if entry.trial.phase == "search")
    best = winner(search, facts.metric.better)
    key = best.trial.key if best is not None else None
    finals = [entry for entry in own if entry.trial.phase == "final"]
    present = [entry for entry in finals if entry.trial.winner == key]
    alone = CellResult(
        facts=facts,
        search=search,
        finals=tuple(sorted(present, key=lambda entry: (entry.trial.repetition or 0, entry.trial.number))),
        superseded=tuple(entry for entry in finals if entry.trial.winner != key),
        winner=best,
        scale=facts.metric.scale,
    )
    positive = all(score > 0 for weights in ("test", "test-last3") for score in alone.scores(weights))
    return alone if positive else replace(alone, scale="linear")


def capped(one: CellResult, trials: int, repetitions: int) -> CellResult:
    """Return the result of a cell as if it had been allocated no more than this. Repetitions of an earlier winner count
    again if it would have won.
    """
    facts = one.facts.model_copy(
        update={"trials": min(one.facts.trials, trials), "repetitions": min(one.facts.repetitions, repetitions)}
    )
    kept = [
        entry
        for entry in one.entries
        if (
            entry.trial.number < trials
            if entry.trial.phase == "search"
            else (entry.trial.repetition or 0) < repetitions
        )
    ]
    return summarize_cell(facts, kept)
