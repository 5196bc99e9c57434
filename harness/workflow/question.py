"""What is asked of a recommendation, and the study that answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from harness.study.overrides import apply_assignment, parse_assignment
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
    """Search trials per model; None: of the assignments, otherwise chosen."""
    repetitions: int | None
    """Most repetitions of each winner; None: of the assignments, otherwise `REPETITIONS`."""
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
        plan = make_plan(study, registry)
        length = {"updates", "epochs"} & (self._given("training").keys() | study.tasks[0].training.model_fields_set)
        updates = plan.cells[0].training.updates if length else None
        trials = study.budget.trials if self.trials is not None or "trials" in self._given("budget") else None
        bounded = self.address is not None or trials is not None or updates is not None
        minutes = MINUTES if self.minutes is None and not bounded else self.minutes
        return RecommendRequest(
            plan=plan,
            confidence=self.confidence,
            seconds=None if minutes is None else 60 * minutes / self.sizes,
            trials=trials,
            updates=updates,
        )

    def _given(self, section: str) -> Mapping[str, Any]:
        """Return the keys of a section of the study that the assignments set."""
        tables: dict[str, Any] = {section: {}}
        for text in map(_full_key, self.assignments):
            if parse_assignment(text)[0].partition(".")[0] == section:
                apply_assignment(tables, text)
        given = tables[section]
        return given if isinstance(given, dict) else {}

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
        }
        return study_of(tables, [*overrides, *self._budget_overrides()], updates=UPDATES, source="recommend")

    def _budget_overrides(self) -> list[str]:
        """Return the options --trials and --repetitions as assignments, with the default if the user gives neither.

        Raises StudyError if the user assigns another number.
        """
        options = {"trials": self.trials, "repetitions": self.repetitions}
        numbers = {key: number for key, number in options.items() if number is not None}
        given = self._given("budget")
        for key, number in numbers.items():
            if given.get(key, number) != number:
                raise StudyError(
                    f"recommend: --{key} {number} and budget.{key}={given[key]} differ; give one of the two"
                )
        numbers = {"repetitions": REPETITIONS} | numbers
        return [f"budget.{key}={number}" for key, number in numbers.items() if key not in given]

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
    key, _, value = (part.strip() for part in text.partition("="))
    if key in TrainingSection.model_fields:
        return f"training.{key}={value}"
    if known is not None and key.partition(".")[0] not in Study.model_fields:
        raise StudyError(f"recommend: unknown key {key!r};{did_you_mean(key, known)} Known: {', '.join(known)}")
    return text
