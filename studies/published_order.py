"""Whether the order of the published values of a row holds in a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from harness.analysis.comparison import Section
from harness.records import MetricFacts
from results_figures import margins_worse


class Step(NamedTuple):
    """How often a model that is better in the paper wins a pair against one that is worse there."""

    probability: float
    low: float
    high: float
    better: str
    worse: str


def order(section: Section, published: Mapping[str, float]) -> str:
    """Return whether the published order of the ranked models holds, with the probability of its weakest step.

    '' if no published values differ by more than the task's margin.
    """
    ranks = {row.model: row.rank for row in section.rows if row.rank is not None}
    groups = groups_of({model: value for model, value in published.items() if model in ranks}, section.metric)
    steps = list(_steps(section, groups))
    if not steps:
        return ""
    names = ", ".join(group[0] if len(group) == 1 else f"({', '.join(group)})" for group in groups)
    holds = all(ranks[step.better] < ranks[step.worse] for step in steps)
    weakest = min(steps)
    return (
        f"The published order {names} {'holds' if holds else 'does not hold'} for the means; its weakest step: "
        f"{weakest.better} wins a pair against {weakest.worse} with probability {weakest.probability:.2f} "
        f"[{weakest.low:.2f}, {weakest.high:.2f}]."
    )


def groups_of(published: Mapping[str, float], metric: MetricFacts) -> list[tuple[str, ...]]:
    """Return the models, the best first; those within the margin of the one before them are in its group."""
    ordered = sorted(published, key=lambda model: published[model], reverse=metric.better == "higher")
    groups: list[tuple[str, ...]] = []
    for model in ordered:
        if groups and margins_worse(published[model], published[groups[-1][-1]], metric) <= 1:
            groups[-1] = (*groups[-1], model)
        else:
            groups.append((model,))
    return groups


def _steps(section: Section, groups: list[tuple[str, ...]]) -> Iterator[Step]:
    decisions = {(pair.first, pair.second): pair.decision for pair in section.pairs}
    for earlier, later in combinations(groups, 2):
        for better, worse in ((first, second) for first in earlier for second in later):
            if (better, worse) in decisions:
                decision = decisions[better, worse]
                yield Step(decision.probability, decision.interval.low, decision.interval.high, better, worse)
            elif (worse, better) in decisions:
                decision = decisions[worse, better]
                turned = 1 - decision.interval.high, 1 - decision.interval.low
                yield Step(1 - decision.probability, *turned, better, worse)
