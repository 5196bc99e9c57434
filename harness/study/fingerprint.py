"""The fingerprint of a cell: digests of everything that changes its trials."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from types import FunctionType

from harness.api.model import Model, Published
from harness.api.sampler import SamplerFactory
from harness.api.task import Task
from harness.plugin.registry import CORE, Entry
from harness.plugin.source import source_digest
from harness.records import digest_of
from harness.study.cell_plan import CellPlan
from harness.study.schema import Study


def cell_fingerprint(plan: CellPlan, study: Study) -> dict[str, str]:
    """Return the digests of everything that changes the cell's trials, by name."""
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
        parts["sampler"] = _sampler_parts(plan.sampler)
        parts["tolerance"] = plan.tolerance
        if plan.facts.rungs:  # a larger budget has other rungs, at which other trials train on
            parts["pruning"] = [list(rung) for rung in plan.facts.rungs]
    return {name: fingerprint_of(part) for name, part in parts.items()}


def _sampler_parts(sampler: Entry[SamplerFactory]) -> object:
    """Return the name of a sampler, and the version and source of its plugin unless it is one of the core."""
    if sampler.plugin == CORE:
        return sampler.name
    arguments: list[object] = []
    factory: object = sampler.value
    while isinstance(factory, partial):
        given = [*factory.args, *factory.keywords, *factory.keywords.values()]
        # The text of a function or class has its address, which differs from process to process.
        arguments.append([getattr(value, "__qualname__", None) or repr(value) for value in given])
        factory = factory.func
    factory = getattr(factory, "__func__", factory)  # of a bound method
    code = source_digest(factory if isinstance(factory, FunctionType | type) else type(factory))
    return [sampler.name, sampler.plugin.model_dump(mode="json"), code, *arguments]


def code_of(task: Task, model: Model) -> list[str]:
    """Return digests of the plugins' source files and the version of seqharness: the code that trains a cell."""
    return [source_digest(type(task)), source_digest(type(model)), version("seqharness")]


def fingerprint_of(part: object) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of `part` as JSON."""
    return digest_of(part)[:16]


def _setting_parts(setting: Published) -> dict[str, object]:
    """Return the fields of a published setting that change trials.

    `assumed` is left out: it does not change trials, and the order of a set depends on the process's hash seed.
    """
    parts = {name: getattr(setting, name) for name in ("widths", "batch_size", "epochs", "embedding", "tied")}
    if setting.embedding_dropout is not None:
        parts["embedding_dropout"] = setting.embedding_dropout
    return {**parts, "params": dict(setting.params), "optimisation": setting.optimisation.model_dump(mode="json")}
