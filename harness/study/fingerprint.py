"""A cell's fingerprint: a digest of everything that alters its trials."""

from __future__ import annotations

from importlib.metadata import version

from harness.api.model import Model, Published
from harness.api.task import Task
from harness.plugin.registry import source_digest
from harness.records import digest_of
from harness.study.cell_plan import CellPlan
from harness.study.schema import Study


def cell_fingerprint(plan: CellPlan, study: Study) -> dict[str, str]:
    """Digests of everything that alters the cell's trials, by name."""
    parts: dict[str, object] = {
        "task options": plan.task.model_dump(mode="json"),
        "model": plan.model.name,
        "training": plan.training.model_dump(mode="json"),
        "schedule": plan.schedule.model_dump(mode="json"),
        "parameters": plan.facts.parameters,
        "seed": study.search.seed,
        "data": dict(plan.data),
        "plugins": [plugin.model_dump(mode="json") for plugin in plan.plugins],
        "code": code_of(plan.task, plan.model),
    }
    if plan.setting is not None:
        parts["setting"] = _setting_parts(plan.setting)
    else:
        parts["space"] = {name: repr(dimension) for name, dimension in plan.space.dimensions.items()}
        parts["sampler"] = study.search.sampler
        parts["tolerance"] = plan.tolerance
    return {name: fingerprint_of(part) for name, part in parts.items()}


def code_of(task: Task, model: Model) -> list[str]:
    """What of the installed code alters a cell's trials."""
    return [source_digest(type(task)), source_digest(type(model)), version("seqharness")]


def fingerprint_of(part: object) -> str:
    return digest_of(part)[:16]


def _setting_parts(setting: Published) -> dict[str, object]:
    """What of a published setting alters trials, in an order that no process's hash seed changes."""
    parts = {name: getattr(setting, name) for name in ("widths", "batch_size", "epochs", "embedding", "tied")}
    if setting.embedding_dropout is not None:
        parts["embedding_dropout"] = setting.embedding_dropout
    return {**parts, "params": dict(setting.params), "optimisation": setting.optimisation.model_dump(mode="json")}
