"""What the stored studies say of the rows of the published tables at equal size and equal tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.analysis.comparison import Section, between
from harness.analysis.statistics import Summary
from harness.api.task import Task
from harness.errors import shown
from harness.report.document import NOTHING, Block, Datum, Notes, Table
from harness.report.formatting import count, listed, mean_interval, number
from harness.report.report import Report
from harness.report.sections.conclusion import conclusion
from harness.report.sections.evidence import margin_of
from published_order import PublishedOrder, order_of
from published_table import Run, published_values, unlike_the_row

ELSEWHERE = {"holds": "same order", "contradicted": "another order", "inconclusive": "not decided"}
"""Verdict on the published order → the word for it at another size, which is no test of the paper."""


@dataclass(frozen=True)
class Compared:
    """One task of a fair study beside the row of the published tables that it is about."""

    task: Task
    """The task of the row, with its published options."""
    study: str
    """Name of the study, with its task if it has several."""
    section: Section

    @cached_property
    def order(self) -> PublishedOrder | None:
        return order_of(self.section, published_values(self.task))

    @property
    def differences(self) -> list[str]:
        """In which options and in which size the study differs from the row."""
        options = self.section.ref.options.items()
        changed = [(name, value, getattr(self.task, name)) for name, value in options]
        said = [
            f"{name} {_shown(value)} instead of {_shown(usual)}" for name, value, usual in changed if value != usual
        ]
        row = self.task.published()
        if row is not None and row.parameters not in (None, self.section.parameters):
            said.append(f"{count(self.section.parameters)} parameters instead of {count(row.parameters)}")
        return said


def compared_rows(tasks: Mapping[str, Task], reports: Sequence[Report]) -> list[Compared]:
    """Return all tasks of fair studies that have a ranked model and are those of a row, row by row."""
    return [
        Compared(task, f"{report.study}, {section.task}" if len(report.sections) > 1 else report.study, section)
        for task in tasks.values()
        for report in reports
        for section in report.sections
        if report.protocol == "fair" and section.ref.name == task.name and any(row.rank for row in section.rows)
    ]


def order_blocks(compared: Sequence[Compared], runs: Sequence[Run]) -> list[Block]:
    """Return whether the published order holds in these studies, in a table and in words.

    runs: of the published settings.
    """
    header = ("row", "study (repetitions)", "order in the paper", "verdict", "all pairs hold (95 % CI)")
    words = tuple(in_words(one, [run for run in runs if run.row == one.task.row()]) for one in compared)
    return [Table(header, tuple(map(order_line, compared))), Notes(words)]


def order_line(compared: Compared) -> tuple[Datum, ...]:
    found = compared.order
    repetitions = max(row.test.n for row in compared.section.rows if row.test is not None)
    names = Datum(compared.task.row()), Datum(f"{compared.study} ({repetitions})")
    if found is None:
        reason = (
            "nothing was learned" if compared.section.nothing_learned else "no two ranked models differ in the paper"
        )
        return (*names, Datum(NOTHING), Datum(reason), Datum(NOTHING))
    without = f" (without {listed(found.missing)})" if found.missing else ""
    whole = found.whole
    verdict = ELSEWHERE[found.verdict] if compared.differences else found.verdict
    return (
        *names,
        Datum(f"{'; '.join(_ordered(found))}{without}"),
        Datum(f"{verdict}: {'; '.join(found.reasons)}"),
        Datum(
            f"{whole.share:.2f} [{whole.interval.low:.2f}, {whole.interval.high:.2f}], {whole.happened} of {whole.n}"
        ),
    )


def in_words(compared: Compared, runs: Sequence[Run]) -> str:
    """Return the conditions of a study, which model leads, which learned nothing, and better published settings."""
    section, found = compared.section, compared.order
    parts = [conclusion(section).partition(": ")[2], _at_the_floor(section)]
    if found is not None and found.also_decided:
        parts.append(f"Not ordered in the paper, but decided here: {', '.join(found.also_decided)}.")
    if not compared.differences:
        parts += [_gaps(section), *_better_published(section, runs)]
    conditions = ", ".join([*compared.differences, *_effort(section)])
    return f"{compared.study} ({conditions}): {' '.join(filter(None, parts))}"


def _ordered(found: PublishedOrder) -> list[str]:
    """Return the pairs that the paper orders: `tcn before gru and lstm`."""
    later: dict[str, list[str]] = {}
    for claim in found.apart:
        later.setdefault(claim.better, []).append(claim.worse)
    same: dict[str, list[str]] = {}
    for better, worse in later.items():
        same.setdefault(listed(worse), []).append(better)
    return [f"{listed(better)} before {worse}" for worse, better in same.items()]


def _at_the_floor(section: Section) -> str:
    """Return which ranked models have repetitions at the floor, unless none has learned or the conclusion says it."""
    shares: dict[str, list[str]] = {}
    for row in section.rows:
        if row.rank is None or row.success is None or row.success.happened == row.success.n:
            continue
        if row.rank > 1 or row.successes is None:
            share = (
                f"{row.success.happened} of {row.success.n} repetitions" if row.success.happened else "no repetition"
            )
            shares.setdefault(share, []).append(row.model)
    if not shares or section.nothing_learned:
        return ""
    said = "; ".join(f"{share} of {listed(models)}" for share, models in shares.items())
    return f"Better than the floor by more than the margin: {said}."


def _gaps(section: Section) -> str:
    """Return by how much each decided model differs from the leader, and the margin; '' if none is decided."""
    leader = next((row.model for row in section.rows if row.rank == 1), "")
    gaps = []
    for row in section.rows:
        decision = between(section.pairs, leader, row.model) if row.rank not in (None, 1) else None
        if decision is not None and decision.verdict != "undecided" and decision.difference is not None:
            ends = sorted(map(abs, (decision.difference.low, decision.difference.high)))
            if section.scale == "log":
                ends = [math.exp(end) for end in ends]
            gaps.append(f"{row.model} {number(ends[0])} to {number(ends[1])}")
    effect = "ratio of means" if section.scale == "log" else "mean difference"
    margin = margin_of(section.metric)
    return f"Interval of the {effect} to {leader}: {', '.join(gaps)}; margin {margin}." if gaps else ""


def _better_published(section: Section, runs: Sequence[Run]) -> Iterator[str]:
    """Yield which published settings of the same size are better than those that were found, and how both train."""
    found = {row.model: row.test for row in section.rows}
    for run in runs:
        for row in run.section.rows if run.report.protocol == "paper" else ():
            ours, searched = row.test, found.get(row.model)
            if not row.complete or unlike_the_row(row, run.section) or ours is None or searched is None:
                continue
            if _is_better(ours, searched, section.metric.better):
                yield (
                    f"The published setting of {row.model} is better: {mean_interval(ours.mean, ours.interval)} with "
                    f"the weights of the best validation score. It trains with {_training(run.section, row.model)}; "
                    f"the searched {row.model} with {_training(section, row.model)}."
                )


def _training(section: Section, model: str) -> str:
    """Return how the final trials of a model train."""
    result = next(result for result in section.results if result.facts.cell.model == model)
    first = result.finals[0].trial
    epochs = [entry.result.epochs for entry in result.finals if entry.result is not None]
    return (
        f"batch size {first.training.batch_size}, {first.optimisation.schedule.kind} learning rate and the "
        f"{first.optimisation.reduction} of the loss, for {_range(epochs)} epochs"
    )


def _range(values: Sequence[float]) -> str:
    low, high = count(min(values)), count(max(values))
    return low if low == high else f"{low} to {high}"


def _is_better(first: Summary, second: Summary, better: str) -> bool:
    """Return whether the interval of the first mean lies on the better side of that of the second."""
    if first.interval is None or second.interval is None:
        return False
    if better == "lower":
        return first.interval.high < second.interval.low
    return first.interval.low > second.interval.high


def _effort(section: Section) -> Iterator[str]:
    """Yield how much each model was searched and trained."""
    trials = max(len(result.search) for result in section.results)
    searched = max(sum(entry.result.updates for entry in result.search if entry.result) for result in section.results)
    finals = [entry.result.updates for result in section.results for entry in result.finals if entry.result is not None]
    yield f"{count(trials)} search trials per model with at most {count(searched)} updates together"
    yield f"final runs of {_range(finals)} updates"


def _shown(value: object) -> str:
    return count(value) if type(value) is int else shown(value)
