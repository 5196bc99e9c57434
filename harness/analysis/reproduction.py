"""Whether a published value was reached, under which protocol, and how surely."""

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
    """On the metric's scale: the task's margin."""
    verdict: ReproductionStatus


def reproduction(one: CellResult, protocol: str) -> Reproduction | None:
    """None where nothing is published for this size, or a repetition has no score."""
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
    """Whether the study's budget is not the size that the published values stand for."""
    if facts.parameters is None or facts.task_parameters is None:
        return False
    return abs(facts.parameters / facts.task_parameters - 1) > SIZE_TOLERANCE


def judge(interval: Interval | None, published: float, metric: MetricFacts) -> ReproductionStatus:
    """By where the whole interval of our mean lies: beyond the tolerance on the good side, beyond it on the bad side,
    or not worse than the tolerance; under-powered where it straddles the bound that would tell."""
    if interval is None or (metric.scale == "log" and published <= 0):
        return "under-powered"
    worst, best = _worse(interval, published, metric)
    if worst <= metric.margin:
        return "better" if worst < -metric.margin else "reproduced"
    return "not reproduced" if best > metric.margin else "under-powered"


def _worse(interval: Interval, published: float, metric: MetricFacts) -> tuple[float, float]:
    """By how much the ends of the interval are worse than the published value, on the metric's scale, on which what
    is not positive lies below everything."""
    ends = (interval.low, interval.high, published)
    low, high, at = (_log(end) for end in ends) if metric.scale == "log" else ends
    return (high - at, low - at) if metric.better == "lower" else (at - low, at - high)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
