"""Results → tables: a section a task, a row a model, how complete they are and what every spread is over."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import pandas as pd

from harness.comparison import Row, Section, compare
from harness.records import LeftOut, MetricFacts, Outcome, ParamValue, digest_of
from harness.results import StoredStudy
from harness.statistics import Summary
from harness.table import NOTHING, bold, count, escape, markdown_table, number, percent

VARIES = "repetitions: fresh data order, initial weights, dropout (and synthetic training data)"
"""What the spread of a mean is over."""
GIB = 2**30
FIXED_SHOWN = 8
"""Numbers of a drawn order that a note begins with."""


@dataclass(frozen=True)
class Report:
    study: str
    study_id: str
    protocol: str
    sampler: str
    seed: int
    others: tuple[str, ...]
    """Older study ids of this name."""
    sections: tuple[Section, ...]
    left_out: tuple[LeftOut, ...]
    ended: int
    """Trials that the store holds to the end."""
    marked: int | None
    """Trials that the ledger held to the end when the store was last brought up to it."""

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for section in self.sections for row in section.rows)


def build_report(stored: StoredStudy) -> Report:
    manifest = stored.manifest
    return Report(
        study=manifest.study,
        study_id=manifest.study_id,
        protocol=manifest.protocol,
        sampler=manifest.sampler,
        seed=manifest.seed,
        others=stored.others,
        sections=compare(stored),
        left_out=manifest.left_out,
        ended=sum(entry.result is not None for entry in stored.entries),
        marked=stored.mark.ended if stored.mark is not None else None,
    )


def build_table(stored: StoredStudy) -> pd.DataFrame:
    """Mean test score of complete cells: a row a task, a column a model; missing where a cell is not complete."""
    report = build_report(stored)
    models = list(dict.fromkeys(row.model for row in report.rows))
    scores = {
        section.task: {row.model: row.test.mean for row in section.rows if row.complete and row.test is not None}
        for section in report.sections
    }
    return pd.DataFrame.from_dict(scores, orient="index", columns=models, dtype="float64").rename_axis("task")


def to_markdown(report: Report) -> str:
    """The report as GitHub's Markdown."""
    parts = [_title(report), *(_section_text(section) for section in report.sections)]
    if report.left_out:
        lines = [f"- {escape(str(left.cell))}: {escape(left.reason)}" for left in report.left_out]
        parts.append("\n".join(["## Left out", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _title(report: Report) -> str:
    facts = [f"protocol {report.protocol}", f"sampler {escape(report.sampler)}", f"seed {report.seed}"]
    lines = [
        f"# {escape(report.study)}",
        "",
        f"Study {escape(report.study_id)}: {', '.join(facts)}.",
        _completeness(report),
    ]
    if report.others:
        others = ", ".join(escape(other) for other in report.others)
        lines.append(f"The newest study of this name is shown; older ones: {others}.")
    return "\n".join(lines)


def _completeness(report: Report) -> str:
    cells = len(report.rows)
    complete = sum(row.complete for row in report.rows)
    held = f"the store holds {count(report.ended)} trials that have ended"
    marked = (
        "and no mark of how many there are" if report.marked is None else f"of {count(report.marked)} in the ledger"
    )
    return f"{complete} of {cells} cells are complete; {held}, {marked}."


_HEADER = (
    "model", "rank", "test: mean [95 %]", "std", "n", "last 3", "best validation", "parameters", "off budget",
    "search trials", "updates", "published",
)  # fmt: skip


def _section_text(section: Section) -> str:
    metric = section.metric
    unit = f" in {escape(metric.unit)}" if metric.unit else ""
    facts = [f"{escape(metric.name)}{unit}, {metric.better} is better"]
    facts += [f"floor {number(section.floor)}"] if section.floor is not None else []
    facts += _size(section)
    facts += [escape(f"{name} = {_value(value)}") for name, value in section.options.items()]
    table = markdown_table(_HEADER, [_cells(row) for row in section.rows])
    notes = "\n".join(f"- {note}" for note in _notes(section))
    return f"## {escape(section.task)}\n\n{'; '.join(facts)}.\n\n{table}\n\n{notes}"


def _size(section: Section) -> list[str]:
    if section.parameters is not None:
        return [f"budget {count(section.parameters)} parameters"]
    return [f"published size {count(section.task_parameters)} parameters"] if section.task_parameters else []


def _cells(row: Row) -> list[str]:
    n = row.test.n if row.test is not None else 0
    return [
        escape(row.model),
        _rank(row),
        _test(row),
        number(row.test.std if row.test is not None else None),
        f"{n}/{row.repetitions_granted}{_lost(row.repetition_outcomes)}",
        number(row.last3.mean if row.last3 is not None else None),
        number(row.best_validation),
        count(row.parameters),
        percent(row.deviation_percent),
        _search(row),
        _updates(row),
        number(row.published),
    ]


def _rank(row: Row) -> str:
    if row.setting == "published":
        return "published" if row.complete else f"published, {row.standing}"
    if row.rank is None:
        return row.standing
    return f"{row.rank} (≈ 1)" if row.equivalent else str(row.rank)


def _test(row: Row) -> str:
    if row.state == "failed":
        return f"FAILED: {escape(row.reason)}" if row.reason else "FAILED"
    if row.test is None:
        return NOTHING
    interval = row.test.interval
    mean = bold(number(row.test.mean)) if row.rank == 1 else number(row.test.mean)
    return mean if interval is None else f"{mean} [{number(interval.low)}, {number(interval.high)}]"


def _search(row: Row) -> str:
    if not row.search_granted:
        return NOTHING
    return f"{row.search_ended}/{row.search_granted}{_lost(row.search_outcomes)}"


def _updates(row: Row) -> str:
    if row.updates is None:
        return NOTHING
    fewest, most = row.updates
    return count(most) if fewest == most else f"{count(fewest)} to {count(most)}"


def _lost(outcomes: Mapping[str, int]) -> str:
    lost = [f"{n} {outcome}" for outcome, n in outcomes.items() if outcome != "complete"]
    return f" ({', '.join(lost)})" if lost else ""


def _notes(section: Section) -> list[str]:
    notes = [_spread(section.metric)]
    if any(row.equivalent for row in section.rows):
        notes.append(
            f"≈ 1: within {number(section.metric.margin)} of the best on a {section.metric.scale} scale, "
            "which counts as equivalent."
        )
    if any(row.last3 is not None for row in section.rows):
        notes.append("last 3: mean over repetitions, each the mean over the weights of its last three evaluations.")
    notes += [_fixed(name, values) for name, values in section.fixed.items()]
    for limit in {row.evaluation_limit for row in section.rows if row.evaluation_limit is not None}:
        notes.append(f"a try: scored on the first {count(limit)} held-out sequences, or windows of a stream, alone.")
    sources = dict.fromkeys(row.published_source for row in section.rows if row.published is not None)
    if sources:
        notes.append(f"published: {escape('; '.join(sources))}.")
    if section.parameters is None and any(row.deviation_percent is not None for row in section.rows):
        notes.append("off budget: from the task's published size, since published widths stand as they are.")
    if any(row.setting == "published" for row in section.rows):
        notes.append(
            "rank “published”: a published setting beside the search, chosen with the test set in view and not ranked."
        )
    for row in section.rows:
        notes += [f"{escape(row.model)}: {note}" for note in _row_notes(row, section.metric)]
    return notes


def _fixed(name: str, values: Sequence[int]) -> str:
    first = " ".join(map(str, values[:FIXED_SHOWN]))
    return (
        f"{escape(name)}: {count(len(values))} numbers drawn from the study's seed, the same in every trial, "
        f"{first} …, sha256 {digest_of(list(values))[:16]}; whole in manifest.json."
    )


def _spread(metric: MetricFacts) -> str:
    how = "mean, std and Student's t interval are over"
    if metric.scale == "log":
        how = "mean (geometric), std (of natural logarithms) and Student's t interval (on a log scale) are over"
    return f"test: {how} {VARIES}; the weights of the best validation are scored."


def _row_notes(row: Row, metric: MetricFacts) -> list[str]:
    measured = [*_dimensions(row), *_cost(row), *_rejected(row)]
    notes = [f"{'; '.join(measured)}."] if measured else []
    if row.reason and row.state != "failed":
        notes.append(f"{escape(row.reason)}.")
    if row.test is not None and row.test.scale != metric.scale:
        notes.append("a score is not positive, so its mean, std and interval are on a linear scale.")
    if row.superseded:
        notes.append(
            f"{row.superseded} repetitions of an earlier winner are superseded; the test split was scored "
            f"{row.test_opened} times in all."
        )
    if row.assumed:
        notes.append(f"assumed, since its source does not state them: {escape(', '.join(row.assumed))}.")
    return notes


def _dimensions(row: Row) -> list[str]:
    pairs = ", ".join(escape(f"{name}={_value(value)}") for name, value in row.dimensions.items())
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
    return [*seconds, f"peak memory {number(row.peak_bytes / GIB)} GiB"] if row.peak_bytes is not None else seconds


def _rejected(row: Row) -> list[str]:
    if not row.rejections:
        return []
    draws = "1 draw rejected" if row.rejections == 1 else f"{row.rejections} draws rejected, most often"
    return [f"{draws}: {escape(row.rejection)}"]


def to_csv(report: Report) -> str:
    """One line a cell, at full precision; cells that were left out come last, with their reason."""
    lines = [_csv_line(report, section, row) for section in report.sections for row in section.rows]
    lines += [
        {
            "study_id": report.study_id,
            "task": left.cell.task,
            "model": left.cell.model,
            "state": "left-out",
            "reason": left.reason,
        }
        for left in report.left_out
    ]
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _csv_value(value) for name, value in line.items()} for line in lines)
    return file.getvalue()


_OF_ROW = (
    "model", "setting", "state", "rank", "equivalent", "reason", "parameters", "deviation_percent", "search_ended",
    "search_granted", "repetitions_ended", "repetitions_granted", "lacking", "best_validation", "published",
    "published_source", "superseded", "test_opened", "seconds", "peak_bytes", "rejections", "evaluation_limit",
)  # fmt: skip
_OF_SUMMARY = ("n", "mean", "median", "std", "low", "high", "scale")
_OUTCOMES = get_args(Outcome)
CSV_COLUMNS = (
    "study_id", "task", "metric", "unit", "better", "floor", "budget", "task_parameters", *_OF_ROW, "assumed",
    "fewest_updates", "most_updates",
    *(f"{phase}_{outcome}" for phase in ("search", "repetitions") for outcome in _OUTCOMES),
    *(f"{part}_{name}" for part in ("test", "last3") for name in _OF_SUMMARY),
)  # fmt: skip


def _csv_line(report: Report, section: Section, row: Row) -> dict[str, object]:
    return {
        "study_id": report.study_id,
        "task": section.task,
        "metric": section.metric.name,
        "unit": section.metric.unit,
        "better": section.metric.better,
        "floor": section.floor,
        "budget": section.parameters,
        "task_parameters": section.task_parameters,
        **{name: getattr(row, name) for name in _OF_ROW},
        "assumed": " ".join(row.assumed),
        "fewest_updates": row.updates[0] if row.updates else None,
        "most_updates": row.updates[1] if row.updates else None,
        **{f"search_{outcome}": row.search_outcomes.get(outcome, 0) for outcome in _OUTCOMES},
        **{f"repetitions_{outcome}": row.repetition_outcomes.get(outcome, 0) for outcome in _OUTCOMES},
        **_csv_summary("test", row.test),
        **_csv_summary("last3", row.last3),
    }


def _csv_summary(part: str, summary: Summary | None) -> dict[str, object]:
    if summary is None:
        return {}
    interval = summary.interval
    low, high = (interval.low, interval.high) if interval is not None else (None, None)
    values = (summary.n, summary.mean, summary.median, summary.std, low, high, summary.scale)
    return {f"{part}_{name}": value for name, value in zip(_OF_SUMMARY, values, strict=True)}


def _csv_value(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
