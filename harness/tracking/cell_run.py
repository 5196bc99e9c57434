"""The contents of a cell's MLflow run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

from harness.analysis.cell_result import CellResult
from harness.analysis.statistics import Proportion, Summary
from harness.records import Outcome, digest_of
from harness.tracking.description import cell_description, curve_name
from harness.tracking.run_data import (
    DESCRIPTION,
    TAG_LIMIT,
    DataInput,
    RunData,
    Sample,
    cut,
    finite_samples,
    flatten,
    milliseconds,
    non_finite_tags,
    to_json,
)
from harness.tracking.trial_run import weights_artifact

DIGEST_LIMIT = 36
"""Characters of a data set's digest that MLflow stores."""


def cell_run_data(result: CellResult, folder: Path, created: float) -> RunData:
    """Return the contents of a cell's run: its allocated budget and the summary of its trials.

    folder: of the study.  created: when the study was created, in seconds since 1970.
    """
    facts, setting = result.facts, result.setting
    # MLflow rejects a param that changes, so what may change is stored as tags.
    not_params = {"trials", "repetitions", "fingerprint", "others", "default_options"}
    tags = {
        "harness.task": facts.cell.task,
        "harness.model": facts.cell.model,
        "harness.state": result.state,
        "harness.reason": result.reason,
        "harness.trials_granted": str(facts.trials),
        "harness.repetitions_granted": str(facts.repetitions),
        "harness.fingerprint": to_json(facts.fingerprint),
        "harness.winner": result.winner.trial.key if result.winner is not None else "",
        "harness.winner_params": to_json(dict(setting.params)) if setting is not None else "",
        DESCRIPTION: cell_description(result),
    }
    samples = [*_cell_samples(result, created), *_winner_curve(result)]
    finished = result.state in ("complete", "partial") and setting is not None
    files, missing = _first_weights(result, folder) if finished else ({}, {})
    return RunData(
        metrics=(*finite_samples(samples), *_outdated(result, created)),
        params=flatten(facts.model_dump(mode="json", exclude=not_params)),
        tags={name: cut(value, TAG_LIMIT) for name, value in tags.items()} | non_finite_tags(samples) | missing,
        texts={"winner.json": to_json(setting)} if finished and setting is not None else {},
        files=files,
        inputs=_inputs(result),
    )


def _inputs(result: CellResult) -> tuple[DataInput, ...]:
    """Return the splits of the cell's task, which MLflow lists as data sets of the run.

    Their digest is of the files and of the task's options, which together decide what a split holds.
    """
    facts = result.facts
    digest = digest_of([facts.fingerprint.get(part) for part in ("task options", "data")])[:DIGEST_LIMIT]
    source = f"task {facts.task.name} {to_json(facts.task.options)}"
    return tuple(
        DataInput(f"{facts.cell.task} {split}", digest, source, context)
        for split, context in (("train", "training"), ("validation", "validation"), ("test", "test"))
    )


def _first_weights(result: CellResult, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the weights of the first final trial that has any: see `weights_artifact`."""
    trained = (entry for entry in result.finals if entry.result is not None and entry.result.weights is not None)
    first = next(trained, None)
    return weights_artifact(first, folder) if first is not None else ({}, {})


def _cell_samples(result: CellResult, created: float) -> list[Sample]:
    """Return the summary as curves over the number of ended trials.

    Step and time depend on the ended trials alone, so sending the summary again changes nothing.
    """
    step, time = _progress(result, created)
    values: dict[str, float | None] = {
        "best_validation": result.best_validation,
        "search_updates": _search_updates(result) if result.facts.rungs else None,
        "trials_done": result.search_ended,
        "repetitions_done": result.finals_ended,
        "test_opened": result.test_opened,
        **{
            f"outcomes/{outcome}": result.outcomes[outcome]
            for outcome in get_args(Outcome)
            if outcome != "pruned" or result.facts.rungs
        },
        **_scored_values(result),
    }
    return [Sample(name, float(value), time, step) for name, value in values.items() if value is not None]


def _search_updates(result: CellResult) -> int:
    return sum(entry.result.updates for entry in result.search if entry.result is not None)


def _outdated(result: CellResult, created: float) -> list[Sample]:
    """Return NaN for each metric of the repetitions that has no value now, though it may have had one before.

    MLflow cannot remove a metric, and shows its last value.  Without the NaN that would be an interval from before a
    repetition failed, or the mean of an earlier winner.
    """
    if not (result.finals_ended or result.superseded):
        return []
    step, time = _progress(result, created)
    return [Sample(name, math.nan, time, step) for name, value in _scored_values(result).items() if value is None]


def _progress(result: CellResult, created: float) -> tuple[int, int]:
    """Return how many trials have ended, and when the last one did, in milliseconds."""
    ended = [entry.result.ended for entry in result.entries if entry.result is not None]
    return len(ended), milliseconds(max(ended, default=0) or created)


def _scored_values(result: CellResult) -> dict[str, float | None]:
    """Return the metrics that summarise the test scores of the repetitions; None if a value is not known."""
    return {
        **_success_values(result.success),
        **_summary_values("", result.summary("test")),
        **_summary_values("last3_", result.summary("test-last3")),
    }


def _winner_curve(result: CellResult) -> list[Sample]:
    """Return the winner's learning curve once the search has ended, so that the cell's page in MLflow shows it."""
    winner, metric = result.winner, result.facts.metric.name
    if winner is None or result.search_ended < result.facts.trials:
        return []
    name = curve_name(result, winner.trial)
    return [Sample(name, point.metrics[metric], milliseconds(point.time), point.update) for point in winner.points]


def _success_values(success: Proportion | None) -> dict[str, float | None]:
    if success is None:
        return dict.fromkeys(("success_rate", "success_low", "success_high"))
    low, high = success.interval.low, success.interval.high
    return {"success_rate": success.share, "success_low": low, "success_high": high}


def _summary_values(prefix: str, summary: Summary | None) -> dict[str, float | None]:
    median = summary.median_interval if summary is not None else None
    interval = summary.interval if summary is not None else None
    return {
        f"{prefix}mean": summary.mean if summary is not None else None,
        f"{prefix}median": summary.median if summary is not None else None,
        f"{prefix}std": summary.std if summary is not None else None,
        f"{prefix}interval_low": interval.low if interval is not None else None,
        f"{prefix}interval_high": interval.high if interval is not None else None,
        f"{prefix}median_low": median.low if median is not None else None,
        f"{prefix}median_high": median.high if median is not None else None,
    }
