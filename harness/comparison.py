"""Models side by side on each task: what each reached on a budget that all have, its rank, what is sure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, combinations
from typing import Literal

from harness.audit import Spending, level, spending
from harness.decision import Decision, correct, decide
from harness.ledger import Entry
from harness.records import CellFacts, MetricFacts, ParamValue, TaskRef, Trial
from harness.reproduction import Reproduction, reproduction
from harness.results import Curves, Standing, State, StoredStudy, outcomes_of
from harness.statistics import Proportion, Scale, Summary
from harness.tradeoffs import TradeOffs, halfway, trade_offs
from harness.tuning import Crossing, TuningCurve, crossings, tuning_curve


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
    successes: Summary | None
    """Of `test`, those that succeed, where some do not."""
    success: Proportion | None
    """Repetitions that are better than the floor by more than the margin, or have a score where there is no floor."""
    last3: Summary | None
    """Mean over the weights of the last three evaluations."""
    published: float | None
    published_source: str
    assumed: tuple[str, ...]
    superseded: int
    """Repetitions of an earlier winner."""
    test_opened: int
    capped: str = ""
    """What was left out so that all cells of the task have the same budget; '' where nothing was."""
    refused: str = ""
    """Why the cell cannot be compared with the others of its task; '' where it can."""
    race: bool = False
    """Whether it is of a race, whose models have unequal repetitions: it is shown whole and has no rank."""
    rank: int | None = None
    """By mean among searched cells; None where the cell is not complete, refused or of a race."""
    against_best: Decision | None = None
    """Of this cell against the one of rank 1; None for that one and where there is no rank."""

    @property
    def complete(self) -> bool:
        """All that was granted is there, and the store agrees with the ledger."""
        return self.state == "complete" and self.lacking == 0

    @property
    def ranks(self) -> bool:
        able = self.complete and self.setting == "searched" and self.test is not None
        return able and not self.refused and not self.race

    @property
    def standing(self) -> str:
        """In words, where the row has no rank."""
        ended, granted = self.search_ended + self.repetitions_ended, self.search_granted + self.repetitions_granted
        if self.lacking:
            return f"incomplete {ended}/{granted}: the store and its mark differ by {abs(self.lacking)}"
        if self.lacking is None or self.state == "incomplete":
            return f"incomplete {ended}/{granted}" + ("" if self.lacking is not None else ": the store has no mark")
        if self.refused:
            return "not comparable"
        if self.state == "partial":
            scored = self.test.n if self.test is not None else 0
            return f"{scored} of {self.repetitions_granted} repetitions have a score"
        if self.race and self.state == "complete":
            return f"race, {self.repetitions_ended} repetitions"
        return "FAILED" if self.state == "failed" else "complete"


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
    """The budget; None where published widths stand as they are."""
    task_parameters: int | None
    """The size that is published for the task."""
    fixed: Mapping[str, Sequence[int]]
    """What the task drew from the `fixed` seed, by name."""
    rows: tuple[Row, ...]
    standings: tuple[Standing, ...]
    """By row, on the common budget."""
    pairs: tuple[Pair, ...]
    """Of cells that are ranked or lack nothing but scores."""
    tuning: Mapping[str, TuningCurve]
    """By model; under a sampler that learns, the best score so far instead."""
    crossings: tuple[Crossing, ...]
    spendings: tuple[Spending, ...]
    reproductions: tuple[Reproduction, ...]
    trade_offs: tuple[TradeOffs, ...]
    threshold: float | None
    """Of validation, for `trade_offs`: halfway from the floor to the best."""

    @property
    def scale(self) -> Scale:
        """On which test scores are averaged."""
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
            _row(one, stored.lacking(one.facts.cell)),
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


def _trade_offs(standings: Sequence[Standing], curves: Curves, threshold: float | None) -> tuple[TradeOffs, ...]:
    return tuple(trade_offs(one, curves, threshold) for one in standings)


def _pairs(rows: Sequence[Row], standings: Sequence[Standing]) -> tuple[Pair, ...]:
    """Every two searched cells of which nothing is missing or refused; lost repetitions lose their pairs.

    Verdicts share the error of the task (Holm).  None of a race: which repetitions there are depends on the scores, and
    its own answer shares out the error.
    """
    able = [
        (row, one)
        for row, one in zip(rows, standings, strict=True)
        if row.setting == "searched" and row.state in ("complete", "partial") and row.lacking == 0
        and not row.refused and not row.race
    ]  # fmt: skip
    both = list(combinations(able, 2))
    decisions = correct([_decide(one[1], other[1]) for one, other in both])
    return tuple(Pair(one[0].model, other[0].model, found) for (one, other), found in zip(both, decisions, strict=True))


def _decide(one: Standing, other: Standing) -> Decision:
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


def _tuning(rows: Sequence[Row], standings: Sequence[Standing], sampler: str) -> dict[str, TuningCurve]:
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


def _score(entry: Entry, otherwise: float) -> float:
    score = entry.result.score if entry.result is not None and entry.result.outcome == "complete" else None
    return score if score is not None and math.isfinite(score) else otherwise


def _standing_in(standings: Sequence[Standing]) -> float:
    """What a trial without a score counts as in a tuning curve: the floor, or the worst score of the task where that
    is worse or no floor is known."""
    facts = standings[0].facts
    known = [score for one in standings for entry in one.search if math.isfinite(score := _score(entry, math.nan))]
    known += [facts.floor] if facts.floor is not None else []
    return max(known) if facts.metric.better == "lower" else min(known)


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
        successes=one.successes,
        success=one.success,
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
    """Of the first model against the second, whichever way round the pair is kept."""
    for pair in pairs:
        if (pair.one, pair.other) == (one, other):
            return pair.decision
        if (pair.one, pair.other) == (other, one):
            return pair.decision.reversed
    return None
