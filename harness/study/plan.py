"""The plan of a study: its cells, how each is trained, and which cells are left out and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.api.task import Task
from harness.data.files import file_status
from harness.errors import StudyError
from harness.plugin.registry import Registry, plugin_border
from harness.records import Cell, LeftOut
from harness.study.cell_plan import CellPlan
from harness.study.cell_planning import CellRequest, plan_cell
from harness.study.floors import Floors, floors_of
from harness.study.labels import check_labels, model_label, task_label
from harness.study.schema import Study, TaskEntry


@dataclass(frozen=True)
class Plan:
    """A study and its cells."""

    study: Study
    """The study as given, with options as its tasks validated them: paths of user-supplied files are absolute."""
    cells: tuple[CellPlan, ...]
    left_out: tuple[LeftOut, ...]

    def trials(self) -> int:
        """Return the number of search and final trials of all cells."""
        return sum(plan.facts.trials + plan.facts.repetitions for plan in self.cells)

    def missing(self) -> dict[Cell, str]:
        """Return the cells that lack a data file, with what is wrong with the first such file."""
        faults = {file: file_status(file).detail for cell in self.cells for file in cell.task.files()}
        return {
            cell.cell: next(faults[file] for file in cell.task.files() if faults[file])
            for cell in self.cells
            if any(faults[file] for file in cell.task.files())
        }

    def narrowed(self, models: Collection[str], repetitions: int) -> Plan:
        """Return the plan with only the cells of these model labels, at this number of repetitions.

        Nothing is planned again.
        """
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
        """Return the plan without the cells that lack a data file; `left_out` gives the reasons.

        Raises StudyError if no cell is left.
        """
        missing = self.missing()
        cells = tuple(cell for cell in self.cells if cell.cell not in missing)
        if not cells:
            raise StudyError(f"study {self.study.name!r} has no cell to run: {next(iter(missing.values()))}")
        left_out = tuple(LeftOut(cell=cell, reason=reason) for cell, reason in missing.items())
        return replace(self, cells=cells, left_out=(*self.left_out, *left_out))


def make_plan(study: Study, registry: Registry) -> Plan:
    """Plan every cell of a study.

    Raises StudyError, UnknownNameError or SpaceError if the study cannot be run as written.
    """
    for model_entry in study.models:
        registry.model(model_entry.name)
    registry.sampler(study.search.sampler)
    if study.protocol == "paper":
        _check_no_parameters(study)
    made = [_made_task(entry, registry) for entry in study.tasks]
    study = study.model_copy(update={"tasks": tuple(entry for _, entry, _ in made)})
    tasks = [at_size for label, entry, task in made for at_size in _by_size(label, entry, task)]
    check_labels("task", [label for label, _, _ in tasks])
    check_labels("model", [model_label(entry) for entry in study.models])
    cells: list[CellPlan] = []
    left_out: list[LeftOut] = []
    for request in _requests(study, tasks, registry):
        with plugin_border(f"study {study.name!r}, {request.cell}", *request.plugins):
            planned = plan_cell(request)
        if isinstance(planned, CellPlan):
            cells.append(planned)
        else:
            left_out.append(planned)
    if not cells:
        raise StudyError(f"study {study.name!r} has no cell to run: {left_out[0].cell}: {left_out[0].reason}")
    return Plan(study, tuple(cells), tuple(left_out))


def _check_no_parameters(study: Study) -> None:
    for entry in study.tasks:
        if "parameters" in entry.model_fields_set:
            raise StudyError(
                f"study {study.name!r}: protocol paper trains published widths and reads no parameters = "
                f'{entry.parameters!r} for {entry.name}; drop it, or set protocol = "fair"'
            )


def _by_size(label: str, entry: TaskEntry, task: Task) -> list[tuple[str, TaskEntry, Task]]:
    """Return a task's label and entry at each of its sizes, or as they are if the entry has one size."""
    sized = [entry.at_size(parameters, label) for parameters in entry.sizes]
    return [(at_size.label or label, at_size, task) for at_size in sized] or [(label, entry, task)]


def _requests(study: Study, tasks: Sequence[tuple[str, TaskEntry, Task]], registry: Registry) -> Iterator[CellRequest]:
    """Yield the cells of a study, task by task."""
    known: dict[int, Floors] = {}  # the sizes of a task share it, and its floors may take long
    for label, task_entry, task in tasks:
        plugin = registry.task(task_entry.name).plugin
        if id(task) not in known:
            with plugin_border(f"study {study.name!r}, {label}", plugin):
                limit = study.training.overridden_by(task_entry.training).evaluation_limit
                known[id(task)] = floors_of(task, limit, study.search.seed)
        for model_entry in study.models:
            yield CellRequest(
                study=study,
                cell=Cell(task=label, model=model_label(model_entry)),
                task_entry=task_entry,
                task=task,
                task_plugin=plugin,
                model_entry=model_entry,
                model=registry.model(model_entry.name),
                sampler=registry.sampler(study.search.sampler),
                floors=known[id(task)],
            )


def _made_task(entry: TaskEntry, registry: Registry) -> tuple[str, TaskEntry, Task]:
    """Return the label, the entry with the options as the task validated them, and the task.  It is made only once."""
    other_keys = {field.alias or name for name, field in TaskEntry.model_fields.items()}
    task = registry.make_task(entry.name, entry.options, other_keys)
    label = task_label(entry, task)
    validated = {key: value for key, value in task.model_dump(mode="json").items() if key in entry.options}
    if validated != entry.options:
        entry = entry.model_copy(update={**validated, "label": label})
    return label, entry, task
