"""Models and tasks that no installed package provides: classes defined in a notebook or a script."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.api.model import Model
from harness.api.task import Task
from harness.plugin.loader import Loaded, Registrar, merge
from harness.plugin.source import source_digest
from harness.records import Plugin, digest_of

LOCAL_MODEL, LOCAL_TASK = "local-model:", "local-task:"
"""Prefixes of the names of the plugins under which such classes are registered, such as `local-model:my-net`."""


@dataclass(frozen=True)
class LocalClasses:
    """Models and tasks given to a study as classes or instances."""

    models: tuple[Model, ...] = ()
    tasks: tuple[type[Task], ...] = ()
    plugins: tuple[Plugin, ...] = ()
    """One for each model and then for each task.  Its version is a digest of the source of the class; it identifies the
    class in a study's records, as a package's version does.
    """

    def __bool__(self) -> bool:
        return bool(self.models or self.tasks)


NO_CLASSES = LocalClasses()


def local_classes(models: Iterable[Model], tasks: Iterable[type[Task]]) -> LocalClasses:
    """Return these models and tasks with the digests of their sources."""
    models, tasks = tuple(models), tuple(tasks)
    plugins = [
        *(_plugin_of(f"{LOCAL_MODEL}{model.name}", type(model)) for model in models),
        *(_plugin_of(f"{LOCAL_TASK}{task.name}", task) for task in tasks),
    ]
    return LocalClasses(models, tasks, tuple(plugins))


def is_local(plugin: Plugin) -> bool:
    """Return whether no installed package provides what is registered under this plugin."""
    return plugin.name.startswith((LOCAL_MODEL, LOCAL_TASK))


def _plugin_of(name: str, kind: type) -> Plugin:
    return Plugin(name=name, version=digest_of(source_digest(kind))[:12])


def with_local(loaded: Loaded, local: LocalClasses) -> Loaded:
    """Return the loaded plugins and these classes beside them; classes that are installed stay their plugin's.

    Raises PluginError if a name is invalid, or is that of an installed model or task.
    """
    if not local:
        return loaded
    installed = loaded.registry
    models, tasks = dict(installed.models), dict(installed.tasks)
    of_models, of_tasks = local.plugins[: len(local.models)], local.plugins[len(local.models) :]
    added = []
    for model, plugin in zip(local.models, of_models, strict=True):
        if not any(type(entry.value) is type(model) for entry in installed.models.values()):
            registrar = Registrar(plugin)
            registrar.model(model)
            merge("model", models, registrar.models)
            added.append(plugin)
    for task, plugin in zip(local.tasks, of_tasks, strict=True):
        if not any(entry.value is task for entry in installed.tasks.values()):
            registrar = Registrar(plugin)
            registrar.task(task)
            merge("task", tasks, registrar.tasks)
            added.append(plugin)
    plugins = tuple(sorted((*installed.plugins, *added), key=lambda plugin: plugin.name))
    return replace(loaded, registry=replace(installed, models=models, tasks=tasks, plugins=plugins))
