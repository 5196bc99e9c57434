"""The registry: names of models, tasks and samplers, what is registered under them, and by which plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Generic, TypeVar

from pydantic import ValidationError

from harness.api.model import Model
from harness.api.sampler import SamplerFactory
from harness.api.task import Task
from harness.errors import HarnessError, PluginError, StudyError, UnknownNameError, cause, did_you_mean, fault_text
from harness.records import ParamValue, Plugin
from harness.samplers import CORE_SAMPLERS

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered model, task or sampler and its origin."""

    name: str
    value: T
    plugin: Plugin
    origin: str
    """Where it is defined, as `module:class` or `module:function`."""


CORE = Plugin(name="seqharness", version=version("seqharness"))
"""The core, as the origin of its own samplers."""
SAMPLERS: Mapping[str, Entry[SamplerFactory]] = {
    name: Entry(name, factory, CORE, f"{factory.__module__}:{factory.__qualname__}")
    for name, factory in CORE_SAMPLERS.items()
}


@dataclass(frozen=True)
class Registry:
    """The models, tasks and samplers of the installed plugins.

    `messages` holds one line for each plugin that could not be loaded or that changed settings of the process.
    """

    models: Mapping[str, Entry[Model]]
    tasks: Mapping[str, Entry[type[Task]]]
    plugins: tuple[Plugin, ...] = ()
    messages: tuple[str, ...] = field(default=())
    samplers: Mapping[str, Entry[SamplerFactory]] = field(default_factory=lambda: SAMPLERS)
    """Those of the core and of the plugins."""

    def model(self, name: str) -> Entry[Model]:
        return _look_up("model", name, self.models)

    def task(self, name: str) -> Entry[type[Task]]:
        return _look_up("task", name, self.tasks)

    def sampler(self, name: str) -> Entry[SamplerFactory]:
        return _look_up("sampler", name, self.samplers)

    def default_tasks(self) -> dict[str, Task]:
        """Return every task with its default options, except tasks that require one, such as a user-supplied file."""
        return {
            name: entry.value()
            for name, entry in self.tasks.items()
            if not any(option.is_required() for option in entry.value.model_fields.values())
        }

    def make_task(self, name: str, options: Mapping[str, ParamValue], other_keys: Iterable[str] = ()) -> Task:
        """Return the task with these options.

        other_keys: keys that may be written in the same place as the options, for the hint about a misspelt key.

        Raises UnknownNameError if no such task is installed, and StudyError if an option is wrong.
        """
        kind = self.task(name).value
        unknown = next((key for key in options if key not in kind.model_fields), None)
        if unknown is not None:
            known = ", ".join(kind.model_fields) or "none"
            hint = did_you_mean(unknown, (*kind.model_fields, *other_keys))
            raise StudyError(f"task {name!r} has no option {unknown!r};{hint} Options: {known}")
        try:
            return kind.model_validate(dict(options), strict=True)
        except ValidationError as error:
            raise StudyError(f"task {name!r}{_option_fault(error)}") from error


def _option_fault(error: ValidationError) -> str:
    """Return what is wrong with the first faulty option, as the rest of a sentence that names the task."""
    fault = error.errors()[0]
    option = ".".join(str(part) for part in fault["loc"][:1])
    if fault["type"] == "missing":
        return f" needs the option {option!r}: {option} = …"
    text = fault_text(option, fault["input"], kind=fault["type"], message=fault["msg"], limits=fault.get("ctx", {}))
    return f": {text}"


@contextlib.contextmanager
def plugin_border(where: str, *plugins: Plugin) -> Iterator[None]:
    """Convert exceptions from third-party code to PluginError, in one line that names the possible plugins.

    A HarnessError passes unchanged.
    """
    try:
        yield
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # third-party code may raise anything
        raise PluginError(
            f"{where}: {names_of(plugins)} raised {cause(error)}; fix it, change its options, or leave it out of the "
            "study"
        ) from error


def names_of(plugins: Iterable[Plugin]) -> str:
    """Return plugins with their versions, as `A 1.0 or B 2.0`."""
    return " or ".join(dict.fromkeys(f"{plugin.name} {plugin.version}" for plugin in plugins))


def _look_up(kind: str, name: str, known: Mapping[str, Entry[T]]) -> Entry[T]:
    if name in known:
        return known[name]
    installed = ", ".join(sorted(known)) or f"none; install a distribution that provides {kind}s"
    raise UnknownNameError(f"{kind} {name!r} is not installed;{did_you_mean(name, known)} Installed: {installed}")
