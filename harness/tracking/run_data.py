"""What a trial, a cell and a study look like as runs of an experiment tracker: plain values, no tracker."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from harness.analysis.cell_result import Mark, Standing
from harness.analysis.statistics import Proportion, Summary
from harness.ledger.ledger import STUDY_FILE, Entry
from harness.records import Manifest, Outcome, Point, Trial, digest_of

KIND = "harness.kind"
STUDY_ID = "harness.study_id"
KEY = "harness.key"
ATTEMPT = "harness.attempt"
POINTS = "harness.points"
STATUS = "harness.status"
SUPERSEDED = "harness.superseded"
CONTENT = "harness.content"
MARK = "harness.mark"
MARKED = "harness.marked"
POSITION = (ATTEMPT, POINTS, STATUS, SUPERSEDED, CONTENT, MARKED)
"""Tags that say how much of a run has arrived."""
TRIAL = "harness.trial"
RESULT = "harness.result"
TRIAL_FILE = "trial.json"
RESULT_FILE = "result.json"
MARK_FILE = "mark.json"
MANIFEST_FILE = "manifest.json"
WEIGHTS_FILE = "weights.pt"

PARAM_LIMIT = 6000
"""Characters of a param's value that MLflow keeps."""
TAG_LIMIT = 5000
"""Characters of a tag's value that every MLflow store keeps."""
NAME_LIMIT = 200
"""Characters of a name, which leaves room for a prefix below the 250 that MLflow allows."""


@dataclass(frozen=True)
class Sample:
    """One value of a curve."""

    name: str
    value: float
    milliseconds: int
    """Since 1970."""
    step: int


@dataclass(frozen=True)
class Content:
    """What one run is to hold."""

    metrics: tuple[Sample, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """Name of an artifact → its text."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Name of an artifact → the file to copy."""

    @property
    def digest(self) -> str:
        metrics = [(one.name, one.value, one.milliseconds, one.step) for one in self.metrics]
        files = {name: str(path) for name, path in self.files.items()}
        return digest_of([metrics, dict(self.params), dict(self.tags), dict(self.texts), files])


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def legal_name(name: str) -> str:
    """`name` in the characters that MLflow allows, others as their code in hex: `a?` becomes `a_3f`."""
    legal = "".join(c if re.match(r"[A-Za-z0-9_. -]", c) else f"_{ord(c):02x}" for c in name)
    dots_only = not legal.strip(".")
    return (legal.replace(".", "_2e") if dots_only else legal)[:NAME_LIMIT] or "_"


def flatten(value: object, name: str = "") -> dict[str, str]:
    """Nested tables as one, names joined with dots; lists and what is not text as JSON."""
    if isinstance(value, Mapping):
        parts = [flatten(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    text = value if isinstance(value, str) else json.dumps(value)
    return {legal_name(name): cut(text, PARAM_LIMIT)}


def to_json(record: BaseModel | Mapping[str, object]) -> str:
    """JSON that keeps numbers that are not finite, which pydantic's own writes as null."""
    return json.dumps(record.model_dump(mode="json") if isinstance(record, BaseModel) else record)


def trial_position(entry: Entry, *, superseded: bool) -> dict[str, str]:
    """Tags that say how much of a trial its run holds."""
    return {
        ATTEMPT: str(entry.attempt),
        POINTS: str(len(entry.points)),
        STATUS: "open" if entry.result is None else "ended",
        SUPERSEDED: str(superseded).lower(),
    }


def trial_content(entry: Entry, folder: Path, *, created: float, points_sent: int, begun: bool) -> Content:
    """What the run of a trial lacks, given that it holds `points_sent` points and, where `begun`, its params.

    folder: the study's, below which weights lie.  created: when the study was, for what has no time of its own.
    """
    curve = [sample for point in entry.points for sample in _curve(point)]
    late = [sample for point in entry.points[points_sent:] for sample in _curve(point)]
    end = _end_samples(entry, created)
    files, missing = _weights(entry, folder)
    told = entry.result is not None or not begun
    return Content(
        metrics=_finite([*late, *end]),
        params={} if begun else flatten(_settings(entry.trial)),
        tags=(_trial_tags(entry) if told else {}) | _lost([*curve, *end]) | missing,
        texts=_trial_texts(entry) if told else {},
        files=files,
    )


def _finite(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sample for sample in samples if math.isfinite(sample.value))


def _lost(samples: Iterable[Sample]) -> dict[str, str]:
    """A tag that names what was not finite: MLflow would store infinity as 1.8e308."""
    lost = [f"{sample.name}@{sample.step}" for sample in samples if not math.isfinite(sample.value)]
    return {"harness.non_finite": cut(", ".join(lost), TAG_LIMIT)} if lost else {}


def validation_name(metric: str) -> str:
    """Of the curve of a metric on validation."""
    return f"validation/{legal_name(metric)}"


def _curve(point: Point) -> list[Sample]:
    values = {
        "train_loss": point.train_loss,
        "learning_rate": point.learning_rate,
        "gradient_norm": point.gradient_norm,
        **{validation_name(name): value for name, value in point.metrics.items()},
    }
    return [Sample(name, value, milliseconds(point.time), point.update) for name, value in values.items()]


def _end_samples(entry: Entry, created: float) -> list[Sample]:
    """A trial's result as metrics; its validation is that of the best evaluation, so it is no part of the curve."""
    result = entry.result
    if result is None:
        return []
    values: dict[str, float | None] = {
        "score": result.score,
        "parameters": entry.trial.parameters,
        **{name: getattr(result, name) for name in _RESULT_METRICS},
    }
    for part, metrics in result.metrics.items():
        prefix = "best-validation" if part == "validation" else legal_name(part)
        values |= {f"{prefix}/{legal_name(name)}": value for name, value in metrics.items()}
    when = milliseconds(result.ended or created)
    return [Sample(name, float(value), when, result.updates) for name, value in values.items() if value is not None]


_RESULT_METRICS = (
    "updates", "epochs", "best_update", "train_seconds", "peak_bytes", "padding", "state_bytes", "receptive_field",
    "test_opened",
)  # fmt: skip


def _settings(trial: Trial) -> dict[str, object]:
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


def _trial_tags(entry: Entry) -> dict[str, str]:
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
    whole = {tag: text for tag, _, text in _records(entry) if len(text) <= TAG_LIMIT}
    return {name: cut(value, TAG_LIMIT) for name, value in tags.items()} | whole


def _records(entry: Entry) -> list[tuple[str, str, str]]:
    """Tag, artifact and text of the records that rebuild a trial."""
    records = [(TRIAL, TRIAL_FILE, to_json(entry.trial))]
    return [*records, (RESULT, RESULT_FILE, to_json(entry.result))] if entry.result is not None else records


def _trial_texts(entry: Entry) -> dict[str, str]:
    always = entry.trial.phase == "final"
    return {file: text for _, file, text in _records(entry) if always or len(text) > TAG_LIMIT}


def _weights(entry: Entry, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The weights of an ended final as a file, or a tag that says they are gone."""
    if entry.result is None or entry.result.weights is None:
        return {}, {}
    path = folder / entry.result.weights
    return ({WEIGHTS_FILE: path}, {}) if path.is_file() else ({}, {"harness.missing": cut(str(path), TAG_LIMIT)})


def cell_content(standing: Standing, folder: Path, created: float) -> Content:
    """The run of a cell: what it was granted, and what its trials add up to."""
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
    return Content(
        metrics=(*_finite(samples), *_unknown(standing, created)),
        params=flatten(facts.model_dump(mode="json", exclude=kept_out)),
        tags={name: cut(value, TAG_LIMIT) for name, value in tags.items()} | _lost(samples) | missing,
        texts={"winner.json": to_json(setting)} if finished and setting is not None else {},
        files=files,
    )


def _first_weights(standing: Standing, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    complete = (entry for entry in standing.finals if entry.result is not None and entry.result.outcome == "complete")
    first = next(complete, None)
    return _weights(first, folder) if first is not None else ({}, {})


def _cell_samples(standing: Standing, created: float) -> list[Sample]:
    """Aggregates as curves over ended trials; step and time follow from those, so a repeat changes nothing."""
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


def _unknown(standing: Standing, created: float) -> list[Sample]:
    """NaN for what is not known of the repetitions so far, which takes the place of what an earlier set of them had.

    MLflow removes no metric, and shows the last value: an interval from before a repetition failed, or the mean of an
    earlier winner.
    """
    if not (standing.finals_ended or standing.superseded):
        return []
    step, when = _so_far(standing, created)
    return [Sample(name, math.nan, when, step) for name, value in _scored_values(standing).items() if value is None]


def _so_far(standing: Standing, created: float) -> tuple[int, int]:
    """How many trials have ended, and when the last did, in milliseconds."""
    ended = [one.result for one in standing.entries if one.result is not None]
    return len(ended), milliseconds(max((result.ended for result in ended), default=0) or created)


def _scored_values(standing: Standing) -> dict[str, float | None]:
    return {
        **_success_values(standing.success),
        **_summary_values("", standing.summary("test")),
        **_summary_values("last3_", standing.summary("test-last3")),
    }


def _winners_curve(standing: Standing) -> list[Sample]:
    """The learning curve of the winner, once the search is over, so that it can be seen on the cell's own page.

    Named by the winner's number: another winner, after more trials, is another curve.
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


def study_content(manifest: Manifest, folder: Path) -> Content:
    """The run of a study: where its trials come from."""
    tags = {
        "harness.created": repr(manifest.created),
        "harness.protocol": manifest.protocol,
        "harness.sampler": manifest.sampler,
        "harness.seed": str(manifest.seed),
        "harness.git": manifest.git,
        "harness.versions": to_json(manifest.versions),
        "harness.machine": to_json(manifest.machine),
        "harness.plugins": to_json({plugin.name: plugin.version for plugin in manifest.plugins}),
        "harness.data": to_json(manifest.data),
        "harness.left_out": to_json({str(left.cell): left.reason for left in manifest.left_out}),
    }
    study_file = folder / STUDY_FILE
    return Content(
        tags={name: cut(value, TAG_LIMIT) for name, value in tags.items()},
        texts={MANIFEST_FILE: to_json(manifest)}
        | ({STUDY_FILE: study_file.read_text(encoding="utf-8")} if study_file.is_file() else {}),
    )


def mark_content(mark: Mark) -> Content:
    """How many trials the ledger held: the last thing to be sent, against which a reader checks what it finds."""
    text = mark.to_json()
    fits = len(text) <= TAG_LIMIT
    tags = {"harness.trials_total": str(mark.total), "harness.trials_ended": str(mark.ended)}
    return Content(tags=tags | {MARK: text if fits else MARK_FILE}, texts={} if fits else {MARK_FILE: text})
