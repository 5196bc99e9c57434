"""The section that compares the models of one task over its sizes, and its opening sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.comparison import Section
from harness.analysis.leader_changes import LeaderChange, Leaders
from harness.analysis.sign_test import MINIMUM_PAIRS
from harness.analysis.size_comparison import SizeComparison
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Picture, Table, quote
from harness.report.formatting import count, listed, mean_interval, short
from harness.report.sections.comparison import NAME_LIMIT

SIGNIFICANT = 2
"""Significant digits of an estimated size."""


def size_sentence(comparison: SizeComparison) -> str:
    """Return one sentence: which model leads up to which size."""
    leaders = comparison.leaders
    if leaders is None:
        found = f"{_where(comparison)} is not determined: fewer than two models are ranked at two or more sizes"
    elif leaders.verdict == "changes":
        found = _changes(comparison.models, leaders.changes)
    elif leaders.verdict == "same":
        first, last = comparison.compared[0], comparison.compared[-1]
        model = comparison.models[leaders.indices[0]]
        found = f"{model} leads; the leader does not change between {count(first)} and {count(last)} parameters"
    else:
        found = _undetermined(comparison, leaders)
    return f"{comparison.task}: {found}{_left_out(comparison)}."


def _changes(models: Sequence[str], changes: Sequence[LeaderChange]) -> str:
    parts = [
        f"{models[change.before]} {'leads ' if place == 0 else ''}up to about {count(_rounded(change.parameters))}"
        f"{' parameters' if place == 0 else ''} (95 % interval {_interval(change)})"
        for place, change in enumerate(changes)
    ]
    return ", ".join([*parts, f"{models[changes[-1].after]} above"])


def _interval(change: LeaderChange) -> str:
    low, high = change.interval.low, change.interval.high
    below = "below the smallest size" if low == 0 else count(_rounded(low))
    above = "above the largest size" if math.isinf(high) else count(_rounded(high))
    return f"{below} to {above}"


def _rounded(parameters: float) -> float:
    return round(parameters, SIGNIFICANT - 1 - math.floor(math.log10(parameters)))


def _undetermined(comparison: SizeComparison, leaders: Leaders) -> str:
    why = ""
    if comparison.repetitions < MINIMUM_PAIRS:
        why = f" ({comparison.repetitions} repetitions; {MINIMUM_PAIRS} are needed)"
    elif comparison.mixed:
        where = listed([f"{model} at {count(size)}" for model, size in comparison.mixed])
        why = f" (some repetitions of {where} succeed and some do not)"
    at: dict[str, list[str]] = {}
    for size, index in zip(comparison.compared, leaders.indices, strict=True):
        at.setdefault(comparison.models[index], []).append(count(size))
    best = "; ".join(f"{model} at {listed(sizes)}" for model, sizes in at.items())
    return f"{_where(comparison)} is not determined{why}; best mean: {best}"


def _where(comparison: SizeComparison) -> str:
    first, last = comparison.parameters[0], comparison.parameters[-1]
    return f"whether the leader changes between {count(first)} and {count(last)} parameters"


def _left_out(comparison: SizeComparison) -> str:
    """Name the sizes and the models that the sentence does not count; '' if there are none."""
    sizes = [count(size) for size in comparison.parameters if size not in comparison.compared]
    searched = {row.model for section in comparison.sections for row in section.rows if row.setting == "searched"}
    models = sorted(searched - set(comparison.models))
    parts = [f"; nothing was learned at {listed(sizes)}"] if sizes else []
    parts += [f"; not ranked at every size: {listed(models)}"] if models and len(comparison.models) > 1 else []
    return "".join(parts)


def sizes_blocks(comparison: SizeComparison, pictures: Sequence[Picture] = ()) -> list[Block]:
    """Return the section of one task: heading, sentence, a table of scores by size, figure and notes."""
    first = comparison.sections[0]
    name = short(quote(first.metric.name), NAME_LIMIT)
    header = ("model", *(f"test {name} at {count(size)} parameters" for size in comparison.parameters))
    models = dict.fromkeys(row.model for section in comparison.sections for row in section.rows)
    rows = tuple((Datum(model), *(_score(section, model) for section in comparison.sections)) for model in models)
    return [
        Heading(f"{comparison.task}, score against parameters", 2),
        Paragraph(size_sentence(comparison)),
        Table(header, rows),
        Notes(_notes(comparison)),
        *pictures,
    ]


def _score(section: Section, model: str) -> Datum:
    row = next((row for row in section.rows if row.model == model), None)
    if row is None or row.test is None:
        return Datum(NOTHING)
    return Datum(mean_interval(row.test.mean, row.test.interval), row.test.mean, row.rank == 1)


def _notes(comparison: SizeComparison) -> tuple[str, ...]:
    notes = [
        "Mean over repetitions with its 95 % interval; bold: the best mean at that size. Decisions between models are "
        "made at each size alone, with Holm's correction.",
        "The leader changes where the mean paired difference of the two models is zero, interpolated linearly over log "
        "parameters between neighbouring sizes. The interval is that of the bootstrap over repetitions (percentiles, "
        f"expanded for few values); it needs {MINIMUM_PAIRS} repetitions. It treats the configuration that the search "
        "found at each size as fixed.",
    ]
    mixed = dict.fromkeys(
        f"{result.facts.cell.model} at {count(section.parameters)}"
        for section in comparison.sections
        for result in section.results
        if result.mixed and result.facts.cell.model in comparison.models
    )
    if mixed:
        notes.append(f"Some repetitions succeed and some do not, so the mean describes neither: {listed([*mixed])}.")
    return tuple(notes)
