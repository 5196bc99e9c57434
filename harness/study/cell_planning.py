"""How one cell is planned: its setting, space, training, resources and facts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.api.model import Model, Published
from harness.api.task import Metric, Task
from harness.errors import SpaceError, StudyError
from harness.plugin.registry import Entry
from harness.records import (
    Cell,
    CellFacts,
    LeftOut,
    MetricFacts,
    ParamValue,
    Plugin,
    Resources,
    Schedule,
    TaskRef,
    Training,
)
from harness.study.cell_plan import CellPlan
from harness.study.fingerprint import cell_fingerprint
from harness.study.labels import different_options
from harness.study.schema import ModelEntry, Study, TaskEntry
from harness.study.space import CellSpace, at_unit, cell_space, contains, describe
from harness.training.network import offers_scan, offers_stack

FAIR_BATCH_SIZE = 16


@dataclass(frozen=True)
class CellRequest:
    """A cell as a study asks for it, with what the registry holds under its names."""

    study: Study
    cell: Cell
    task_entry: TaskEntry
    task: Task
    task_plugin: Plugin
    model_entry: ModelEntry
    model: Entry[Model]

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Those that brought the task and the model."""
        return tuple(dict.fromkeys((self.task_plugin, self.model.plugin)))


def plan_cell(asked: CellRequest) -> CellPlan | LeftOut:
    """The cell's plan, or why it is left out.  StudyError or SpaceError where it cannot be run as written."""
    study, cell, task, model, model_entry = asked.study, asked.cell, asked.task, asked.model.value, asked.model_entry
    takes_published = study.protocol == "paper" or model_entry.setting != "searched"
    row = f"{task.row()}/second" if model_entry.setting == "published-second" else task.row()
    setting = model.published(row) if takes_published else None
    if takes_published and setting is None:
        return LeftOut(cell=cell, reason=f"no published setting of {model.name} for {row}")
    if setting is not None and study.protocol == "fair":
        setting = _at_equal_terms(setting)
    signature = task.signature()
    if setting is not None:
        signature = signature.with_embedding(setting.embedding, tied=setting.tied)
    space = cell_space(
        task, model, signature, shared=study.search.space, own=model_entry.space, where=f"study {study.name!r}, {cell}"
    )
    if setting is not None:
        _check_published(asked, setting, space)
    if task.carries() and not offers_scan(model, signature, setting.params if setting else _example(space)):
        return LeftOut(cell=cell, reason=f"{task.name} carries a state between windows, and {model.name} has no scan")
    training, schedule = _training(asked, setting)
    resources = _resources(asked, training)
    if resources.stack > 1 and not offers_stack(model, signature, setting.params if setting else _example(space)):
        resources = resources.model_copy(update={"stack": 1})  # its trials are trained one by one
    data = {file.name: file.sha256 for file in task.files()}
    plan = CellPlan(
        facts=_facts(asked, setting),
        task=task,
        model=model,
        signature=signature,
        space=space,
        training=training,
        schedule=schedule,
        resources=resources,
        tolerance=study.budget.tolerance,
        setting=setting,
        data=data,
        plugins=asked.plugins,
    )
    return replace(plan, facts=plan.facts.model_copy(update={"fingerprint": cell_fingerprint(plan, study)}))


def _facts(asked: CellRequest, setting: Published | None) -> CellFacts:
    """What the cell is granted and compared with; the fingerprint is taken of the plan that holds this."""
    study, task, model = asked.study, asked.task, asked.model.value
    beside_others = study.protocol == "fair" and asked.model_entry.setting != "searched"
    return CellFacts(
        cell=asked.cell,
        task=TaskRef(name=task.name, options=different_options(asked.task_entry, task)),
        model=model.name,
        metric=metric_facts(task.metric),
        others=tuple(metric_facts(metric) for metric in task.metrics()[1:]),
        parameters=None if study.protocol == "paper" else _parameters(asked),
        floor=task.floor(),
        **_published_facts(task, model),
        trials=0 if setting else study.budget.trials,
        repetitions=study.budget.repetitions,
        assumed=tuple(sorted(setting.assumed)) if setting else (),
        setting="published" if beside_others else "searched",
        fingerprint={},
    )


def _at_equal_terms(setting: Published) -> Published:
    """A published setting beside searched ones: its architecture, optimiser, rate and clipping.

    The embedding, the batch, the schedule and what is back-propagated are the same for every model of a task.
    """
    optimisation = setting.optimisation.model_copy(update={"reduction": "mean"})
    return replace(setting, embedding=None, embedding_dropout=None, tied=None, optimisation=optimisation)


def _example(space: CellSpace) -> dict[str, ParamValue]:
    """Some configuration of a cell."""
    return space.build_params({name: at_unit(dimension, 0.5) for name, dimension in space.dimensions.items()})


def metric_facts(metric: Metric) -> MetricFacts:
    return MetricFacts(
        name=metric.name, unit=metric.unit, better=metric.better, margin=metric.margin, scale=metric.scale
    )


def _published_facts(task: Task, model: Model) -> dict[str, object]:
    row = task.published()
    if row is None:
        return {}
    if model.name not in row.results:
        return {"task_parameters": row.parameters}
    source = row.sources.get(model.name, row.source)
    return {"task_parameters": row.parameters, "published": row.results[model.name], "published_source": source}


def _parameters(asked: CellRequest) -> int:
    if asked.task_entry.parameters != "published":
        return asked.task_entry.parameters
    row = asked.task.published()
    if row is None or row.parameters is None:
        raise StudyError(
            f"study {asked.study.name!r}: no parameter size is published for {asked.task.row()}; "
            "give the task parameters = N"
        )
    return row.parameters


def _training(asked: CellRequest, setting: Published | None) -> tuple[Training, Schedule]:
    """Epochs as updates.  Under `paper` the setting's own batch, epochs and schedule, unless the study says else."""
    study, task, cell = asked.study, asked.task, asked.cell
    section = study.training.overridden_by(asked.task_entry.training)
    as_published = setting is not None and study.protocol == "paper"
    batch_size = section.batch_size or (setting.batch_size if setting and as_published else FAIR_BATCH_SIZE)
    per_epoch = task.updates_per_epoch(batch_size)
    epochs = section.epochs or (setting.epochs if setting and as_published else None)
    updates = section.updates
    if updates is None:
        if epochs is None:
            raise StudyError(f"study {study.name!r}, {cell}: training has no length; give updates or epochs")
        # 1.1 * 10 is a little over 11; and less than half a millionth of an update is one too.
        updates = max(math.ceil(round(epochs * per_epoch, 6)), 1)
    spaced = math.ceil(updates / section.evaluations)
    training = Training(
        updates=updates,
        batch_size=batch_size,
        # The published numbers were read once an epoch; a run too short for three of them is spaced evenly.
        evaluate_every=per_epoch if as_published and updates >= 3 * per_epoch else spaced,
        patience=section.patience,
        minimum_updates=section.minimum_updates,
        seconds=section.seconds,
        evaluation_limit=section.evaluation_limit,
        precision=section.precision,
    )
    published_schedule = setting.optimisation.schedule if setting and as_published else Schedule()
    return training, section.schedule or published_schedule


def _resources(asked: CellRequest, training: Training) -> Resources:
    resources = asked.task_entry.resources or asked.study.resources
    if resources.stack > 1 and training.seconds is not None:
        raise StudyError(
            f"study {asked.study.name!r}, {asked.cell}: training.seconds bounds a trial by its own time, "
            f"which it shares under resources.stack = {resources.stack}; drop one of them"
        )
    return resources


def _check_published(asked: CellRequest, setting: Published, space: CellSpace) -> None:
    """A study that narrows the space must not train a setting from outside it under the same name."""
    given: dict[str, ParamValue] = {
        "optimizer": setting.optimisation.optimizer,
        "clip": setting.optimisation.clip,
        **setting.params,
    }
    for name in (*asked.model_entry.space, *asked.study.search.space):
        if name in given and not contains(space.dimensions[name], given[name]):
            raise SpaceError(
                f"study {asked.study.name!r}, {asked.cell}: the published setting has {name} = {given[name]!r}, "
                f"outside the study's space {describe(space.dimensions[name])}; widen the space or drop the setting"
            )
