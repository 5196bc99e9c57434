"""Models and tasks that no installed package provides: classes defined in a notebook or a script."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.api.model import Model
from harness.api.task import Task
from harness.plugin.loader import Loaded, Registrar, merge
from harness.plugin.source import source_digest
from harness.records import Plugin, digest_of

LOCAL = "local"
"""Name of the plugin under which such classes are registered; its version is a digest of their source."""


@dataclass(frozen=True)
class LocalClasses:
    """Models and tasks given to a study as classes or instances."""

    models: tuple[Model, ...] = ()
    tasks: tuple[type[Task], ...] = ()
    version: str = ""
    """Digest of their source; it identifies them in a study's records, as a package's version does."""

    def __bool__(self) -> bool:
        return bool(self.models or self.tasks)


NO_CLASSES = LocalClasses()


def local_classes(models: Iterable[Model], tasks: Iterable[type[Task]]) -> LocalClasses:
    """Return these models and tasks with the digest of their source."""
    kinds = [*(type(model) for model in models), *tasks]
    version = digest_of(sorted(source_digest(kind) for kind in kinds))[:12] if kinds else ""
    return LocalClasses(tuple(models), tuple(tasks), version)


def with_local(loaded: Loaded, local: LocalClasses) -> Loaded:
    """Return the loaded plugins and these classes beside them; classes that are installed stay their plugin's.

    Raises PluginError if a name is invalid, or is that of an installed model or task.
    """
    if not local:
        return loaded
    registrar = Registrar(Plugin(name=LOCAL, version=local.version))
    installed = loaded.registry
    for model in local.models:
        if not any(type(entry.value) is type(model) for entry in installed.models.values()):
            registrar.model(model)
    for task in local.tasks:
        if not any(entry.value is task for entry in installed.tasks.values()):
            registrar.task(task)
    models, tasks = dict(installed.models), dict(installed.tasks)
    merge("model", models, registrar.models)
    merge("task", tasks, registrar.tasks)
    plugins = tuple(sorted((*installed.plugins, registrar.plugin), key=lambda plugin: plugin.name))
    return replace(loaded, registry=replace(installed, models=models, tasks=tasks, plugins=plugins))
