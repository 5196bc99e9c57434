"""The contents of a cell's MLflow run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

from harness.analysis.cell_result import CellResult
from harness.analysis.statistics import Proportion, Summary
from harness.records import Outcome
from harness.tracking.run_data import (
    TAG_LIMIT,
    RunData,
    Sample,
    cut,
    finite_samples,
    flatten,
    milliseconds,
    non_finite_tags,
    to_json,
)
from harness.tracking.trial_run import validation_name, weights_artifact


def cell_run_data(standing: CellResult, folder: Path, created: float) -> RunData:
    """Return the run of a cell: its allocated budget and the summary of its trials."""
    facts, setting = standing.facts, standing.setting
    kept_out = {"trials", "repetitions", "fingerprint", "others"}  # of params, which MLflow does not let change
    tags = {
        "harness.task": facts.cell.task,
        "harness.model": facts.cell.model,
        "harness.state": standing.state,
        "harness.reason": standing.reason,
        "harness.trials_granted": str(facts.trials),
        "harness.repetitions_granted": str(facts.repetitions),
        "harness.fingerprint": to_json(facts.fingerprint),
        "harness.winner": standing.winner.trial.key if standing.winner is not None else "",
        "harness.winner_params": to_json(dict(setting.params)) if setting is not None else "",
    }
    samples = [*_cell_samples(standing, created), *_winners_curve(standing)]
    finished = standing.state in ("complete", "partial") and setting is not None
    files, missing = _first_weights(standing, folder) if finished else ({}, {})
    return RunData(
        metrics=(*finite_samples(samples), *_unknown(standing, created)),
        params=flatten(facts.model_dump(mode="json", exclude=kept_out)),
        tags={name: cut(value, TAG_LIMIT) for name, value in tags.items()} | non_finite_tags(samples) | missing,
        texts={"winner.json": to_json(setting)} if finished and setting is not None else {},
        files=files,
    )


def _first_weights(standing: CellResult, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    trained = (entry for entry in standing.finals if entry.result is not None and entry.result.weights is not None)
    first = next(trained, None)
    return weights_artifact(first, folder) if first is not None else ({}, {})


def _cell_samples(standing: CellResult, created: float) -> list[Sample]:
    """Yield aggregates as curves over ended trials. Step and time depend only on those, so a repeat changes nothing."""
    step, when = _so_far(standing, created)
    values: dict[str, float | None] = {
        "best_validation": standing.best_validation,
        "trials_done": standing.search_ended,
        "repetitions_done": standing.finals_ended,
        "test_opened": standing.test_opened,
        **{f"outcomes/{outcome}": standing.outcomes[outcome] for outcome in get_args(Outcome)},
        **_scored_values(standing),
    }
    return [Sample(name, float(value), when, step) for name, value in values.items() if value is not None]


def _unknown(standing: CellResult, created: float) -> list[Sample]:
    """NaN for what is not known of the repetitions so far, which takes the place of what an earlier set of them had.

    MLflow removes no metric, and shows the last value: an interval from before a repetition failed, or the mean of an
    earlier winner.
    """
    if not (standing.finals_ended or standing.superseded):
        return []
    step, when = _so_far(standing, created)
    return [Sample(name, math.nan, when, step) for name, value in _scored_values(standing).items() if value is None]


def _so_far(standing: CellResult, created: float) -> tuple[int, int]:
    """Return how many trials have ended, and when the last one did, in milliseconds."""
    ended = [one.result for one in standing.entries if one.result is not None]
    return len(ended), milliseconds(max((result.ended for result in ended), default=0) or created)


def _scored_values(standing: CellResult) -> dict[str, float | None]:
    return {
        **_success_values(standing.success),
        **_summary_values("", standing.summary("test")),
        **_summary_values("last3_", standing.summary("test-last3")),
    }


def _winners_curve(standing: CellResult) -> list[Sample]:
    """Yield the winner's learning curve once the search has ended, so that the cell's own page shows it.

    It is named by the winner's number: another winner, after more trials, has another curve.
    """
    best, metric = standing.winner, standing.facts.metric.name
    if best is None or standing.search_ended < standing.facts.trials:
        return []
    name = f"curve-of-winner-{best.trial.number}/{validation_name(metric)}"
    return [Sample(name, one.metrics[metric], milliseconds(one.time), one.update) for one in best.points]


def _success_values(success: Proportion | None) -> dict[str, float | None]:
    if success is None:
        return dict.fromkeys(("success_rate", "success_low", "success_high"))
    low, high = success.interval.low, success.interval.high
    return {"success_rate": success.share, "success_low": low, "success_high": high}


def _summary_values(prefix: str, summary: Summary | None) -> dict[str, float | None]:
    middle = summary.median_interval if summary is not None else None
    interval = summary.interval if summary is not None else None
    return {
        f"{prefix}mean": summary.mean if summary is not None else None,
        f"{prefix}median": summary.median if summary is not None else None,
        f"{prefix}std": summary.std if summary is not None else None,
        f"{prefix}interval_low": interval.low if interval is not None else None,
        f"{prefix}interval_high": interval.high if interval is not None else None,
        f"{prefix}median_low": middle.low if middle is not None else None,
        f"{prefix}median_high": middle.high if middle is not None else None,
    }
