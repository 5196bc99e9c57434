"""The contents of MLflow runs as plain values; this module does not import MLflow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from harness.analysis.stored_study import SyncMark
from harness.ledger.folder import STUDY_FILE
from harness.records import Manifest, digest_of

KIND = "harness.kind"
STUDY_ID = "harness.study_id"
KEY = "harness.key"
TASK = "harness.task"
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

DESCRIPTION = "mlflow.note.content"
"""Tag of MLflow's own: Markdown that its pages show."""

PARAM_LIMIT = 6000
"""Characters of a param's value that MLflow stores."""
TAG_LIMIT = 5000
"""Characters of a tag's value that every MLflow store accepts."""
NAME_LIMIT = 200
"""Characters of a name, so that it and a prefix stay below the 250 that MLflow allows."""


@dataclass(frozen=True)
class Sample:
    """One value of a curve."""

    name: str
    value: float
    milliseconds: int
    """Since 1970."""
    step: int


@dataclass(frozen=True)
class DataInput:
    """One split that a run has read."""

    name: str
    digest: str
    """At most 36 characters."""
    source: str
    """The task that reads or makes the data, and its options."""
    context: str
    """training, validation or test."""


@dataclass(frozen=True)
class RunData:
    """The contents of one run."""

    metrics: tuple[Sample, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """Name of an artifact → its text."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Name of an artifact → the file to copy."""
    inputs: tuple[DataInput, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the contents, in hex; of files only the absolute paths count."""
        metrics = [(sample.name, sample.value, sample.milliseconds, sample.step) for sample in self.metrics]
        files = {name: str(path.resolve()) for name, path in self.files.items()}
        inputs = [(part.name, part.digest, part.source, part.context) for part in self.inputs]
        return digest_of([metrics, dict(self.params), dict(self.tags), dict(self.texts), files, inputs])


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def cut(text: str, limit: int) -> str:
    """Return `text`, or its beginning with an ellipsis if it has more than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def legal_name(name: str) -> str:
    """Return `name` in the characters that MLflow allows; others become their code in hex: `a?` becomes `a_3f`."""
    legal = "".join(c if re.match(r"[A-Za-z0-9_. -]", c) else f"_{ord(c):02x}" for c in name)
    dots_only = not legal.strip(".")
    return (legal.replace(".", "_2e") if dots_only else legal)[:NAME_LIMIT] or "_"


def flatten(value: object, name: str = "") -> dict[str, str]:
    """Return nested tables as a single table, with names joined by dots.  Values other than text become JSON."""
    if isinstance(value, Mapping):
        parts = [flatten(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    text = value if isinstance(value, str) else json.dumps(value)
    return {legal_name(name): cut(text, PARAM_LIMIT)}


def to_json(record: BaseModel | Mapping[str, object]) -> str:
    """Return JSON that keeps non-finite numbers; pydantic's own JSON has null instead."""
    return json.dumps(record.model_dump(mode="json") if isinstance(record, BaseModel) else record)


def finite_samples(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sample for sample in samples if math.isfinite(sample.value))


def non_finite_tags(samples: Iterable[Sample]) -> dict[str, str]:
    """Return a tag that names the non-finite samples, as `metric@step`: MLflow would store infinity as 1.8e308."""
    names = [f"{sample.name}@{sample.step}" for sample in samples if not math.isfinite(sample.value)]
    return {"harness.non_finite": cut(", ".join(names), TAG_LIMIT)} if names else {}


def study_run_data(manifest: Manifest, folder: Path) -> RunData:
    """Return the contents of a study's run: where its trials come from.  folder: of the study."""
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
    return RunData(
        tags={name: cut(value, TAG_LIMIT) for name, value in tags.items()},
        texts={MANIFEST_FILE: to_json(manifest)}
        | ({STUDY_FILE: study_file.read_text(encoding="utf-8")} if study_file.is_file() else {}),
    )


def mark_content(mark: SyncMark) -> RunData:
    """Return how many trials the ledger had.  This is sent last, and a reader compares it with what it reads."""
    text = mark.to_json()
    fits = len(text) <= TAG_LIMIT
    tags = {"harness.trials_total": str(mark.total), "harness.trials_ended": str(mark.ended)}
    return RunData(tags=tags | {MARK: text if fits else MARK_FILE}, texts={} if fits else {MARK_FILE: text})
