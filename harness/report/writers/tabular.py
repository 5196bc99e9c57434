"""Write reports as CSV or Parquet: one row per cell, numbers at full precision, the same columns in both."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import get_args

import pandas as pd

from harness.analysis.comparison import Section
from harness.analysis.comparison_row import Row
from harness.analysis.statistics import Interval, Summary
from harness.records import Outcome
from harness.report.report import Report

_OF_ROW = (
    "model", "setting", "state", "rank", "reason", "refused", "capped", "race", "parameters", "deviation_percent",
    "search_ended", "search_granted", "repetitions_ended", "repetitions_granted", "lacking", "best_validation",
    "published", "published_source", "superseded", "test_opened", "seconds", "peak_bytes", "rejections",
    "evaluation_limit",
)  # fmt: skip
_OF_SUMMARY = ("n", "mean", "median", "std", "low", "high", "scale", "median_low", "median_high")
_OF_DECISION = ("verdict", "wins", "ties", "n", "probability", "needed")
_OF_SUCCESS = ("happened", "n", "share")
_OF_TRADE_OFFS = (
    "update_seconds", "updates_to_threshold", "reached", "gradient_norm", "gradient_swing", "state_bytes",
)  # fmt: skip
_OUTCOMES = get_args(Outcome)
COLUMNS = (
    "study", "study_id", "protocol", "task", "metric", "unit", "better", "floor", "budget", "task_parameters",
    *_OF_ROW, "assumed",
    *(f"{phase}_{outcome}" for phase in ("search", "repetitions") for outcome in _OUTCOMES),
    *(f"{part}_{name}" for part in ("test", "last3", "successes") for name in _OF_SUMMARY),
    *(f"success_{name}" for name in (*_OF_SUCCESS, "low", "high")),
    *(f"against_best_{name}" for name in (*_OF_DECISION, "low", "high")),
    "reproduction", "updates_granted", "updates_done", "fewest_updates", "most_updates", *_OF_TRADE_OFFS,
)  # fmt: skip


def to_csv(*reports: Report) -> str:
    """Return reports as CSV.

    Cells that were left out come last in their study, with the reason.  Text that a spreadsheet would read as a
    formula begins with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _csv_value(value) for name, value in line.items()} for line in _lines(reports))
    return file.getvalue()


def to_parquet(*reports: Report) -> bytes:
    """Return reports as Parquet; text is unchanged, and unknown values are null."""
    file = io.BytesIO()
    pd.DataFrame(list(_lines(reports)), columns=list(COLUMNS)).to_parquet(file, index=False)
    return file.getvalue()


def _csv_value(value: object) -> object:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _lines(reports: Sequence[Report]) -> Iterator[dict[str, object]]:
    for report in reports:
        study: dict[str, object] = {"study": report.study, "study_id": report.study_id, "protocol": report.protocol}
        for section in report.sections:
            yield from (study | _line(section, place) for place in range(len(section.rows)))
        for left in report.left_out:
            cell = (left.cell.task, left.cell.model, "left-out", left.reason)
            yield study | dict(zip(("task", "model", "state", "reason"), cell, strict=True))


def _line(section: Section, place: int) -> dict[str, object]:
    row, metric, used = section.rows[place], section.metric, section.budget_use[place]
    verdicts = {reproduction.model: reproduction.verdict for reproduction in section.reproductions}
    return {
        "task": section.task,
        "metric": metric.name,
        "unit": metric.unit,
        "better": metric.better,
        "floor": section.floor,
        "budget": section.parameters,
        "task_parameters": section.task_parameters,
        **{name: getattr(row, name) for name in _OF_ROW},
        "assumed": " ".join(row.assumed),
        **{f"search_{outcome}": row.search_outcomes.get(outcome, 0) for outcome in _OUTCOMES},
        **{f"repetitions_{outcome}": row.repetition_outcomes.get(outcome, 0) for outcome in _OUTCOMES},
        **_summary("test", row.test),
        **_summary("last3", row.last3),
        **_summary("successes", row.successes),
        **_claims(row),
        "reproduction": verdicts.get(row.model),
        "updates_granted": used.updates_allocated,
        "updates_done": used.updates,
        "fewest_updates": row.updates[0] if row.updates else None,
        "most_updates": row.updates[1] if row.updates else None,
        **{name: getattr(section.trade_offs[place], name) for name in _OF_TRADE_OFFS},
    }


def _summary(part: str, summary: Summary | None) -> dict[str, object]:
    if summary is None:
        return {}
    values = (
        summary.n, summary.mean, summary.median, summary.std, *_ends(summary.interval), summary.scale,
        *_ends(summary.median_interval),
    )  # fmt: skip
    return {f"{part}_{name}": value for name, value in zip(_OF_SUMMARY, values, strict=True)}


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval is not None else (None, None)


def _claims(row: Row) -> dict[str, object]:
    values: dict[str, object] = {}
    for part, names, claim in (
        ("success", _OF_SUCCESS, row.success),
        ("against_best", _OF_DECISION, row.against_best),
    ):
        if claim is not None:
            values |= {f"{part}_{name}": getattr(claim, name) for name in names}
            values |= {f"{part}_low": claim.interval.low, f"{part}_high": claim.interval.high}
    return values
