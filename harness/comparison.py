"""Models side by side on each task: what each was granted, what it reached, and its rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.records import MetricFacts
from harness.results import Standing, State, StoredStudy
from harness.statistics import Summary


@dataclass(frozen=True)
class Row:
    """One model on one task."""

    model: str
    state: State
    reason: str
    """Of trials that did not complete; '' where all did."""
    parameters: int | None
    """Of the setting that was measured: the winner's, or the published one."""
    deviation_percent: float | None
    """From the budget."""
    search_ended: int
    search_granted: int
    repetitions_ended: int
    repetitions_granted: int
    outcomes: Mapping[str, int]
    """Of search trials and the present winner's repetitions."""
    lacking: int | None
    """Ended trials of the ledger that the store lacks (negative: has more than its mark says); None without a mark."""
    best_validation: float | None
    test: Summary | None
    """Best-validation weights, over the present winner's repetitions."""
    last3: Summary | None
    """Mean over the weights of the last three evaluations."""
    published: float | None
    published_source: str
    assumed: tuple[str, ...]
    superseded: int
    """Repetitions of an earlier winner."""
    test_opened: int
    rank: int | None = None
    """By mean; None where the cell is not complete."""
    equivalent: bool = False
    """Within the metric's margin of the task's best."""

    @property
    def complete(self) -> bool:
        """All that was granted is there, and the store agrees with the ledger."""
        return self.state == "complete" and self.lacking == 0

    @property
    def standing(self) -> str:
        """In words, where the row has no rank."""
        ended, granted = self.search_ended + self.repetitions_ended, self.search_granted + self.repetitions_granted
        if self.lacking:
            return f"incomplete {ended}/{granted}: the store and its mark differ by {abs(self.lacking)}"
        if self.lacking is None or self.state == "incomplete":
            return f"incomplete {ended}/{granted}" + ("" if self.lacking is not None else ": the store has no mark")
        if self.state == "partial":
            scored = self.test.n if self.test is not None else 0
            return f"{scored} of {self.repetitions_granted} repetitions have a score"
        return "FAILED" if self.state == "failed" else "complete"


@dataclass(frozen=True)
class Section:
    """One task."""

    task: str
    metric: MetricFacts
    floor: float | None
    parameters: int | None
    """The budget."""
    rows: tuple[Row, ...]


def compare(stored: StoredStudy) -> tuple[Section, ...]:
    """A section for each task, in the order of the study."""
    tasks = dict.fromkeys(facts.cell.task for facts in stored.cells)
    return tuple(_section(stored, task) for task in tasks)


def _section(stored: StoredStudy, task: str) -> Section:
    standings = [one for one in stored.standings if one.facts.cell.task == task]
    facts = standings[0].facts
    rows = [_row(one, stored.lacking(one.facts.cell)) for one in standings]
    return Section(task, facts.metric, facts.floor, facts.parameters, _ranked(rows, facts.metric))


def _row(one: Standing, lacking: int | None) -> Row:
    facts, setting = one.facts, one.setting
    parameters = setting.parameters if setting is not None else None
    deviation = None
    if parameters is not None and facts.parameters is not None:
        deviation = 100 * (parameters / facts.parameters - 1)
    return Row(
        model=facts.cell.model,
        state=one.state,
        reason=one.reason,
        parameters=parameters,
        deviation_percent=deviation,
        search_ended=one.search_ended,
        search_granted=facts.trials,
        repetitions_ended=one.finals_ended,
        repetitions_granted=facts.repetitions,
        outcomes={str(outcome): n for outcome, n in one.outcomes.items()},
        lacking=lacking,
        best_validation=one.best_validation,
        test=one.summary("test"),
        last3=one.summary("test-last3"),
        published=facts.published,
        published_source=facts.published_source,
        assumed=facts.assumed,
        superseded=len(one.superseded),
        test_opened=one.test_opened,
    )


def _ranked(rows: Sequence[Row], metric: MetricFacts) -> tuple[Row, ...]:
    """Ranks by mean among complete rows; equal means share a rank."""
    sign = 1 if metric.better == "lower" else -1
    means = [row.test.mean for row in rows if row.complete and row.test is not None]
    if not means:
        return tuple(rows)
    best = min(means, key=lambda mean: sign * mean)

    def ranked(row: Row) -> Row:
        if not row.complete or row.test is None:
            return row
        mean = row.test.mean
        rank = 1 + sum(sign * other < sign * mean for other in means)
        return replace(row, rank=rank, equivalent=mean != best and _distance(mean, best, metric) < metric.margin)

    return tuple(ranked(row) for row in rows)


def _distance(one: float, other: float, metric: MetricFacts) -> float:
    """On the metric's scale: of natural logarithms where that is log."""
    if metric.scale == "log" and one > 0 and other > 0:
        return abs(math.log(one) - math.log(other))
    return abs(one - other)
