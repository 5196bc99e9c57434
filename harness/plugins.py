"""Entry points of group `harness`, loaded one by one, so that a broken plugin costs only itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

import pluggy

from harness import hookspecs
from harness.errors import PluginError
from harness.hookspecs import PROJECT
from harness.model import Model
from harness.records import Plugin
from harness.registry import Entry, Registry
from harness.task import Task

GROUP = "harness"
DISABLE = "HARNESS_DISABLE_PLUGINS"
"""Environment variable: names of distributions, comma-separated, that are not loaded."""

T = TypeVar("T")


@dataclass
class Loaded:
    """The outcome of loading: the registry, and the hooks for the driver to call."""

    registry: Registry
    hooks: pluggy.PluginManager


@dataclass
class _Registrar:
    """Collects what one plugin registers, before any of it is accepted."""

    plugin: Plugin
    models: dict[str, Entry[Model]] = field(default_factory=dict)
    tasks: dict[str, Entry[type[Task]]] = field(default_factory=dict)

    def model(self, model: Model) -> None:
        if not isinstance(model, Model):
            raise PluginError(f"register takes an instance of harness.Model, got {model!r}")
        self._add(self.models, model.name, model, type(model))

    def task(self, task: type[Task]) -> None:
        if not (isinstance(task, type) and issubclass(task, Task)):
            raise PluginError(f"register takes a subclass of harness.Task, not an instance, got {task!r}")
        self._add(self.tasks, task.name, task, task)

    def _add(self, entries: dict[str, Entry[T]], name: str, value: T, kind: type) -> None:
        if name in entries:
            raise PluginError(f"{name!r} is registered twice")
        entries[name] = Entry(name, value, self.plugin, f"{kind.__module__}:{kind.__qualname__}")


def load_plugins(points: Iterable[EntryPoint] | None = None) -> Loaded:
    """Load every installed plugin.

    A plugin that raises at import or at registration leaves one message in the registry and nothing else.
    PluginError where two plugins register one name: which one is meant is for the user to say.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",")}
    models: dict[str, Entry[Model]] = {}
    tasks: dict[str, Entry[type[Task]]] = {}
    plugins: list[Plugin] = []
    messages: list[str] = []
    for point in sorted(entry_points(group=GROUP) if points is None else points, key=_distribution_name):
        if _distribution_name(point) in disabled:
            continue
        plugin = Plugin(name=_distribution_name(point), version=point.dist.version if point.dist else "unknown")
        try:
            registrar = _register(manager, point, plugin)
        # The plugin border: whatever a stranger's module raises, the command goes on without that plugin.
        except Exception as error:
            messages.append(_message(plugin, error))
            continue
        _merge("model", models, registrar.models)
        _merge("task", tasks, registrar.tasks)
        plugins.append(plugin)
    return Loaded(Registry(models, tasks, tuple(plugins), tuple(messages)), manager)


def _register(manager: pluggy.PluginManager, point: EntryPoint, plugin: Plugin) -> _Registrar:
    manager.register(point.load(), name=plugin.name)
    registrar = _Registrar(plugin)
    try:
        manager.check_pending()
        others = [other for name, other in manager.list_name_plugin() if name != plugin.name]
        hooks = manager.subset_hook_caller
        hooks("harness_register_models", others)(register=registrar.model)
        hooks("harness_register_tasks", others)(register=registrar.task)
    except BaseException:
        manager.unregister(name=plugin.name)
        raise
    return registrar


def _merge(kind: str, accepted: dict[str, Entry[T]], new: dict[str, Entry[T]]) -> None:
    for name, entry in new.items():
        if name in accepted:
            one, other = accepted[name].plugin, entry.plugin
            raise PluginError(
                f"{kind} {name!r} is registered by {one.name} {one.version} and by {other.name} {other.version}; "
                f"uninstall one of them, or set {DISABLE}={other.name}"
            )
        accepted[name] = entry


def _distribution_name(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.name


def _message(plugin: Plugin, error: Exception) -> str:
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return (
        f"plugin {plugin.name} {plugin.version} could not be loaded ({what}); its models and tasks are missing. "
        f"Mend it, uninstall it, or set {DISABLE}={plugin.name}"
    )


def register_listener(loaded: Loaded, listener: object) -> Callable[[], None]:
    """Let an object with lifecycle hooks hear a study; returns what unregisters it."""
    loaded.hooks.register(listener)
    return lambda: loaded.hooks.unregister(listener)
