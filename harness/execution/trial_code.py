"""The code that a trial runs, as messages name it: its task and its model, with their plugins and versions."""

from __future__ import annotations

from typing import Any

from harness.errors import packages_in
from harness.plugin.registry import Entry, Registry, names_of
from harness.records import Trial


def task_or_model(registry: Registry, trial: Trial) -> str:
    """Return task and model of a trial with their plugins."""
    task, model = registry.tasks.get(trial.task.name), registry.models.get(trial.model)
    of_task = "" if task is None or model is None or task.plugin == model.plugin else f" of {names_of([task.plugin])}"
    of_model = "" if model is None else f" of {names_of([model.plugin])}"
    return f"task {trial.task.name!r}{of_task} or model {trial.model!r}{of_model}"


def raiser(registry: Registry, trial: Trial, error: BaseException) -> str:
    """Return the plugin whose code raised an exception; both if it may be either."""
    # Models and tasks are of different types, hence Any.
    entries: list[Entry[Any] | None] = [registry.tasks.get(trial.task.name), registry.models.get(trial.model)]
    present = [entry for entry in entries if entry is not None]
    packages = packages_in(error)
    raisers = [entry for entry in present if entry.origin.partition(":")[0].partition(".")[0] in packages]
    return names_of(entry.plugin for entry in raisers or present)
