"""The section that compares the models of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.comparison import Section
from harness.analysis.comparison_row import Row
from harness.analysis.reproduction import off_size
from harness.analysis.statistics import Summary
from harness.records import ParamValue, digest_of
from harness.report.document import NOTHING, Block, Datum, Heading, Notes, Paragraph, Table, quote
from harness.report.formatting import count, mean_interval, number, of_count, of_number, of_percent, short, size
from harness.report.sections import evidence

VARIES = "repetitions: fresh data order, initial weights, dropout (and synthetic training data)"
"""What varies between the scores whose spread is shown."""

SKEWED_BELOW = 2
"""Scores that cannot be negative are skewed if their mean is below this many standard deviations."""

FIXED_SHOWN = 8
"""How many numbers of a drawn order a note shows."""

NAME_LIMIT = 20
"""Characters of a metric's name in a table header."""


def _header(section: Section) -> tuple[str, ...]:
    return (
        "model", "rank", f"test {short(quote(section.metric.name), NAME_LIMIT)} (mean, 95 % CI)", "median (95 % CI)",
        "std", "success rate (95 % CI)", "vs. best model", "last 3 evaluations", "best validation score", "parameters",
        "deviation from budget", "search trials", "updates", "published",
    )  # fmt: skip


MAIN_COLUMNS = (0, 1, 2, 6, 5, 9)
"""Places in the table of what matters most, the most important first: model, rank, test score, against the best model,
success rate, parameters."""


def comparison_blocks(section: Section) -> list[Block]:
    """Return the comparison of one task: heading, facts, table and notes."""
    metric = section.metric
    unit = f" in {quote(metric.unit)}" if metric.unit else ""
    facts = [f"{quote(metric.name)}{unit}, {metric.better} is better"]
    facts += [f"floor {number(section.floor)}"] if section.floor is not None else []
    facts += _size(section)
    facts += [quote(f"{name} = {_value(value)}") for name, value in section.ref.options.items()]
    table, notes = comparison_table(section), Notes(tuple(_notes(section)))
    return [Heading(section.task, 2), Paragraph(f"{'; '.join(facts)}."), table, notes]


def comparison_table(section: Section) -> Table:
    """Return the table of one task: a row per model."""
    return Table(_header(section), tuple(_cells(row) for row in section.rows))


def _size(section: Section) -> list[str]:
    if section.parameters is not None:
        return [f"budget {count(section.parameters)} parameters"]
    return [f"published size {count(section.task_parameters)} parameters"] if section.task_parameters else []


def _cells(row: Row) -> tuple[Datum, ...]:
    return (
        Datum(row.model),
        Datum(_rank(row), row.rank),
        _test(row),
        _median(row),
        of_number(row.test.std if row.test is not None else None),
        _success(row),
        _against(row),
        of_number(row.last3.mean if row.last3 is not None else None),
        of_number(row.best_validation),
        of_count(row.parameters),
        of_percent(row.deviation_percent),
        Datum(_search(row), row.search_ended),
        _updates(row),
        of_number(row.published),
    )


def _rank(row: Row) -> str:
    mark = f" ({off_budget(row)})" if row.off_budget else ""
    if row.setting == "published":
        return ("published" if row.complete else f"published, {row.status}") + mark
    return (row.status if row.rank is None else str(row.rank)) + mark


def off_budget(row: Row) -> str:
    """Return how far a row is off the budget, in words."""
    return f"off budget {of_percent(row.deviation_percent).text}"


def _test(row: Row) -> Datum:
    if row.state == "failed":
        return Datum(f"FAILED: {quote(row.reason)}" if row.reason else "FAILED")
    if row.test is None:
        return Datum(NOTHING)
    return Datum(mean_interval(row.test.mean, row.test.interval), row.test.mean, row.rank == 1)


def _median(row: Row) -> Datum:
    if row.test is None:
        return Datum(NOTHING)
    return Datum(mean_interval(row.test.median, row.test.median_interval), row.test.median)


def _success(row: Row) -> Datum:
    failures = _failures(row.repetition_outcomes)
    if row.success is None:
        return Datum(f"0/{row.repetitions_granted}{failures}", 0)
    shown = f"{row.success.happened}/{row.success.n}"
    interval = row.success.interval
    return Datum(f"{shown}{failures} [{interval.low:.2f}, {interval.high:.2f}]", row.success.share)


def _against(row: Row) -> Datum:
    decision = row.against_best
    if decision is None:
        return Datum("best mean" if row.rank is not None else NOTHING)
    undecided = decision.verdict == "undecided"
    text = evidence.inconclusive(decision.n, decision.needed) if undecided else decision.verdict
    return Datum(text, decision.probability)


def _search(row: Row) -> str:
    if not row.search_granted:
        return NOTHING
    return f"{row.search_ended}/{row.search_granted}{_failures(row.search_outcomes)}"


def _updates(row: Row) -> Datum:
    if row.updates is None:
        return Datum(NOTHING)
    fewest, most = row.updates
    return Datum(count(most) if fewest == most else f"{count(fewest)} to {count(most)}", most)


def _failures(outcomes: Mapping[str, int]) -> str:
    counts = [f"{n} {outcome}" for outcome, n in outcomes.items() if outcome != "complete"]
    return f" ({', '.join(counts)})" if counts else ""


def _notes(section: Section) -> list[str]:
    rows = section.rows
    notes = [*_spread(section), _success_rule(section)]
    if any(row.last3 is not None for row in rows):
        notes.append(
            "last 3 evaluations: mean over repetitions, each the mean over the weights of its last three evaluations."
        )
    notes += [_fixed(name, values) for name, values in section.fixed.items()]
    sampled = any(result.facts.sampled_floors for result in section.results)
    for limit in {row.evaluation_limit for row in rows if row.evaluation_limit is not None}:
        notes.append(
            f"partial evaluation: scored on {count(limit)} sequences, or windows of a stream, drawn from each held-out "
            f"split, the same for every model; floors are of the {'same sample' if sampled else 'whole splits'}."
        )
    sources = dict.fromkeys(row.published_source for row in rows if row.published is not None)
    if sources:
        notes.append(f"published: {quote('; '.join(sources))}.")
    notes += _off_budget(rows)
    if section.parameters is None and any(row.deviation_percent is not None for row in rows):
        notes.append(
            "deviation from budget: relative to the task's published size. Protocol paper keeps published widths, so "
            "no tolerance applies, and the deviation does not affect the rank."
        )
    if sources and any(off_size(result.facts) for result in section.results):
        notes.append(
            f"published values are for {count(section.task_parameters)} parameters and this budget is "
            f"{count(section.parameters)}: no verdict on their reproduction."
        )
    if any(row.setting == "published" for row in rows):
        notes.append(
            "rank “published”: a published setting, shown for reference. It was chosen with the test set in view, so "
            "it is not ranked."
        )
    return [*notes, *(f"{row.model}: {note}" for row in rows for note in _row_notes(row))]


def _off_budget(rows: Sequence[Row]) -> list[str]:
    """Explain why rows that are off the budget have no rank, or have one."""
    marked = [row for row in rows if row.off_budget]
    if not marked:
        return []
    ranked = (
        "They are ranked, since the study has budget.allow_deviation = true."
        if marked[0].allow_deviation
        else "They are neither ranked nor compared in pairs; budget.allow_deviation = true ranks them."
    )
    return [
        "off budget: one step of the model's widths changes the count by so much that no widths are within "
        f"budget.tolerance: {', '.join(row.model for row in marked)}. {ranked}"
    ]


def _fixed(name: str, values: Sequence[int]) -> str:
    first = " ".join(map(str, values[:FIXED_SHOWN]))
    return (
        f"{quote(name)}: {count(len(values))} numbers drawn from the study's seed, the same in every trial: "
        f"{first} …, sha256 {digest_of(list(values))[:16]}; all are in manifest.json."
    )


def _spread(section: Section) -> list[str]:
    how = "mean, std and Student's t interval are over"
    if section.scale == "log":
        how = "mean (geometric), std (of natural logarithms) and Student's t interval (on a log scale) are over"
    notes = [f"test: {how} {VARIES}; the weights of the best validation score are used."]
    if any(row.test is not None and row.test.median_interval is not None for row in section.rows):
        notes.append("median: exact interval for any distribution; for five repetitions it is their range, at 93.75 %.")
    if section.scale != section.metric.scale:
        notes.append("a score is not positive, so all means, stds and intervals of this task are on a linear scale.")
    return notes


def _success_rule(section: Section) -> str:
    over = "as a share of finished repetitions, with an exact 95 % interval"
    if section.floor is None:
        return f"success rate: repetitions with a test score, {over}."
    margin = evidence.margin_of(section.metric)
    return f"success rate: repetitions better than the floor by more than {margin}, {over}."


def _row_notes(row: Row) -> list[str]:
    measured = [*_dimensions(row), *_cost(row), *_rejected(row)]
    notes = [f"{'; '.join(measured)}."] if measured else []
    notes += [f"not comparable: {row.refused}."] if row.refused else []
    notes += [f"{row.capped}."] if row.capped else []
    if row.reason and row.state != "failed":
        notes.append(f"{quote(row.reason)}.")
    notes += [_given_success(row.successes)] if row.successes is not None else []
    if row.test is not None and row.test.interval is not None and _is_skewed(row.test):
        notes.append(
            "its std is more than half its mean. On a linear scale Student's interval is then too short: it covers "
            "88 % at 5 repetitions of exponential scores. Use the interval of the median, or a log scale."
        )
    if row.superseded:
        notes.append(
            f"{row.superseded} repetitions of an earlier winner are superseded; the test split was scored "
            f"{row.test_opened} times in total."
        )
    if row.assumed:
        notes.append(f"assumed, since the source states them otherwise or not at all: {quote(', '.join(row.assumed))}.")
    return notes


def _given_success(successes: Summary) -> str:
    """Explain how to read a cell in which some repetitions succeed and some do not."""
    return (
        "runs split into successes and failures, so the mean is not meaningful and has no interval. Mean of the "
        f"{successes.n} successful runs, given success: {mean_interval(successes.mean, successes.interval)}."
    )


def _is_skewed(summary: Summary) -> bool:
    return summary.scale == "linear" and summary.std is not None and 0 < summary.mean < SKEWED_BELOW * summary.std


def _dimensions(row: Row) -> list[str]:
    pairs = ", ".join(quote(f"{name}={_value(value)}") for name, value in row.dimensions.items())
    if not pairs:
        return []
    if not row.search_granted:
        return [f"published setting {pairs}"]
    return [f"{'winner' if row.search_ended >= row.search_granted else 'best so far'} {pairs}"]


def _value(value: ParamValue) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _cost(row: Row) -> list[str]:
    seconds = [f"{number(row.seconds)} s of training"] if row.seconds else []
    return [*seconds, f"peak memory {size(row.peak_bytes)}"] if row.peak_bytes is not None else seconds


def _rejected(row: Row) -> list[str]:
    if not row.rejections:
        return []
    if row.rejections == 1:
        return [f"1 configuration rejected; reason: {quote(row.rejection)}"]
    return [f"{row.rejections} configurations rejected; most frequent reason: {quote(row.rejection)}"]
