"""Judge whether a published value was reproduced."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.analysis.cell_result import CellResult
from harness.analysis.statistics import Interval, Summary
from harness.records import CellFacts, MetricFacts

ReproductionStatus = Literal["reproduced", "better", "not reproduced", "under-powered"]

SIZE_TOLERANCE = 0.1
"""Largest relative deviation from the published size: sizes are rounded, and models differ by some percent."""


@dataclass(frozen=True)
class Reproduction:
    """The comparison of our scores with one published value."""

    model: str
    published: float
    source: str
    weights: str
    """Which weights are scored: 'test' (best validation score) or 'test-last3' (the paper's rule)."""
    ours: Summary
    tolerance: float
    """The task's margin, on the metric's scale."""
    verdict: ReproductionStatus


def reproduction(result: CellResult, protocol: str) -> Reproduction | None:
    """Compare a cell with its published value.

    None if no value is published for this size, or a repetition has no score.
    """
    facts = result.facts
    if off_size(facts):
        return None
    weights = "test-last3" if protocol == "paper" else "test"
    ours = result.summary(weights)
    if facts.published is None or ours is None or result.state != "complete":
        return None
    verdict = judge(ours.interval, facts.published, facts.metric)
    return Reproduction(
        facts.cell.model, facts.published, facts.published_source, weights, ours, facts.metric.margin, verdict
    )


def off_size(facts: CellFacts) -> bool:
    """Return whether the study's budget differs from the size of the published models."""
    if facts.parameters is None or facts.task_parameters is None:
        return False
    return abs(facts.parameters / facts.task_parameters - 1) > SIZE_TOLERANCE


def judge(interval: Interval | None, published: float, metric: MetricFacts) -> ReproductionStatus:
    """Return the verdict from the interval of our mean.

    better: the whole interval is better than the published value by more than the margin.  reproduced: the whole
    interval is worse by at most the margin.  not reproduced: the whole interval is worse by more than the margin.
    under-powered: the interval crosses that bound, there is no interval, or the value has no logarithm.
    """
    if interval is None or (metric.scale == "log" and published <= 0):
        return "under-powered"
    ends = [worse_by(end, published, metric) for end in (interval.low, interval.high)]
    worst, best = max(ends), min(ends)
    if worst <= metric.margin:
        return "better" if worst < -metric.margin else "reproduced"
    return "not reproduced" if best > metric.margin else "under-powered"


def worse_by(value: float, reference: float, metric: MetricFacts) -> float:
    """Return how much worse a value is than a reference, in units of the metric's scale; negative if it is better.

    On a log scale a value that is not positive lies below every other.
    """
    ends = (value, reference)
    scaled, target = (_log(end) for end in ends) if metric.scale == "log" else ends
    return scaled - target if metric.better == "lower" else target - scaled


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
