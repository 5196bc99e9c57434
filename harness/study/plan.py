"""Study × registry → cells: what will be trained, at which size and for how long, and what is left out and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from harness.api.task import Task
from harness.data.files import file_status
from harness.errors import StudyError
from harness.plugin.registry import Registry, plugin_border
from harness.records import Cell, LeftOut
from harness.study.cell_plan import CellPlan
from harness.study.cell_planning import CellRequest, plan_cell
from harness.study.labels import check_labels, model_label, task_label
from harness.study.schema import Study, TaskEntry


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

    def narrowed(self, models: Collection[str], repetitions: int) -> Plan:
        """The cells of these model labels at so many repetitions; nothing is planned again."""
        study = self.study.model_copy(
            update={
                "models": tuple(entry for entry in self.study.models if model_label(entry) in models),
                "budget": self.study.budget.model_copy(update={"repetitions": repetitions}),
            }
        )
        cells = tuple(
            replace(cell, facts=cell.facts.model_copy(update={"repetitions": repetitions}))
            for cell in self.cells
            if cell.cell.model in models
        )
        return Plan(study, cells, tuple(left for left in self.left_out if left.cell.model in models))

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
    tasks = [_made_task(entry, registry) for entry in study.tasks]
    study = study.model_copy(update={"tasks": tuple(entry for _, entry, _ in tasks)})
    models = [(model_label(entry), entry) for entry in study.models]
    check_labels("task", [label for label, _, _ in tasks])
    check_labels("model", [label for label, _ in models])
    cells: list[CellPlan] = []
    left_out: list[LeftOut] = []
    for label, task_entry, task in tasks:
        for model, model_entry in models:
            asked = CellRequest(
                study=study,
                cell=Cell(task=label, model=model),
                task_entry=task_entry,
                task=task,
                task_plugin=registry.task(task_entry.name).plugin,
                model_entry=model_entry,
                model=registry.model(model_entry.name),
            )
            with plugin_border(f"study {study.name!r}, {asked.cell}", *asked.plugins):
                planned = plan_cell(asked)
            if isinstance(planned, CellPlan):
                cells.append(planned)
            else:
                left_out.append(planned)
    if not cells:
        raise StudyError(f"study {study.name!r} has no cell to run: {left_out[0].cell}: {left_out[0].reason}")
    return Plan(study, tuple(cells), tuple(left_out))


def _made_task(entry: TaskEntry, registry: Registry) -> tuple[str, TaskEntry, Task]:
    """The label, the entry with its options as the task holds them, and the task itself, which is made once."""
    beside = {field.alias or name for name, field in TaskEntry.model_fields.items()}
    task = registry.make_task(entry.name, entry.options, beside)
    label = task_label(entry, task)
    held = {key: value for key, value in task.model_dump(mode="json").items() if key in entry.options}
    return label, entry if held == entry.options else entry.model_copy(update={**held, "label": label}), task
