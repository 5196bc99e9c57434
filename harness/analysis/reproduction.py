"""Whether a published value was reproduced, under which protocol, and with what certainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.analysis.cell_result import CellResult
from harness.analysis.statistics import Interval, Summary
from harness.records import CellFacts, MetricFacts

ReproductionStatus = Literal["reproduced", "better", "not reproduced", "under-powered"]

SIZE_TOLERANCE = 0.1
"""Published sizes are rounded, and their models differ from them by some percent."""


@dataclass(frozen=True)
class Reproduction:
    model: str
    published: float
    source: str
    weights: str
    """Whose scores are compared: 'test' (weights of the best validation) or 'test-last3' (the paper's rule)."""
    ours: Summary
    tolerance: float
    """The task's margin, on the metric's scale."""
    verdict: ReproductionStatus


def reproduction(one: CellResult, protocol: str) -> Reproduction | None:
    """Return the comparison; None if nothing is published for this size, or a repetition has no score."""
    facts = one.facts
    if off_size(facts):
        return None
    weights = "test-last3" if protocol == "paper" else "test"
    ours = one.summary(weights)
    if facts.published is None or ours is None or one.state != "complete":
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
    """Return the status by the position of our mean's whole interval: better than the tolerance, worse than it, or not
    worse; under-powered if it contains the bound between them.
    """
    if interval is None or (metric.scale == "log" and published <= 0):
        return "under-powered"
    worst, best = _worse(interval, published, metric)
    if worst <= metric.margin:
        return "better" if worst < -metric.margin else "reproduced"
    return "not reproduced" if best > metric.margin else "under-powered"


def _worse(interval: Interval, published: float, metric: MetricFacts) -> tuple[float, float]:
    """Return how much worse the ends of the interval are than the published value, on the metric's scale. Non-positive
    values lie below everything on a log scale.
    """
    ends = (interval.low, interval.high, published)
    low, high, at = (_log(end) for end in ends) if metric.scale == "log" else ends
    return (high - at, low - at) if metric.better == "lower" else (at - low, at - high)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
