"""What is asked of a recommendation, and the study that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import StudyError, did_you_mean
from harness.plugin.registry import Registry
from harness.recommendation.state import RecommendRequest
from harness.recommendation.time_budget import TRIALS
from harness.records import LONGEST_LABEL
from harness.study.file import study_of
from harness.study.from_data import DataRequest, study_of_file, usable_models
from harness.study.overrides import parse_assignment
from harness.study.plan import make_plan
from harness.study.schema import Study, TrainingSection, label_text, size_text

UPDATES = 1000
"""Updates per training without a time budget."""
MINUTES = 15.0
"""Time budget if neither a time nor trials, updates or a cluster are given."""
REPETITIONS = 29
"""Most repetitions of each winner by default."""


@dataclass(frozen=True)
class Question:
    """Which architecture for this task or these data, at which cost and how surely."""

    task: str | None
    """Name of the task; with `data`, the task that reads them."""
    assignments: tuple[str, ...]
    """Options of the task and values of the study, as `key=value`."""
    data: Path | None
    target: str | None
    models: tuple[str, ...] | None
    """Names; None: all installed ones that can be used."""
    name: str | None
    """Of the study; None: after the data or the task."""
    trials: int | None
    repetitions: int
    minutes: float | None
    confidence: float
    address: str | None = None
    """Of a Ray cluster."""
    parameters: int | None = None
    """Parameter budget of each network; None: the published one of the task."""
    sizes: int = 1
    """How many sizes the whole question has.  If several, the study of each is named after its size and has an equal
    share of the time."""

    def at_sizes(self, sizes: Sequence[int]) -> list[Question]:
        """Return the question at each of these sizes; without sizes as it is."""
        return [replace(self, parameters=parameters, sizes=len(sizes)) for parameters in sizes] or [self]

    def request(self, registry: Registry) -> RecommendRequest:
        """Return the race that answers the question.  Raises StudyError if it names neither a task nor data."""
        if self.task is None and self.data is None:
            raise StudyError("no task is given; name one that `harness list` shows, or give --data FILE")
        if not 0.5 < self.confidence < 1:
            raise StudyError(f"--confidence {self.confidence:g}: give a probability between 0.5 and 1")
        if self.minutes is not None and self.address is not None:
            raise StudyError(
                "--minutes measures this machine, not a cluster; with --address give --trials and updates=N"
            )
        if self.data is not None and self.task is not None and "=" in self.task:
            # With --data no task needs to be named, so the first argument may be an assignment.
            return replace(self, task=None, assignments=(self.task, *self.assignments)).request(registry)
        study = self._study_of_data(registry) if self.data is not None else self._study_of_task(registry)
        if self.sizes > 1 and self.parameters is not None:
            study = _named_after_size(study, self.parameters)
        minutes = self._minutes()
        updates = self._given().get("updates", self._given().get("training.updates"))
        return RecommendRequest(
            plan=make_plan(study, registry),
            confidence=self.confidence,
            seconds=None if minutes is None else 60 * minutes / self.sizes,
            trials=self.trials,
            updates=updates if isinstance(updates, int) else None,
        )

    def _given(self) -> dict[str, Any]:
        return dict(map(parse_assignment, self.assignments))

    def _minutes(self) -> float | None:
        bounds = ("updates", "epochs", "training.updates", "training.epochs", "budget.trials")
        bounded = self.trials is not None or self.address is not None or any(key in self._given() for key in bounds)
        return MINUTES if self.minutes is None and not bounded else self.minutes

    def _study_of_data(self, registry: Registry) -> Study:
        assert self.data is not None  # `request` has checked
        if self.parameters is None:
            raise StudyError(
                f"--data {self.data}: the size of the networks is missing; give their parameters, as --budget 50k"
            )
        overrides = [_full_key(text) for text in self.assignments] + self._budget_overrides()
        request = DataRequest(
            self.data, self.parameters, self.target, self.task, self.models, overrides=overrides, name=self.name
        )
        return study_of_file(registry, request)

    def _study_of_task(self, registry: Registry) -> Study:
        assert self.task is not None  # `request` has checked
        if self.target is not None:
            raise StudyError("--target describes a dataset of your own; give --data FILE with it")
        task_options, overrides = self._split(registry)
        task = registry.make_task(self.task, task_options)
        label = "-".join([self.task, *(label_text(f"{key}-{value}") for key, value in sorted(task_options.items()))])
        tables: dict[str, Any] = {  # the tables of a study file
            "name": self.name or f"recommend-{label}",
            "models": list(self.models or usable_models(registry, task)),
            "tasks": [{"name": self.task, **task_options, "parameters": self.parameters or "published"}],
            "budget": {"trials": TRIALS},
            "training": {"updates": UPDATES},
        }
        return study_of(tables, [*overrides, *self._budget_overrides()], source="recommend")

    def _budget_overrides(self) -> list[str]:
        trials = [] if self.trials is None else [f"budget.trials={self.trials}"]
        return [f"budget.repetitions={self.repetitions}", *trials]

    def _split(self, registry: Registry) -> tuple[dict[str, Any], list[str]]:
        """Return the options of the task, and the assignments to keys of the study."""
        fields = registry.task(self.task or "").value.model_fields
        task_options: dict[str, Any] = {}
        overrides: list[str] = []
        for text in self.assignments:
            key, value = parse_assignment(text)
            if key in fields:
                task_options[key] = value
            else:
                overrides.append(_full_key(text, (*fields, *TrainingSection.model_fields)))
        return task_options, overrides


def _named_after_size(study: Study, parameters: int) -> Study:
    """Return the study of one of several sizes.  Raises StudyError if its name is too long."""
    name = f"{study.name}-{size_text(parameters)}"
    if len(name) > LONGEST_LABEL:
        raise StudyError(f"study name {name!r} is longer than {LONGEST_LABEL} characters; give a shorter --name")
    return study.model_copy(update={"name": name})


def _full_key(text: str, known: Sequence[str] | None = None) -> str:
    """Return `updates=300` as `training.updates=300`, and other assignments unchanged.

    known: keys that are valid without a section, for the StudyError about an unknown key; None: no check.
    """
    key, _, value = text.partition("=")
    if key in TrainingSection.model_fields:
        return f"training.{key}={value}"
    if known is not None and key.partition(".")[0] not in Study.model_fields:
        raise StudyError(f"recommend: unknown key {key!r};{did_you_mean(key, known)} Known: {', '.join(known)}")
    return text
