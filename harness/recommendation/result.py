"""The answer to "which architecture?": what is claimed, how sure it is, what it would take to know more."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Literal

from harness.recommendation.pairwise import Learned
from harness.records import MetricFacts, Record, TaskRef, Trial

ANSWER = "recommendation.json"
PAGE = "recommendation.md"

Conclusion = Literal["best", "equivalent", "undecided", "alone", "nothing-learned", "failed"]
Place = Literal["leader", "lost", "equivalent", "open", "failed"]


class Span(Record):
    """An interval of 95 %."""

    low: float
    high: float


class Candidate(Record):
    """One model of the race."""

    model: str
    place: Place
    """Against the leader."""
    probability: float | None
    """Of its mean test score being the best; of a model that was dropped, of its being better than the leader's."""
    repetitions: int
    scored: int
    """Repetitions with a score."""
    mean: float | None
    """Test, on the metric's scale."""
    interval: Span | None
    learned: Learned
    wins: int | None = None
    """Repetitions in which the leader is better, of those that both have."""
    shared: int | None = None
    dropped: int | None = None
    """Repetitions after which the race, on validation, had it for lost."""
    needed: int | None = None
    """Repetitions in all that would settle it against the leader; None where it is settled or none would."""
    seconds: float | None = None
    """Of one training, the mean of its repetitions."""
    parameters: int | None = None
    deviation_percent: float | None = None
    """Deviation from the parameter budget, if it is larger than the study's tolerance."""
    reason: str = ""
    """Why repetitions or trials have no score."""


class Postponed(Record):
    """A model that was not trained because the time budget is too short for it."""

    model: str
    seconds: float
    """Estimated time of its search and first repetitions."""
    minutes: int
    """`--minutes` with which a resumed race includes it."""


def postponed_text(models: Sequence[Postponed]) -> str:
    """Return the postponed models and how to include them, in two sentences; "" if there is none."""
    if not models:
        return ""
    listed = ", ".join(
        f"{each.model} (about {math.ceil(each.seconds / 60)} min, --minutes {each.minutes})" for each in models
    )
    return (
        f"Postponed, because search and first repetitions do not fit into the time: {listed}. "
        f"To include {'it' if len(models) == 1 else 'them'}, run the same command again with "
        f"--minutes {models[-1].minutes}."
    )


class SelectedTrial(Record):
    """What is ready for use: the recommended model, or the leader where it is too small to tell."""

    model: str
    key: str
    """Of the repetition with the best validation score."""
    repetition: int
    validation: float
    weights: str
    """Path below the study's folder."""
    trial: Trial


class Recommendation(Record):
    """Written to a study's folder, and printed."""

    schema_version: Literal[1] = 1
    study: str
    study_id: str
    task: TaskRef
    cell: str
    """The task's label."""
    metric: MetricFacts
    floor: float | None
    parameters: int | None
    trials: int
    updates: int
    confidence: float
    looks: int
    """Planned looks at the scores, over which the permitted error is shared."""
    test_reads: tuple[int, ...] = ()
    """Repetitions at which test scores were read, those of earlier runs of the command included."""
    verdict: Conclusion
    model: str | None
    """The recommended one; None where nothing is recommended."""
    probability: float | None
    equivalent: tuple[str, ...]
    """To the leader, within the margin."""
    candidates: tuple[Candidate, ...]
    """The leader first, then by probability."""
    hours: float | None
    """To settle what is open, at the speed measured and with as many slots; None where nothing is open, or no number
    of repetitions would."""
    slots: int
    out_of_time: bool
    """Whether the time budget ended the race before the repetitions that were requested."""
    asked_repetitions: int | None = None
    """The most repetitions that were requested; None in answers of earlier versions."""
    winner: SelectedTrial | None
    postponed: tuple[Postponed, ...] = ()
    """Models that were not compared, the fastest first."""
    notes: tuple[str, ...]
    """Of what the scores did not allow."""


class Setup(Record):
    """What a race was granted."""

    study: str
    study_id: str
    confidence: float
    looks: tuple[int, ...]
    """Repetitions at which the race looks at the scores.  An extended race keeps the looks that it had."""
    test_reads: tuple[int, ...] = ()
    """Repetitions at which earlier runs of the command read test scores."""
    slots: int
    out_of_time: bool
    asked_repetitions: int | None = None
    postponed: tuple[Postponed, ...] = ()


def train_command(recommendation: Recommendation) -> str | None:
    """`harness train` at the winner's configuration."""
    if recommendation.winner is None:
        return None
    trial = recommendation.winner.trial
    given: Mapping[str, object] = {
        **recommendation.task.options,
        "parameters": recommendation.parameters,
        "updates": trial.training.updates,
        "batch_size": trial.training.batch_size,
        **trial.params,
    }
    pairs = [shlex.quote(f"{key}={_toml(value)}") for key, value in given.items()]
    return " ".join(["harness train", recommendation.task.name, trial.model, *pairs])


def _toml(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
