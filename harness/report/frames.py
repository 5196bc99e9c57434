"""Results as data frames.  Their columns, dtypes and units are declared in `columns`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import get_args

import pandas as pd

from harness.analysis.cell_result import CellResult, Curves
from harness.analysis.comparison import Section
from harness.analysis.comparison_row import Row
from harness.analysis.size_comparison import SizeComparison
from harness.analysis.statistics import Interval, Summary
from harness.analysis.stored_study import StoredStudy
from harness.halving import Rung, rung_of
from harness.ledger.journal import TrialEntry
from harness.records import Outcome
from harness.report.columns import (
    BEST_OF_K,
    COMPARISON,
    CURVES,
    DECISIONS,
    LEADER_CHANGES,
    SCORES,
    TIMES,
    TRIALS,
    Values,
    to_frame,
)
from harness.report.report import Report


def trials(stored: StoredStudy) -> pd.DataFrame:
    """Return one row per trial: `columns.TRIALS`, `params.<dimension>` and `<split>/<metric>`."""
    return to_frame(
        (
            _trial(entry, result.facts.rungs, superseded=superseded)
            for result in stored.results
            for entries, superseded in ((result.search, False), (result.finals, False), (result.superseded, True))
            for entry in entries
        ),
        TRIALS,
    )


def _trial(entry: TrialEntry, rungs: Sequence[Rung], *, superseded: bool) -> Values:
    trial, result = entry.trial, entry.result
    line: Values = {name: getattr(trial, name) for name in TRIALS if name in type(trial).model_fields or name == "key"}
    line |= {
        "task": trial.cell.task,
        "model": trial.cell.model,
        "superseded": superseded,
        "attempt": entry.attempt,
        "widths": " ".join(map(str, trial.widths)),
        **{f"seed_{axis}": seed for axis, seed in trial.seeds.model_dump().items()},
        **{f"params.{name}": value for name, value in trial.params.items()},
    }
    if result is None:
        return line
    line |= {name: getattr(result, name) for name in TRIALS if name in type(result).model_fields}
    line |= {name: getattr(result, name) or None for name in TIMES}
    if rungs and trial.phase == "search":
        line["rung"] = rung_of(result.updates, rungs)
    return line | {
        f"{split}/{name}": value for split, values in result.metrics.items() for name, value in values.items()
    }


def scores(stored: StoredStudy) -> pd.DataFrame:
    """Return one row per current final trial, split and metric: `columns.SCORES`."""
    return to_frame((line for result in stored.results for line in _scores(result)), SCORES)


def _scores(result: CellResult) -> Iterator[Values]:
    facts = result.facts
    for entry in result.finals:
        for split, metrics in (entry.result.metrics if entry.result is not None else {}).items():
            for name, score in metrics.items():
                metric = facts.metric_of(name)
                ranks = name == facts.metric.name
                on_test = ranks and split != "validation"
                yield {
                    "task": facts.cell.task,
                    "model": facts.cell.model,
                    "repetition": entry.trial.repetition,
                    "metric": name,
                    "unit": metric.unit if metric else "",
                    "better": metric.better if metric else None,
                    "split": split,
                    "score": score,
                    "published": facts.published if on_test else None,
                    "baseline": (facts.floor if on_test else facts.validation_floor) if ranks else None,
                    "key": entry.trial.key,
                }


def curves(stored: StoredStudy) -> pd.DataFrame:
    """Return one row per trial, evaluation and quantity: `columns.CURVES`.

    A study that was read from MLflow has the curves of final trials only, in the cell's metric and the gradient norm,
    and without epochs and times.
    """
    return to_frame((line for entry in stored.entries for line in _curve(entry, stored.curves)), CURVES)


def _curve(entry: TrialEntry, stored: Curves) -> Iterator[Values]:
    trial = entry.trial
    line: Values = {
        "task": trial.cell.task, "model": trial.cell.model, "phase": trial.phase, "number": trial.number,
        "repetition": trial.repetition, "key": trial.key,
    }  # fmt: skip
    for point in entry.points:
        place = {"update": point.update, "epoch": point.epoch, "seconds": point.seconds}
        quantities = {name: getattr(point, name) for name in ("train_loss", "learning_rate", "gradient_norm")}
        quantities |= {f"validation/{name}": value for name, value in point.metrics.items()}
        for name, value in quantities.items():
            yield line | place | {"quantity": name, "value": value}
    if not entry.points:
        for name, curve in stored.get(trial.key, {}).items():
            quantity = name if name == "gradient_norm" else f"validation/{name}"
            for update, value in curve:
                yield line | {"update": update, "quantity": quantity, "value": value}


def decisions(report: Report) -> pd.DataFrame:
    """Return one row per two models of a task that can be compared: `columns.DECISIONS`."""
    return to_frame(
        (
            {
                "task": section.task,
                "model": pair.first,
                "other": pair.second,
                "verdict": pair.decision.verdict,
                "wins": pair.decision.wins,
                "ties": pair.decision.ties,
                "pairs": pair.decision.n,
                "probability": pair.decision.probability,
                **_interval("", pair.decision.interval),
                **_interval("difference_", pair.decision.difference),
                "needed": pair.decision.needed,
            }
            for section in report.sections
            for pair in section.pairs
        ),
        DECISIONS,
    )


def best_of_k(report: Report) -> pd.DataFrame:
    """Return the tuning curves, one row per cell and number of trials: `columns.BEST_OF_K`.

    The best score so far if the sampler depends on earlier trials, or under pruning.
    """
    return to_frame(
        (
            {"task": section.task, "model": model, "k": k, "expected": expected, "low": low, "high": high}
            | ({"updates": curve.updates[k - 1]} if curve.updates else {})
            for section in report.sections
            for model, curve in section.tuning.items()
            for k, (expected, low, high) in enumerate(zip(curve.expected, curve.low, curve.high, strict=True), start=1)
        ),
        BEST_OF_K,
    )


def leader_changes(report: Report) -> pd.DataFrame:
    """Return one row per change of the leader, one without a change for other tasks: `columns.LEADER_CHANGES`."""
    return to_frame((line for sizes in report.sizes for line in _leaders(sizes)), LEADER_CHANGES)


def _leaders(sizes: SizeComparison) -> Iterator[Values]:
    leaders, models = sizes.leaders, sizes.models
    line: Values = {"task": sizes.task, "verdict": "undetermined" if leaders is None else leaders.verdict}
    if leaders is None or not leaders.changes:
        only = leaders is not None and len(set(leaders.indices)) == 1
        yield line | ({"before": models[leaders.indices[0]]} if leaders is not None and only else {})
        return
    for change in leaders.changes:
        low, high = change.interval.low, change.interval.high
        yield line | {
            "before": models[change.before],
            "after": models[change.after],
            "parameters": change.parameters,
            "low": low if low > 0 else None,
            "high": high if math.isfinite(high) else None,
        }


def comparison(*reports: Report) -> pd.DataFrame:
    """Return one row per cell, cells that were left out last in their study: `columns.COMPARISON`."""
    return to_frame((line for report in reports for line in _cells(report)), COMPARISON)


def _cells(report: Report) -> Iterator[Values]:
    study: Values = {"study": report.study, "study_id": report.study_id, "protocol": report.protocol}
    for section in report.sections:
        yield from (study | _cell(section, place) for place in range(len(section.rows)))
    for left in report.left_out:
        cell = (left.cell.task, left.cell.model, "left-out", left.reason)
        yield study | dict(zip(("task", "model", "state", "reason"), cell, strict=True))


def _cell(section: Section, place: int) -> Values:
    row, costs, used = section.rows[place], section.trade_offs[place], section.budget_use[place]
    verdicts = {reproduction.model: reproduction.verdict for reproduction in section.reproductions}
    line: Values = {name: getattr(costs, name) for name in COMPARISON if hasattr(costs, name)}
    line |= {name: getattr(row, name) for name in COMPARISON if hasattr(row, name)}
    return line | {
        "task": section.task,
        "metric": section.metric.name,
        "unit": section.metric.unit,
        "better": section.metric.better,
        "floor": section.floor,
        "budget": section.parameters,
        "task_parameters": section.task_parameters,
        "assumed": " ".join(row.assumed),
        **{f"search_{outcome}": row.search_outcomes.get(outcome, 0) for outcome in get_args(Outcome)},
        **{
            name: row.repetition_outcomes.get(outcome, 0)
            for outcome in get_args(Outcome)
            if (name := f"repetitions_{outcome}") in COMPARISON
        },
        **_summary("test", row.test),
        **_summary("last3", row.last3),
        **_summary("successes", row.successes),
        **_claims(row),
        "reproduction": verdicts.get(row.model),
        "updates_granted": used.updates_allocated,
        "updates_done": used.updates,
        "search_updates_granted": used.search_updates_allocated,
        "search_updates_done": used.search_updates,
        "fewest_updates": row.updates[0] if row.updates else None,
        "most_updates": row.updates[1] if row.updates else None,
    }


def _summary(part: str, summary: Summary | None) -> Values:
    if summary is None:
        return {}
    values = {name: getattr(summary, name) for name in ("n", "mean", "median", "std", "scale")}
    values |= {**_interval("", summary.interval), **_interval("median_", summary.median_interval)}
    return {f"{part}_{name}": value for name, value in values.items()}


def _claims(row: Row) -> Values:
    line: Values = {}
    if (success := row.success) is not None:
        line |= {f"success_{name}": getattr(success, name) for name in ("happened", "n", "share")}
        line |= _interval("success_", success.interval)
    if (decision := row.against_best) is not None:
        names = ("verdict", "wins", "ties", "n", "probability", "needed")
        line |= {f"against_best_{name}": getattr(decision, name) for name in names}
        line |= _interval("against_best_", decision.interval)
    return line


def _interval(prefix: str, interval: Interval | None) -> Values:
    return {} if interval is None else {f"{prefix}low": interval.low, f"{prefix}high": interval.high}
