"""The facts of a task or a model as values of JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.api.model import Model
from harness.api.task import Task
from harness.data.files import file_status
from harness.plugin.registry import Registry
from harness.study.space import common_space, describe


def task_facts(task: Task, registry: Registry) -> dict[str, Any]:
    """Return what `harness show TASK` prints."""
    row, metric = task.published(), task.metric
    return {
        "kind": "task",
        "name": task.name,
        "metric": {"name": metric.name, "unit": metric.unit, "better": metric.better, "margin": metric.margin},
        "floor": task.floor(),
        "signature": str(task.signature()),
        "training_sequences": task.training_sequences(),
        "options": task.model_dump(mode="json"),
        "notes": list(task.notes()),
        "published": None if row is None else {**asdict(row), "results": dict(row.results)},
        "models_with_published_setting": sorted(
            name for name, entry in registry.models.items() if entry.value.published(task.row()) is not None
        ),
        "files": [
            {"name": file.name, "state": file_status(file).state, "bytes": file.bytes, "source": file.source}
            for file in task.files()
        ],
    }


def model_facts(model: Model, registry: Registry) -> dict[str, Any]:
    """Return what `harness show MODEL` prints: its search space and published widths on every task."""
    tasks = {}
    for task in registry.default_tasks().values():
        space = {**model.space(task.signature()), **common_space(task)}
        setting = model.published(task.row())
        tasks[task.name] = {
            "space": {name: describe(dimension) for name, dimension in space.items()},
            "published_widths": None if setting is None else list(setting.widths),
        }
    return {"kind": "model", "name": model.name, "tasks": tasks}
