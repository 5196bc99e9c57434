"""Models side by side on each task: what each reached on a budget that all have, its rank, what is sure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, combinations

from harness.analysis.budget_audit import Spending, level, spending
from harness.analysis.cell_result import CellResult, Curves
from harness.analysis.comparison_row import Row, make_row
from harness.analysis.efficiency import TradeOffs, halfway, trade_offs
from harness.analysis.paired_tests import Decision, decide
from harness.analysis.reproduction import Reproduction, reproduction
from harness.analysis.statistics import Scale
from harness.analysis.stored_study import StoredStudy
from harness.analysis.tuning_curves import Crossing, TuningCurve, crossings, tuning_curve
from harness.ledger.journal import TrialEntry
from harness.records import MetricFacts, TaskRef


@dataclass(frozen=True)
class Pair:
    """Two models of one task, on repetitions that share data, order and test set."""

    one: str
    other: str
    decision: Decision


@dataclass(frozen=True)
class Section:
    """One task."""

    task: str
    ref: TaskRef
    metric: MetricFacts
    floor: float | None
    parameters: int | None
    """The parameter budget; None under published widths."""
    task_parameters: int | None
    """The size that is published for the task."""
    fixed: Mapping[str, Sequence[int]]
    """What the task drew from the `fixed` seed, by name."""
    rows: tuple[Row, ...]
    standings: tuple[CellResult, ...]
    """Results by row, at the common budget."""
    pairs: tuple[Pair, ...]
    """Decisions between cells that are ranked or lack only scores."""
    tuning: Mapping[str, TuningCurve]
    """Tuning curves by model; with a sampler that learns, the best score so far."""
    crossings: tuple[Crossing, ...]
    spendings: tuple[Spending, ...]
    reproductions: tuple[Reproduction, ...]
    trade_offs: tuple[TradeOffs, ...]
    threshold: float | None
    """Validation threshold for `trade_offs`: halfway from the floor to the best."""

    @property
    def scale(self) -> Scale:
        """The scale on which test scores are averaged."""
        return self.standings[0].scale


def compare(stored: StoredStudy) -> tuple[Section, ...]:
    """A section for each task, in the order of the study."""
    tasks = dict.fromkeys(facts.cell.task for facts in stored.cells)
    return tuple(_section(stored, task) for task in tasks)


def _section(stored: StoredStudy, task: str) -> Section:
    protocol = stored.manifest.protocol
    granted = [one for one in stored.standings if one.facts.cell.task == task]
    fair = level(granted, protocol, race=stored.manifest.race)
    standings, facts = fair.standings, granted[0].facts
    rows = [
        replace(
            make_row(one, stored.lacking(one.facts.cell)),
            capped=fair.capped.get(one.facts.cell, ""),
            refused=fair.refused.get(one.facts.cell, ""),
            race=stored.manifest.race,
        )
        for one in standings
    ]
    pairs = _pairs(rows, standings)
    tuning = _tuning(rows, standings, stored.manifest.sampler)
    threshold = halfway(standings)
    verdicts = [reproduction(one, protocol) for one, row in zip(standings, rows, strict=True) if row.complete]
    return Section(
        task=task,
        ref=facts.task,
        metric=facts.metric,
        floor=facts.floor,
        parameters=facts.parameters,
        task_parameters=facts.task_parameters,
        fixed=stored.manifest.fixed.get(task, {}),
        rows=_ranked(rows, facts.metric, pairs),
        standings=standings,
        pairs=pairs,
        tuning=tuning,
        crossings=crossings(tuning, facts.metric.better) if stored.manifest.sampler == "random" else (),
        spendings=tuple(spending(one) for one in granted),
        reproductions=tuple(verdict for verdict in verdicts if verdict is not None),
        trade_offs=_trade_offs(standings, stored.curves, threshold),
        threshold=threshold,
    )


def _trade_offs(standings: Sequence[CellResult], curves: Curves, threshold: float | None) -> tuple[TradeOffs, ...]:
    return tuple(trade_offs(one, curves, threshold) for one in standings)


def _pairs(rows: Sequence[Row], standings: Sequence[CellResult]) -> tuple[Pair, ...]:
    """Return decisions between any two searched cells that are complete and not rejected; a failed repetition loses its
    pairs.

    Empty for a race: its repetitions depend on the scores, and its own answer controls the error.
    """
    able = [
        (row, one)
        for row, one in zip(rows, standings, strict=True)
        if row.setting == "searched" and row.state in ("complete", "partial") and row.lacking == 0
        and not row.refused and not row.race
    ]  # fmt: skip
    return tuple(Pair(one[0].model, other[0].model, _decide(one[1], other[1])) for one, other in combinations(able, 2))


def _decide(one: CellResult, other: CellResult) -> Decision:
    mine, others = one.repeated("test"), other.repeated("test")
    shared = sorted(mine.keys() & others.keys())
    metric = one.facts.metric
    return decide(
        [mine[repetition] for repetition in shared],
        [others[repetition] for repetition in shared],
        better=metric.better,
        margin=metric.margin,
        scale=None if one.mixed or other.mixed else metric.scale,
    )


def _tuning(rows: Sequence[Row], standings: Sequence[CellResult], sampler: str) -> dict[str, TuningCurve]:
    searched = {
        row.model: one
        for row, one in zip(rows, standings, strict=True)
        if row.setting == "searched" and row.search_ended and one.winner is not None and not row.refused
    }
    if not searched:
        return {}
    metric = standings[0].facts.metric
    worst = _standing_in(list(searched.values()))
    scores = {model: [_score(entry, worst) for entry in one.search if entry.result] for model, one in searched.items()}
    if sampler != "random":
        best = min if metric.better == "lower" else max
        so_far = {model: tuple(accumulate(each, best)) for model, each in scores.items()}
        return {model: TuningCurve(each, each, each) for model, each in so_far.items()}
    positive = all(score > 0 for each in scores.values() for score in each)
    scale: Scale = metric.scale if positive else "linear"
    return {model: tuning_curve(each, metric.better, scale) for model, each in scores.items()}


def _score(entry: TrialEntry, otherwise: float) -> float:
    score = entry.result.score if entry.result is not None else None
    return score if score is not None and math.isfinite(score) else otherwise


def _standing_in(standings: Sequence[CellResult]) -> float:
    """Return the score that a trial without a score counts as in a tuning curve: the floor, or the task's worst score
    if that is worse or no floor is known.
    """
    facts = standings[0].facts
    known = [score for one in standings for entry in one.search if math.isfinite(score := _score(entry, math.nan))]
    known += [facts.floor] if facts.floor is not None else []
    return max(known) if facts.metric.better == "lower" else min(known)


def _ranked(rows: Sequence[Row], metric: MetricFacts, pairs: Sequence[Pair]) -> tuple[Row, ...]:
    """Ranks by mean among complete, searched rows; equal means share a rank."""
    sign = 1 if metric.better == "lower" else -1
    means = {row.model: sign * row.test.mean for row in rows if row.ranks and row.test is not None}
    if not means:
        return tuple(rows)
    best = min(means, key=lambda model: means[model])

    def ranked(row: Row) -> Row:
        if row.model not in means:
            return row
        rank = 1 + sum(other < means[row.model] for other in means.values())
        return replace(row, rank=rank, against_best=between(pairs, row.model, best))

    return tuple(ranked(row) for row in rows)


def between(pairs: Sequence[Pair], one: str, other: str) -> Decision | None:
    """Return the decision of the first model against the second, in either stored order."""
    for pair in pairs:
        if (pair.one, pair.other) == (one, other):
            return pair.decision
        if (pair.one, pair.other) == (other, one):
            return pair.decision.reversed
    return None
