"""Models side by side on each task: what each was granted, what it reached, and its rank."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.ledger import Entry
from harness.records import CellFacts, MetricFacts, ParamValue, Trial
from harness.results import Standing, State, StoredStudy, outcomes_of
from harness.statistics import Summary


@dataclass(frozen=True)
class Row:
    """One model on one task."""

    model: str
    setting: Literal["searched", "published"]
    """`published`: shown beside the searched cells of a fair study, without a rank."""
    state: State
    reason: str
    """Of trials that did not complete; '' where all did."""
    parameters: int | None
    """Of the setting that was measured: the winner's, or the published one."""
    deviation_percent: float | None
    """From the budget, or from the task's published size where there is no budget."""
    dimensions: Mapping[str, ParamValue]
    """Name → value of the setting that was measured."""
    search_ended: int
    search_granted: int
    repetitions_ended: int
    repetitions_granted: int
    search_outcomes: Mapping[str, int]
    repetition_outcomes: Mapping[str, int]
    """Of the present winner's repetitions."""
    updates: tuple[int, int] | None
    """Fewest and most of a repetition of the present winner; None where none has ended."""
    evaluation_limit: int | None
    """Held-out sequences or windows that were scored; None: all."""
    rejections: int
    """Draws that the budget did not admit."""
    rejection: str
    """An example of the most frequent reason, where reasons that differ in numbers alone are one; '' without any."""
    seconds: float
    """Training and evaluation of all trials."""
    peak_bytes: int | None
    """Largest of any trial."""
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
    """By mean among searched cells; None where the cell is not complete."""
    equivalent: bool = False
    """Within the metric's margin of the task's best searched cell."""

    @property
    def complete(self) -> bool:
        """All that was granted is there, and the store agrees with the ledger."""
        return self.state == "complete" and self.lacking == 0

    @property
    def ranks(self) -> bool:
        return self.complete and self.setting == "searched" and self.test is not None

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
    """The budget; None where published widths stand as they are."""
    task_parameters: int | None
    """The size that is published for the task."""
    options: Mapping[str, ParamValue]
    """Of the task, where they differ from its defaults."""
    fixed: Mapping[str, Sequence[int]]
    """What the task drew from the `fixed` seed, by name."""
    rows: tuple[Row, ...]


def compare(stored: StoredStudy) -> tuple[Section, ...]:
    """A section for each task, in the order of the study."""
    tasks = dict.fromkeys(facts.cell.task for facts in stored.cells)
    return tuple(_section(stored, task) for task in tasks)


def _section(stored: StoredStudy, task: str) -> Section:
    standings = [one for one in stored.standings if one.facts.cell.task == task]
    facts = standings[0].facts
    rows = [_row(one, stored.lacking(one.facts.cell)) for one in standings]
    ranked = _ranked(rows, facts.metric)
    return Section(
        task=task,
        metric=facts.metric,
        floor=facts.floor,
        parameters=facts.parameters,
        task_parameters=facts.task_parameters,
        options=facts.task.options,
        fixed=stored.manifest.fixed.get(task, {}),
        rows=ranked,
    )


def _row(one: Standing, lacking: int | None) -> Row:
    facts, setting = one.facts, one.setting
    rejections = one.rejections
    return Row(
        model=facts.cell.model,
        setting=facts.setting,
        state=one.state,
        reason=one.reason,
        parameters=setting.parameters if setting is not None else None,
        deviation_percent=_deviation_percent(setting, facts),
        dimensions=setting.params if setting is not None else {},
        search_ended=one.search_ended,
        search_granted=facts.trials,
        repetitions_ended=one.finals_ended,
        repetitions_granted=facts.repetitions,
        search_outcomes=_by_name(one.search),
        repetition_outcomes=_by_name(one.finals),
        updates=_updates(one.finals),
        evaluation_limit=setting.training.evaluation_limit if setting is not None else None,
        rejections=len(rejections),
        rejection=_most_frequent(rejections),
        seconds=one.train_seconds,
        peak_bytes=one.peak_bytes,
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


def _deviation_percent(setting: Trial | None, facts: CellFacts) -> float | None:
    size = facts.parameters if facts.parameters is not None else facts.task_parameters
    return None if setting is None or size is None else 100 * (setting.parameters / size - 1)


def _updates(entries: Sequence[Entry]) -> tuple[int, int] | None:
    done = [entry.result.updates for entry in entries if entry.result is not None]
    return (min(done), max(done)) if done else None


def _by_name(entries: Sequence[Entry]) -> dict[str, int]:
    return {str(outcome): n for outcome, n in outcomes_of(entries).items()}


def _most_frequent(reasons: Sequence[str]) -> str:
    """The first of the reasons of which there are most, numbers aside: the widths in them differ from draw to draw."""
    kinds = [re.sub(r"[^A-Za-z]+", " ", reason) for reason in reasons]
    return reasons[kinds.index(Counter(kinds).most_common(1)[0][0])] if reasons else ""


def _ranked(rows: Sequence[Row], metric: MetricFacts) -> tuple[Row, ...]:
    """Ranks by mean among complete, searched rows; equal means share a rank."""
    sign = 1 if metric.better == "lower" else -1
    means = [row.test.mean for row in rows if row.ranks and row.test is not None]
    if not means:
        return tuple(rows)
    best = min(means, key=lambda mean: sign * mean)

    def ranked(row: Row) -> Row:
        if not row.ranks or row.test is None:
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
