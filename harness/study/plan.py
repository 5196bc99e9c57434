"""Study × registry → cells: what will be trained, at which size and for how long, and what is left out and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.api.model import Model, Published
from harness.api.task import Metric, Task
from harness.data.files import file_status
from harness.errors import SpaceError, StudyError
from harness.plugin.registry import Registry, plugin_border
from harness.records import (
    Cell,
    CellFacts,
    LeftOut,
    MetricFacts,
    ParamValue,
    Resources,
    Schedule,
    TaskRef,
    Training,
)
from harness.study.cell_plan import CellPlan
from harness.study.fingerprint import cell_fingerprint
from harness.study.labels import check_labels, different_options, model_label, task_label
from harness.study.schema import ModelEntry, Study, TaskEntry, TrainingSection
from harness.study.space import CellSpace, at_unit, cell_space, contains, describe
from harness.training.network import offers_scan, offers_stack

FAIR_BATCH_SIZE = 16


@dataclass(frozen=True)
class Plan:
    study: Study
    """As it was given, with the options that its tasks made of it: the path of a user's own file is whole."""
    cells: tuple[CellPlan, ...]
    left_out: tuple[LeftOut, ...]

    def trials(self) -> int:
        """Search and final trials of all cells."""
        return sum(plan.facts.trials + plan.facts.repetitions for plan in self.cells)

    def missing(self) -> dict[Cell, str]:
        """Cells whose data files are not all here, and what is wrong with the first of them."""
        faults = {file: file_status(file).detail for cell in self.cells for file in cell.task.files()}
        return {
            cell.cell: next(faults[file] for file in cell.task.files() if faults[file])
            for cell in self.cells
            if any(faults[file] for file in cell.task.files())
        }

    def without_missing(self) -> Plan:
        """The cells whose data are here; the others are left out with the reason.  StudyError where none is here."""
        missing = self.missing()
        cells = tuple(cell for cell in self.cells if cell.cell not in missing)
        if not cells:
            raise StudyError(f"study {self.study.name!r} has no cell to run: {next(iter(missing.values()))}")
        left_out = tuple(LeftOut(cell=cell, reason=reason) for cell, reason in missing.items())
        return replace(self, cells=cells, left_out=(*self.left_out, *left_out))


def make_plan(study: Study, registry: Registry) -> Plan:
    """Every cell of a study.  StudyError, UnknownNameError or SpaceError where it cannot be run as written."""
    for model_entry in study.models:
        registry.model(model_entry.name)
    for entry in study.tasks:
        if study.protocol == "paper" and "parameters" in entry.model_fields_set:
            raise StudyError(
                f"study {study.name!r}: protocol paper trains published widths and reads no parameters = "
                f'{entry.parameters!r} for {entry.name}; drop it, or set protocol = "fair"'
            )
    study = study.model_copy(update={"tasks": tuple(_as_made(entry, registry) for entry in study.tasks)})
    tasks = [(task_label(entry, registry), entry) for entry in study.tasks]
    models = [(model_label(entry), entry) for entry in study.models]
    check_labels("task", [label for label, _ in tasks])
    check_labels("model", [label for label, _ in models])
    cells: list[CellPlan] = []
    left_out: list[LeftOut] = []
    for task, task_entry in tasks:
        for model, model_entry in models:
            cell = Cell(task=task, model=model)
            brought = (registry.task(task_entry.name).plugin, registry.model(model_entry.name).plugin)
            with plugin_border(f"study {study.name!r}, {cell}", *brought):
                planned = _plan_cell(study, registry, cell, task_entry, model_entry)
            if isinstance(planned, CellPlan):
                cells.append(planned)
            else:
                left_out.append(planned)
    if not cells:
        raise StudyError(f"study {study.name!r} has no cell to run: {left_out[0].cell}: {left_out[0].reason}")
    return Plan(study, tuple(cells), tuple(left_out))


def _plan_cell(
    study: Study, registry: Registry, cell: Cell, task_entry: TaskEntry, model_entry: ModelEntry
) -> CellPlan | LeftOut:
    task_source, model_source = registry.task(task_entry.name), registry.model(model_entry.name)
    task, model = registry.make_task(task_entry.name, task_entry.options), model_source.value
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
        _check_published(cell, setting, space, model_entry, study)
    if task.carries() and not offers_scan(model, signature, setting.params if setting else _example(space)):
        return LeftOut(cell=cell, reason=f"{task.name} carries a state between windows, and {model.name} has no scan")
    section = study.training.overridden_by(task_entry.training)
    training, schedule = _training(study, task, section, setting, cell)
    resources = _resources(study, task_entry, training, cell)
    if resources.stack > 1 and not offers_stack(model, signature, setting.params if setting else _example(space)):
        resources = resources.model_copy(update={"stack": 1})  # its trials are trained one by one
    plugins = tuple(dict.fromkeys((task_source.plugin, model_source.plugin)))
    data = {file.name: file.sha256 for file in task.files()}
    plan = CellPlan(
        facts=_facts(study, cell, task, model, task_entry, model_entry, setting),
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
        plugins=plugins,
    )
    return replace(plan, facts=plan.facts.model_copy(update={"fingerprint": cell_fingerprint(plan, study)}))


def _facts(
    study: Study,
    cell: Cell,
    task: Task,
    model: Model,
    task_entry: TaskEntry,
    model_entry: ModelEntry,
    setting: Published | None,
) -> CellFacts:
    """What the cell is granted and compared with; the fingerprint is taken of the plan that holds this."""
    beside_others = study.protocol == "fair" and model_entry.setting != "searched"
    return CellFacts(
        cell=cell,
        task=TaskRef(name=task.name, options=different_options(task_entry, task)),
        model=model.name,
        metric=metric_facts(task.metric),
        others=tuple(metric_facts(metric) for metric in task.metrics()[1:]),
        parameters=None if study.protocol == "paper" else _parameters(task, task_entry, study),
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
    return replace(
        setting, embedding=None, tied=None, optimisation=setting.optimisation.model_copy(update={"reduction": "mean"})
    )


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


def _parameters(task: Task, entry: TaskEntry, study: Study) -> int:
    if entry.parameters != "published":
        return entry.parameters
    row = task.published()
    if row is None or row.parameters is None:
        raise StudyError(
            f"study {study.name!r}: no parameter size is published for {task.row()}; give the task parameters = N"
        )
    return row.parameters


def _training(
    study: Study, task: Task, section: TrainingSection, setting: Published | None, cell: Cell
) -> tuple[Training, Schedule]:
    """Epochs as updates.  Under `paper` the setting's own batch, epochs and schedule, unless the study says else."""
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


def _resources(study: Study, entry: TaskEntry, training: Training, cell: Cell) -> Resources:
    resources = entry.resources or study.resources
    if resources.stack > 1 and training.seconds is not None:
        raise StudyError(
            f"study {study.name!r}, {cell}: training.seconds bounds a trial by its own time, which it shares under "
            f"resources.stack = {resources.stack}; drop one of them"
        )
    return resources


def _check_published(cell: Cell, setting: Published, space: CellSpace, entry: ModelEntry, study: Study) -> None:
    """A study that narrows the space must not train a setting from outside it under the same name."""
    given: dict[str, ParamValue] = {
        "optimizer": setting.optimisation.optimizer,
        "clip": setting.optimisation.clip,
        **setting.params,
    }
    for name in (*entry.space, *study.search.space):
        if name in given and not contains(space.dimensions[name], given[name]):
            raise SpaceError(
                f"study {study.name!r}, {cell}: the published setting has {name} = {given[name]!r}, outside the "
                f"study's space {describe(space.dimensions[name])}; widen the space or drop the setting"
            )


def _as_made(entry: TaskEntry, registry: Registry) -> TaskEntry:
    """The entry with its options as the task has them, under the label of those that were written."""
    beside = {field.alias or name for name, field in TaskEntry.model_fields.items()}
    task = registry.make_task(entry.name, entry.options, beside)
    made = {key: value for key, value in task.model_dump(mode="json").items() if key in entry.options}
    if made == entry.options:
        return entry
    return entry.model_copy(update={**made, "label": task_label(entry, registry)})
