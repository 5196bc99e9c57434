"""The costs of a model beside its score: memory, time, stability."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from harness.analysis.cell_result import CellResult, Curve, Curves
from harness.analysis.statistics import Proportion, proportion
from harness.records import MetricFacts


@dataclass(frozen=True)
class TradeOffs:
    """The costs of one cell: medians over the present winner's repetitions; None if not reported."""

    model: str
    peak_bytes: float | None
    """Peak memory in training."""
    update_seconds: float | None
    """Wall time, evaluations included."""
    updates_to_threshold: float | None
    """Median over the repetitions that reached the threshold."""
    reached: int
    """Repetitions that reached the threshold."""
    curves: int
    """Repetitions with a known curve."""
    gradient_norm: float | None
    """Gradient norm before clipping, median over evaluations."""
    gradient_swing: float | None
    """The 90th percentile of the gradient norm over its 10th, over evaluations: 1 is perfectly steady."""
    diverged: Proportion | None
    """Diverged trials among all that have ended, search included."""
    state_bytes: float | None
    """Bytes of state that a recurrent pass carries for one sequence."""


def trade_offs(one: CellResult, curves: Curves, threshold: float | None) -> TradeOffs:
    """Return the costs. threshold: of the metric on validation; None if there is none."""
    results = [entry.result for entry in one.finals if entry.result is not None and entry.result.outcome == "complete"]
    own = [curves[entry.trial.key] for entry in one.finals if entry.trial.key in curves]
    metric = one.facts.metric
    scores = [curve for each in own if (curve := each.get(metric.name))]
    reached = [update for curve in scores if (update := first_reaching(curve, threshold, metric)) is not None]
    norms = [values for each in own if len(values := _positive(each.get("gradient_norm", ()))) > 1]
    ended = [entry.result for entry in one.entries if entry.result is not None]
    return TradeOffs(
        model=one.facts.cell.model,
        peak_bytes=_median(result.peak_bytes for result in results),
        update_seconds=_median(result.train_seconds / result.updates for result in results if result.updates),
        updates_to_threshold=_median(reached),
        reached=len(reached),
        curves=len(scores),
        gradient_norm=_median(median(values) for values in norms),
        gradient_swing=_median(_swing(values) for values in norms),
        diverged=proportion(sum(result.outcome == "diverged" for result in ended), len(ended)) if ended else None,
        state_bytes=_median(result.state_bytes for result in results),
    )


def halfway(standings: Sequence[CellResult]) -> float | None:
    """Return the point halfway, on the metric's scale, from the floor to the best validation score of the task's cells.

    None if no floor is known or no cell is better than it.
    """
    facts = standings[0].facts
    scores = [one.best_validation for one in standings if one.best_validation is not None]
    scores = scores or [score for one in standings for score in one.scores("validation")]
    if facts.floor is None or not scores:
        return None
    best = min(scores) if facts.metric.better == "lower" else max(scores)
    if (best >= facts.floor) if facts.metric.better == "lower" else (best <= facts.floor):
        return None
    if facts.metric.scale == "log" and min(best, facts.floor) > 0:
        return math.sqrt(best * facts.floor)
    return (best + facts.floor) / 2


def first_reaching(curve: Curve, threshold: float | None, metric: MetricFacts) -> int | None:
    """The update of the first evaluation that is at the threshold or better."""
    if threshold is None:
        return None
    lower = metric.better == "lower"
    return next((update for update, value in curve if (value <= threshold if lower else value >= threshold)), None)


def _positive(curve: Curve) -> list[float]:
    return [value for _, value in curve if value > 0]


def _swing(values: Sequence[float]) -> float:
    low, high = np.percentile(values, [10, 90])
    return float(high / low)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
