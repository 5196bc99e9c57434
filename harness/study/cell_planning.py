"""Plan one cell: its published setting, search space, training, resources and facts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.api.distributions import at_unit
from harness.api.model import Model, Published
from harness.api.sampler import SamplerFactory
from harness.api.task import Metric, Task
from harness.errors import SpaceError, StudyError
from harness.halving import plan_rungs
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
from harness.study.floors import Floors
from harness.study.labels import default_options, different_options
from harness.study.schema import ModelEntry, Study, TaskEntry
from harness.study.space import CellSpace, cell_space, contains, describe
from harness.training.network import offers_scan, offers_stack

FAIR_BATCH_SIZE = 16


@dataclass(frozen=True)
class CellRequest:
    """A cell as a study file requests it, with the task and the model that the registry holds under its names."""

    study: Study
    cell: Cell
    task_entry: TaskEntry
    task: Task
    task_plugin: Plugin
    model_entry: ModelEntry
    model: Entry[Model]
    sampler: Entry[SamplerFactory]
    floors: Floors
    """Of the task."""

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """The plugins that provide the task and the model."""
        return tuple(dict.fromkeys((self.task_plugin, self.model.plugin)))


def plan_cell(request: CellRequest) -> CellPlan | LeftOut:
    """Return the cell's plan, or the reason why it is left out.

    Raises StudyError or SpaceError if the cell cannot be run as the study file has it.
    """
    study, cell, task, model_entry = request.study, request.cell, request.task, request.model_entry
    model = request.model.value
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
        _check_published(request, setting, space)
    if task.carries() and not offers_scan(model, signature, setting.params if setting else _example(space)):
        return LeftOut(cell=cell, reason=f"{task.name} carries a state between windows, and {model.name} has no scan")
    training, schedule = _training(request, setting)
    resources = _resources(request, training)
    if resources.stack > 1 and not offers_stack(model, signature, setting.params if setting else _example(space)):
        resources = resources.model_copy(update={"stack": 1})  # its trials are trained one by one
    plan = CellPlan(
        facts=_with_rungs(request, _facts(request, setting), training),
        task=task,
        model=model,
        signature=signature,
        space=space,
        training=training,
        schedule=schedule,
        resources=resources,
        tolerance=study.budget.tolerance,
        setting=setting,
        data={file.name: file.sha256 for file in task.files()},
        plugins=request.plugins,
        sampler=request.sampler,
    )
    # The fingerprint is computed from the plan, and is stored in the plan's facts.
    return replace(plan, facts=plan.facts.model_copy(update={"fingerprint": cell_fingerprint(plan, study)}))


def _facts(request: CellRequest, setting: Published | None) -> CellFacts:
    """Return the cell's budget, metric, floor and published values, with an empty fingerprint."""
    study, task, model = request.study, request.task, request.model.value
    published_row = study.protocol == "fair" and request.model_entry.setting != "searched"
    return CellFacts(
        cell=request.cell,
        task=TaskRef(name=task.name, options=different_options(request.task_entry, task)),
        default_options=default_options(request.task_entry, task),
        model=model.name,
        metric=metric_facts(task.metric),
        others=tuple(metric_facts(metric) for metric in task.metrics()[1:]),
        parameters=None if study.protocol == "paper" else _parameters(request),
        tolerance=study.budget.tolerance,
        allow_deviation=study.budget.allow_deviation,
        floor=request.floors.test,
        validation_floor=request.floors.validation,
        sampled_floors=request.floors.sampled,
        **_published_facts(task, model),
        trials=0 if setting else study.budget.trials,
        repetitions=study.budget.repetitions,
        assumed=tuple(sorted(setting.assumed)) if setting else (),
        setting="published" if published_row else "searched",
        fingerprint={},
    )


def _with_rungs(request: CellRequest, facts: CellFacts, training: Training) -> CellFacts:
    """Return the facts with the trials of successive halving, if the study asks for it and the trials are long enough.

    Raises StudyError if something other than the updates may end a trial: then its updates could not be planned.
    """
    pruning = request.study.search.pruning
    if pruning == "none" or facts.trials == 0:
        return facts
    for key in ("patience", "seconds"):
        if getattr(training, key) is not None:
            raise StudyError(
                f"study {request.study.name!r}, {request.cell}: search.pruning plans the updates of every trial, but "
                f"training.{key} may end a trial earlier; drop one of the two settings"
            )
    rungs = plan_rungs(
        trials=facts.trials,
        updates=training.updates,
        evaluate_every=training.evaluate_every,
        reduction=pruning.reduction,
        minimum_updates=pruning.minimum_updates,
    )
    return facts.model_copy(update={"trials": rungs[0].trials, "rungs": rungs}) if len(rungs) > 1 else facts


def _at_equal_terms(setting: Published) -> Published:
    """Return a published setting as a fair study compares it: its architecture, optimiser, learning rate and clipping.

    The embedding, the batch size, the schedule and the reduction of the loss are the same for every model of a task.
    """
    optimisation = setting.optimisation.model_copy(update={"reduction": "mean"})
    return replace(setting, embedding=None, embedding_dropout=None, tied=None, optimisation=optimisation)


def _example(space: CellSpace) -> dict[str, ParamValue]:
    """Return the configuration in the middle of a cell's space."""
    return space.build_params({name: at_unit(dimension, 0.5) for name, dimension in space.dimensions.items()})


def metric_facts(metric: Metric) -> MetricFacts:
    """Return a metric as the manifest stores it."""
    return MetricFacts(
        name=metric.name, unit=metric.unit, better=metric.better, margin=metric.margin, scale=metric.scale
    )


def _published_facts(task: Task, model: Model) -> dict[str, object]:
    """Return the fields of CellFacts that come from the task's published row."""
    row = task.published()
    if row is None:
        return {}
    if model.name not in row.results:
        return {"task_parameters": row.parameters}
    source = row.sources.get(model.name, row.source)
    return {"task_parameters": row.parameters, "published": row.results[model.name], "published_source": source}


def _parameters(request: CellRequest) -> int:
    parameters = request.task_entry.parameters
    assert not isinstance(parameters, list)  # a plan has one entry per size
    if parameters != "published":
        return parameters
    row = request.task.published()
    if row is None or row.parameters is None:
        raise StudyError(
            f"study {request.study.name!r}: no parameter size is published for {request.task.row()}; "
            "give the task parameters = N"
        )
    return row.parameters


def _training(request: CellRequest, setting: Published | None) -> tuple[Training, Schedule]:
    """Return how the cell trains, with epochs converted to updates.

    Under `paper` the published batch size, epochs and schedule apply, unless the study gives others.
    """
    study, task = request.study, request.task
    section = study.training.overridden_by(request.task_entry.training)
    published = setting if study.protocol == "paper" else None
    batch_size = section.batch_size or (published.batch_size if published else FAIR_BATCH_SIZE)
    per_epoch = task.updates_per_epoch(batch_size)
    updates = section.updates
    if updates is None:
        epochs = section.epochs or (published.epochs if published else None)
        if epochs is None:
            raise StudyError(f"study {study.name!r}, {request.cell}: training has no length; give updates or epochs")
        # Rounded first, as 1.1 * 10 is a little over 11; at least 1, as half a millionth of an update rounds to 0.
        updates = max(math.ceil(round(epochs * per_epoch, 6)), 1)
    spaced = math.ceil(updates / section.evaluations)
    training = Training(
        updates=updates,
        batch_size=batch_size,
        # The paper evaluates once per epoch; a run shorter than three epochs is evaluated at even distances instead.
        evaluate_every=per_epoch if published and updates >= 3 * per_epoch else spaced,
        patience=section.patience,
        minimum_updates=section.minimum_updates,
        seconds=section.seconds,
        evaluation_limit=section.evaluation_limit,
        precision=section.precision,
    )
    return training, section.schedule or (published.optimisation.schedule if published else Schedule())


def _resources(request: CellRequest, training: Training) -> Resources:
    resources = request.task_entry.resources or request.study.resources
    if resources.stack > 1 and training.seconds is not None:
        raise StudyError(
            f"study {request.study.name!r}, {request.cell}: training.seconds limits the time of a single trial, but "
            f"trials share their time under resources.stack = {resources.stack}; drop one of the two settings"
        )
    return resources


def _check_published(request: CellRequest, setting: Published, space: CellSpace) -> None:
    """Raise SpaceError if the published setting lies outside the space that the study narrows."""
    given: dict[str, ParamValue] = {
        "optimizer": setting.optimisation.optimizer,
        "clip": setting.optimisation.clip,
        **setting.params,
    }
    for name in (*request.model_entry.space, *request.study.search.space):
        if name in given and not contains(space.dimensions[name], given[name]):
            raise SpaceError(
                f"study {request.study.name!r}, {request.cell}: the published setting has {name} = {given[name]!r}, "
                f"outside the study's space {describe(space.dimensions[name])}; widen the space or drop the setting"
            )
