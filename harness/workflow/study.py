"""A study as Python states it."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd

from harness.api.model import Model
from harness.api.task import Task
from harness.errors import StudyError, cause
from harness.ledger.folder import write_atomically
from harness.plugin.loader import load_plugins
from harness.plugin.local import NO_CLASSES, LocalClasses, local_classes, with_local
from harness.study.file import parse_study, read_study_file, study_toml
from harness.study.plan import make_plan
from harness.study.schema import Study as Definition
from harness.workflow.arguments import listed, plain
from harness.workflow.planned import plan_frame

ModelLike = str | Mapping[str, Any] | Model | type[Model]
TaskLike = str | Mapping[str, Any] | Task | type[Task]
T = TypeVar("T", bound=Model | type[Model] | type[Task])


class Study:
    """Models, tasks and the budget at which they are compared: what a study file holds.

    Two studies are equal if their files and their local classes are.
    """

    def __init__(
        self,
        name: str,
        models: Sequence[ModelLike],
        tasks: Sequence[TaskLike],
        *,
        protocol: Literal["fair", "paper"] = "fair",
        **sections: Mapping[str, Any] | None,
    ) -> None:
        """State a study.  Raises StudyError with the key at fault if it is not valid.

        models: names of installed models; tables as in a study file, such as `{"name": "tcn", "space": {…}}`, whose
        "name" may also be a class; instances or subclasses of `harness.Model`, also of a notebook.
        tasks: the same with tasks and their options, such as `{"name": "adding", "length": 200, "parameters": 5000}`.
        An instance of a task gives its options.
        sections: the tables `budget`, `training`, `search` and `resources` of a study file, as mappings.
        Values may be NumPy's numbers and arrays, and paths; a key whose value is None is left out.
        """
        source = f"Study({name!r})"
        collected = _Collected(source)
        tables = {
            "name": name,
            "protocol": protocol,
            "models": [collected.model(entry) for entry in listed(models, source, "models")],
            "tasks": [collected.task(entry) for entry in listed(tasks, source, "tasks")],
            **sections,
        }
        self.definition: Definition = parse_study(_as_toml_has_it(plain(tables, source)), source=source)
        self.local: LocalClasses = collected.classes()

    @classmethod
    def from_toml(
        cls, path: str | os.PathLike[str], overrides: Iterable[str] = (), *, profile: str | None = None
    ) -> Study:
        """Read a study file.

        overrides: assignments such as `"budget.trials=3"`.  profile: name of a set of values, such as "smoke".  Raises
        StudyError if the file cannot be read or is not valid.
        """
        return cls._of(read_study_file(Path(path), listed(overrides, str(path), "overrides"), profile=profile))

    @classmethod
    def _of(cls, definition: Definition) -> Study:
        study = cls.__new__(cls)
        study.definition, study.local = definition, NO_CLASSES
        return study

    @property
    def name(self) -> str:
        return self.definition.name

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the study as TOML, and write it to `path` if one is given.

        Raises StudyError if the study has local classes, which no file can name, LedgerError if the file cannot be
        written.
        """
        if self.local:
            kinds = (*(type(model) for model in self.local.models), *self.local.tasks)
            names = ", ".join(kind.__qualname__ for kind in kinds)
            raise StudyError(f"{self!r} has classes that no file can name ({names}); register them as a plugin")
        text = study_toml(self.definition)
        if path is not None:
            write_atomically(Path(path), text)
        return text

    def plan(self, *, measure: bool = False) -> pd.DataFrame:
        """Return one row per cell: widths, parameters, deviation from the budget, receptive field, trials.

        Nothing is trained, unless `measure` asks for the time of each cell: 20 updates of each of three configurations,
        for about a minute at most.  A cell whose updates fail keeps its estimate and gives a UserWarning.  Cells that
        are left out have a reason.  Raises what `harness.run` raises before training.
        """
        registry = with_local(load_plugins(), self.local).registry
        plan = make_plan(self.definition, registry)
        if not measure:
            return plan_frame(plan)
        from harness.workflow.measured import measure_plan  # imports what training needs

        measured = measure_plan(plan, registry)
        for reason in measured.failed.values():
            warnings.warn(f"not measured: {reason}", stacklevel=2)
        return plan_frame(plan, measured.seconds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Study) and (self.definition, self.local) == (other.definition, other.local)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        models = ", ".join(entry.label or entry.name for entry in self.definition.models)
        tasks = ", ".join(entry.label or entry.name for entry in self.definition.tasks)
        return f"Study({self.name!r}: {models} on {tasks})"


class _Collected:
    """Tables of a study file from what a caller gives, and the classes that were given."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._models: dict[str, Model | type[Model]] = {}
        self._tasks: dict[str, type[Task]] = {}

    def classes(self) -> LocalClasses:
        return local_classes(map(self._instance, self._models.values()), self._tasks.values())

    def model(self, entry: ModelLike) -> str | dict[str, Any]:
        if isinstance(entry, str):
            return entry
        if isinstance(entry, Mapping):
            return {**entry, **({"name": self._model_name(entry["name"])} if "name" in entry else {})}
        return self._model_name(entry)

    def task(self, entry: TaskLike) -> dict[str, Any]:
        if isinstance(entry, Mapping):
            named = self.task(entry["name"]) if "name" in entry else {}
            return {**named, **{key: value for key, value in entry.items() if key != "name"}}
        if isinstance(entry, Task):
            return {"name": self._task_name(type(entry)), **entry.model_dump(mode="json", exclude_unset=True)}
        return {"name": self._task_name(entry)}

    def _model_name(self, model: object) -> str:
        if isinstance(model, str):
            return model
        if not (isinstance(model, Model) or (inspect.isclass(model) and issubclass(model, Model))):
            raise StudyError(f"{model!r} is no model; give a name, a table, or a subclass of harness.Model")
        kind = model if inspect.isclass(model) else type(model)
        return self._named(self._models, model, kind, difference="a dimension of its `space`")

    def _task_name(self, task: object) -> str:
        if isinstance(task, str):
            return task
        if not (inspect.isclass(task) and issubclass(task, Task)):
            raise StudyError(f"{task!r} is no task; give a name, a table, or a subclass of harness.Task")
        return self._named(self._tasks, task, task, difference="an option of it")

    def _named(self, others: dict[str, T], given: T, kind: type, *, difference: str) -> str:
        """Return the name of a class, under which `given` is kept.  Raises StudyError if another one has the name.

        difference: how one class can be two entries of a study, for the message.
        """
        name: str = getattr(kind, "name", kind.__qualname__)
        if others.setdefault(name, given) is not given:
            raise StudyError(
                f"{self._source}: {name!r} is the name of two different objects, of which a study can hold one; give "
                f"each a class of its own with another `name`, or make the difference {difference}"
            )
        return name

    def _instance(self, model: Model | type[Model]) -> Model:
        """Return an instance of the class that was given.  Raises StudyError if it cannot be made without arguments."""
        if isinstance(model, Model):
            return model
        try:
            return model()
        except Exception as error:  # third-party code may raise anything
            raise StudyError(
                f"{self._source}: {model.__qualname__}() raised {cause(error)}; give an instance"
            ) from error


def _as_toml_has_it(value: Any, *, in_space: bool = False) -> Any:  # values of a study file
    """Return the value without None, which TOML lacks: "none" in a search space, otherwise a key that is left out."""
    if isinstance(value, Mapping):
        return {
            key: _as_toml_has_it(item, in_space=in_space or key == "space")
            for key, item in value.items()
            if item is not None or in_space
        }
    if isinstance(value, list | tuple):
        return [_as_toml_has_it(item, in_space=in_space) for item in value]
    return "none" if value is None else value
