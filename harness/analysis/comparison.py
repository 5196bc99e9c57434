"""Compare the models of each task: scores on the common budget, ranks and paired decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, combinations

from harness.analysis.budget_audit import BudgetUse, ComparableCells, budget_use, equalize_budgets
from harness.analysis.cell_result import CellResult
from harness.analysis.comparison_row import Row, make_row
from harness.analysis.efficiency import TradeOffs, halfway, trade_offs
from harness.analysis.paired_tests import Decision, correct, decide
from harness.analysis.reproduction import Reproduction, reproduction
from harness.analysis.statistics import Scale
from harness.analysis.stored_study import StoredStudy
from harness.analysis.tuning_curves import Crossing, TuningCurve, crossings, tuning_curve
from harness.halving import Rung, rung_of
from harness.ledger.journal import TrialEntry
from harness.records import MetricFacts, TaskRef


@dataclass(frozen=True)
class Pair:
    """The decision between two models of one task, from repetitions that share data, order and test set."""

    first: str
    second: str
    decision: Decision


@dataclass(frozen=True)
class Section:
    """The comparison of one task."""

    task: str
    ref: TaskRef
    metric: MetricFacts
    floor: float | None
    parameters: int | None
    """The parameter budget; None if models keep their published widths."""
    task_parameters: int | None
    """The published number of parameters for the task."""
    fixed: Mapping[str, Sequence[int]]
    """Name → numbers that the task drew from the `fixed` seed."""
    rows: tuple[Row, ...]
    results: tuple[CellResult, ...]
    """Results on the common budget, by row."""
    pairs: tuple[Pair, ...]
    """Decisions between cells that are complete, or lack nothing but scores."""
    tuning: Mapping[str, TuningCurve]
    """Model → tuning curve; the best score so far if the sampler depends on earlier trials, or under pruning."""
    crossings: tuple[Crossing, ...]
    budget_use: tuple[BudgetUse, ...]
    reproductions: tuple[Reproduction, ...]
    trade_offs: tuple[TradeOffs, ...]
    threshold: float | None
    """Validation score used by `trade_offs`: halfway from the floor to the best."""

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The rungs of successive halving, the same for every searched model; empty without pruning."""
        return next((result.facts.rungs for result in self.results if result.facts.rungs), ())

    @property
    def nothing_learned(self) -> bool:
        """Whether no repetition of any ranked model is better than the floor by more than the margin."""
        ranked = [row for row in self.rows if row.rank is not None]
        known = self.floor is not None and bool(ranked)
        return known and all(row.success is not None and row.success.happened == 0 for row in ranked)

    @property
    def scale(self) -> Scale:
        """The scale on which test scores are averaged."""
        return self.results[0].scale


def compare(stored: StoredStudy) -> tuple[Section, ...]:
    """Return one section per task, in the order of the study."""
    tasks = dict.fromkeys(facts.cell.task for facts in stored.cells)
    return tuple(_section(stored, task) for task in tasks)


def _section(stored: StoredStudy, task: str) -> Section:
    protocol = stored.manifest.protocol
    original = [result for result in stored.results if result.facts.cell.task == task]
    comparable = equalize_budgets(original, protocol, race=stored.manifest.race)
    results, facts = comparable.results, original[0].facts
    rows = _rows(stored, comparable)
    pairs = _pairs(rows, results)
    tuning = _tuning(rows, results, one_search=_is_one_search(stored, results))
    threshold = halfway(results)
    verdicts = [reproduction(result, protocol) for result, row in zip(results, rows, strict=True) if row.complete]
    return Section(
        task=task,
        ref=facts.task,
        metric=facts.metric,
        floor=facts.floor,
        parameters=facts.parameters,
        task_parameters=facts.task_parameters,
        fixed=stored.manifest.fixed.get(task, {}),
        rows=_ranked(rows, facts.metric, pairs),
        results=results,
        pairs=pairs,
        tuning=tuning,
        crossings=crossings(tuning, facts.metric.better) if not _is_one_search(stored, results) else (),
        budget_use=tuple(budget_use(result) for result in original),
        reproductions=tuple(verdict for verdict in verdicts if verdict is not None),
        trade_offs=tuple(trade_offs(result, stored.curves, threshold) for result in results),
        threshold=threshold,
    )


def _rows(stored: StoredStudy, comparable: ComparableCells) -> list[Row]:
    return [
        replace(
            make_row(result, stored.lacking(result.facts.cell)),
            capped=comparable.capped.get(result.facts.cell, ""),
            refused=comparable.refused.get(result.facts.cell, ""),
            race=stored.manifest.race,
        )
        for result in comparable.results
    ]


def _pairs(rows: Sequence[Row], results: Sequence[CellResult]) -> tuple[Pair, ...]:
    """Decide between every two searched cells that have ended, are in sync with the ledger and are comparable.

    The verdicts share the error of the task (`correct`).  A repetition without a score loses its pair.  A race has no
    pairs here: which repetitions it has depends on the
    scores, and its own conclusion accounts for that error.
    """
    able = [
        (row.model, result)
        for row, result in zip(rows, results, strict=True)
        if row.setting == "searched" and row.state in ("complete", "partial") and row.lacking == 0
        and row.comparable and not row.race
    ]  # fmt: skip
    combined = list(combinations(able, 2))
    decisions = correct([decide_cells(first, second) for (_, first), (_, second) in combined])
    return tuple(
        Pair(first, second, decision) for ((first, _), (second, _)), decision in zip(combined, decisions, strict=True)
    )


def decide_cells(first: CellResult, second: CellResult) -> Decision:
    """Decide between two cells of one task from their test scores, paired by repetition."""
    first_scores, second_scores = first.repeated("test"), second.repeated("test")
    shared = sorted(first_scores.keys() & second_scores.keys())
    metric = first.facts.metric
    return decide(
        [first_scores[repetition] for repetition in shared],
        [second_scores[repetition] for repetition in shared],
        better=metric.better,
        margin=metric.margin,
        scale=None if first.mixed or second.mixed else metric.scale,
    )


def _is_one_search(stored: StoredStudy, results: Sequence[CellResult]) -> bool:
    """Return whether trials are no independent draws, so that a tuning curve shows one search and no expectation."""
    return stored.manifest.sampler != "random" or any(result.facts.rungs for result in results)


def _tuning(rows: Sequence[Row], results: Sequence[CellResult], *, one_search: bool) -> dict[str, TuningCurve]:
    searched = {
        row.model: result
        for row, result in zip(rows, results, strict=True)
        if row.setting == "searched" and row.search_ended and result.winner is not None and not row.refused
    }
    if not searched:
        return {}
    metric = results[0].facts.metric
    substitute = _substitute_score(list(searched.values()))
    scores = {model: [_score(entry, substitute) for entry in _as_ended(result)] for model, result in searched.items()}
    if one_search:
        best = min if metric.better == "lower" else max
        so_far = {model: tuple(accumulate(own, best)) for model, own in scores.items()}
        used = {model: _updates_used(searched[model]) for model in so_far}
        return {model: TuningCurve(curve, curve, curve, updates=used[model]) for model, curve in so_far.items()}
    positive = all(score > 0 for own in scores.values() for score in own)
    scale: Scale = metric.scale if positive else "linear"
    return {model: tuning_curve(own, metric.better, scale) for model, own in scores.items()}


def _as_ended(result: CellResult) -> list[TrialEntry]:
    """Return the search trials that have ended: by number, under pruning by rung first."""
    rungs = result.facts.rungs
    ended = [(entry.result.updates, entry) for entry in result.search if entry.result is not None]
    if rungs:
        ended.sort(key=lambda pair: rung_of(pair[0], rungs))  # a stable sort keeps the order of numbers
    return [entry for _, entry in ended]


def _updates_used(result: CellResult) -> tuple[int, ...]:
    """Return the updates of the first k trials together, for every k; empty without pruning."""
    if not result.facts.rungs:
        return ()
    return tuple(accumulate(entry.result.updates for entry in _as_ended(result) if entry.result is not None))


def _score(entry: TrialEntry, otherwise: float) -> float:
    score = entry.result.score if entry.result is not None else None
    return score if score is not None and math.isfinite(score) else otherwise


def _substitute_score(results: Sequence[CellResult]) -> float:
    """Return the score that a trial without a score counts as in a tuning curve.

    This is the floor, or the task's worst score if that is worse or the floor is unknown.
    """
    facts = results[0].facts
    known = [score for result in results for entry in result.search if math.isfinite(score := _score(entry, math.nan))]
    known += [facts.floor] if facts.floor is not None else []
    return max(known) if facts.metric.better == "lower" else min(known)


def _ranked(rows: Sequence[Row], metric: MetricFacts, pairs: Sequence[Pair]) -> tuple[Row, ...]:
    """Rank the complete, searched rows by mean test score; equal means share a rank."""
    sign = 1 if metric.better == "lower" else -1
    means = {row.model: sign * row.test.mean for row in rows if row.ranks and row.test is not None}
    if not means:
        return tuple(rows)
    best = min(means, key=lambda model: (means[model], model))  # of equal means, whatever the order of the models

    def ranked(row: Row) -> Row:
        if row.model not in means:
            return row
        rank = 1 + sum(other < means[row.model] for other in means.values())
        return replace(row, rank=rank, against_best=between(pairs, row.model, best))

    return tuple(ranked(row) for row in rows)


def between(pairs: Sequence[Pair], first: str, second: str) -> Decision | None:
    """Return the decision of the first model against the second, or None if the two are not paired."""
    for pair in pairs:
        if (pair.first, pair.second) == (first, second):
            return pair.decision
        if (pair.first, pair.second) == (second, first):
            return pair.decision.reversed
    return None
