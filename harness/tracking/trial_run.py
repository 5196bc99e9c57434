"""The contents of a trial's MLflow run."""

from __future__ import annotations

from pathlib import Path

from harness.ledger.journal import TrialEntry
from harness.records import Point, Trial
from harness.tracking.run_data import (
    ATTEMPT,
    POINTS,
    RESULT,
    RESULT_FILE,
    STATUS,
    SUPERSEDED,
    TAG_LIMIT,
    TRIAL,
    TRIAL_FILE,
    WEIGHTS_FILE,
    RunData,
    Sample,
    cut,
    finite_samples,
    flatten,
    legal_name,
    milliseconds,
    non_finite_tags,
    to_json,
)


def trial_position(entry: TrialEntry, *, superseded: bool) -> dict[str, str]:
    """Return the tags that say how much of a trial its run holds."""
    return {
        ATTEMPT: str(entry.attempt),
        POINTS: str(len(entry.points)),
        STATUS: "open" if entry.result is None else "ended",
        SUPERSEDED: str(superseded).lower(),
    }


def trial_run_data(entry: TrialEntry, folder: Path, *, created: float, points_sent: int, params_sent: bool) -> RunData:
    """Return what the run of a trial lacks.

    folder: of the study, which contains the weights.  created: when the study was created, in seconds since 1970, for
    results without a time of their own.  points_sent: points that the run holds.  params_sent: whether it has its
    params.
    """
    curve = [sample for point in entry.points for sample in _curve(point)]
    unsent = [sample for point in entry.points[points_sent:] for sample in _curve(point)]
    end = _end_samples(entry, created)
    files, missing = weights_artifact(entry, folder)
    write_records = entry.result is not None or not params_sent
    return RunData(
        metrics=finite_samples([*unsent, *end]),
        params={} if params_sent else flatten(_settings(entry.trial)),
        tags=(_trial_tags(entry) if write_records else {}) | non_finite_tags([*curve, *end]) | missing,
        texts=_trial_texts(entry) if write_records else {},
        files=files,
    )


def validation_name(metric: str) -> str:
    """Return the name of the validation curve of a metric."""
    return f"validation/{legal_name(metric)}"


def _curve(point: Point) -> list[Sample]:
    """Return a point of a trial's curves as metrics."""
    values = {
        "train_loss": point.train_loss,
        "learning_rate": point.learning_rate,
        "gradient_norm": point.gradient_norm,
        **{validation_name(name): value for name, value in point.metrics.items()},
    }
    return [Sample(name, value, milliseconds(point.time), point.update) for name, value in values.items()]


def _end_samples(entry: TrialEntry, created: float) -> list[Sample]:
    """Return a trial's result as metrics.

    Its validation scores are those of the best evaluation, so they have a name other than that of the curve.
    """
    result = entry.result
    if result is None:
        return []
    values: dict[str, float | None] = {
        "score": result.score,
        "parameters": entry.trial.parameters,
        **{name: getattr(result, name) for name in _RESULT_METRICS},
    }
    for weights, metrics in result.metrics.items():
        prefix = "best-validation" if weights == "validation" else legal_name(weights)
        values |= {f"{prefix}/{legal_name(name)}": value for name, value in metrics.items()}
    time = milliseconds(result.ended or created)
    return [Sample(name, float(value), time, result.updates) for name, value in values.items() if value is not None]


_RESULT_METRICS = (
    "updates", "epochs", "best_update", "train_seconds", "peak_bytes", "padding", "state_bytes", "receptive_field",
    "test_opened",
)  # fmt: skip


def _settings(trial: Trial) -> dict[str, object]:
    """Return what is stored as params: everything that decides the training."""
    return {
        "task": trial.task.model_dump(mode="json"),
        "model": trial.model,
        "drawn": dict(trial.params),
        "build": dict(trial.build),
        "widths": list(trial.widths),
        "parameters": trial.parameters,
        "embedding": trial.embedding,
        "optimisation": trial.optimisation.model_dump(mode="json"),
        "training": trial.training.model_dump(mode="json"),
        "resources": trial.resources.model_dump(mode="json"),
        "seeds": trial.seeds.model_dump(mode="json"),
    }


def _trial_tags(entry: TrialEntry) -> dict[str, str]:
    trial, result = entry.trial, entry.result
    tags = {
        "harness.task": trial.cell.task,
        "harness.model": trial.cell.model,
        "harness.phase": trial.phase,
        "harness.number": str(trial.number),
        "harness.repetition": "" if trial.repetition is None else str(trial.repetition),
        "harness.winner": trial.winner or "",
        "harness.digest": trial.digest,
        "harness.plugins": to_json({plugin.name: plugin.version for plugin in trial.plugins}),
        "harness.data": to_json(trial.data),
    }
    if result is not None:
        tags |= {
            "harness.outcome": result.outcome,
            "harness.reason": result.reason,
            "harness.node": result.node,
            "harness.worker": result.worker,
            "harness.device": result.device,
            "harness.versions": to_json(result.versions),
            "harness.weights_sha256": result.weights_sha256 or "",
        }
    records = {tag: text for tag, _, text in _records(entry) if len(text) <= TAG_LIMIT}
    return {name: cut(value, TAG_LIMIT) for name, value in tags.items()} | records


def _records(entry: TrialEntry) -> list[tuple[str, str, str]]:
    """Return tag, artifact and text of each record from which a trial can be rebuilt."""
    records = [(TRIAL, TRIAL_FILE, to_json(entry.trial))]
    return [*records, (RESULT, RESULT_FILE, to_json(entry.result))] if entry.result is not None else records


def _trial_texts(entry: TrialEntry) -> dict[str, str]:
    """Return the records that are stored as artifacts: those of final trials, and those too long for a tag."""
    always = entry.trial.phase == "final"
    return {file: text for _, file, text in _records(entry) if always or len(text) > TAG_LIMIT}


def weights_artifact(entry: TrialEntry, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the weights of a final trial as artifact → file, and a tag if the file is missing.

    Both are empty if the trial has no weights.
    """
    if entry.result is None or entry.result.weights is None:
        return {}, {}
    path = folder / entry.result.weights
    return ({WEIGHTS_FILE: path}, {}) if path.is_file() else ({}, {"harness.missing": cut(str(path), TAG_LIMIT)})
