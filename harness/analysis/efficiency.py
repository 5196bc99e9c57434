"""Measure what a model costs: memory, time and stability."""

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
    """Costs of one cell: medians over the current winner's complete repetitions.

    A field is None if no repetition reported it.
    """

    model: str
    peak_bytes: float | None
    """Peak memory in training, in bytes."""
    update_seconds: float | None
    """Wall time per update in seconds, evaluations included."""
    updates_to_threshold: float | None
    """Updates until the threshold, over the repetitions that reached it."""
    reached: int
    """Number of repetitions that reached the threshold."""
    curves: int
    """Number of repetitions whose validation curve is known."""
    gradient_norm: float | None
    """Gradient norm before clipping: median over evaluations."""
    gradient_swing: float | None
    """Ratio of the 90th to the 10th percentile of the gradient norm over evaluations; 1 is perfectly steady, None if
    too many norms are infinite."""
    diverged: Proportion | None
    """Share of all trials that diverged, search included; None before the first has ended."""
    state_bytes: float | None
    """Size of the state that a recurrent pass carries for one sequence, in bytes."""


def trade_offs(cell: CellResult, curves: Curves, threshold: float | None) -> TradeOffs:
    """Return the costs of one cell.

    threshold: validation score for `updates_to_threshold`; None if there is none to reach.
    """
    results = [entry.result for entry in cell.finals if entry.result is not None and entry.result.outcome == "complete"]
    measured = [curves[entry.trial.key] for entry in cell.finals if entry.trial.key in curves]
    metric = cell.facts.metric
    scores = [curve for of_trial in measured if (curve := of_trial.get(metric.name))]
    reached = [update for curve in scores if (update := first_reaching(curve, threshold, metric)) is not None]
    norms = [values for of_trial in measured if len(values := _positive(of_trial.get("gradient_norm", ()))) > 1]
    ended = [entry.result for entry in cell.entries if entry.result is not None]
    return TradeOffs(
        model=cell.facts.cell.model,
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


def halfway(cells: Sequence[CellResult]) -> float | None:
    """Return the score halfway from the floor to the best validation score of a task, on the metric's scale.

    None if the floor is unknown or no cell is better than it.
    """
    facts = cells[0].facts
    scores = [cell.best_validation for cell in cells if cell.best_validation is not None]
    scores = scores or [score for cell in cells for score in cell.scores("validation")]
    if facts.floor is None or not scores:
        return None
    best = min(scores) if facts.metric.better == "lower" else max(scores)
    if (best >= facts.floor) if facts.metric.better == "lower" else (best <= facts.floor):
        return None
    if facts.metric.scale == "log" and min(best, facts.floor) > 0:
        return math.sqrt(best * facts.floor)
    return (best + facts.floor) / 2


def first_reaching(curve: Curve, threshold: float | None, metric: MetricFacts) -> int | None:
    """Return the update of the first evaluation at the threshold or better; None if there is none."""
    if threshold is None:
        return None
    lower = metric.better == "lower"
    return next((update for update, value in curve if (value <= threshold if lower else value >= threshold)), None)


def _positive(curve: Curve) -> list[float]:
    return [value for _, value in curve if value > 0]


def _swing(values: Sequence[float]) -> float | None:
    """Return the ratio of the 90th to the 10th percentile; None if the 90th is infinite."""
    with np.errstate(invalid="ignore"):
        low, high = np.percentile(values, [10, 90])
    return float(high / low) if math.isfinite(high) else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
