"""Loading of entry points of group `harness`, one by one, so that a broken plugin affects no other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

import pluggy
from optuna.samplers import BaseSampler

from harness.api.model import Model
from harness.api.sampler import SamplerFactory
from harness.api.task import Task
from harness.errors import PluginError, did_you_mean
from harness.plugin import hookspecs
from harness.plugin.hookspecs import PROJECT
from harness.plugin.process_settings import kept_settings, output_to_stderr
from harness.plugin.registry import SAMPLERS, Entry, Registry
from harness.records import LABEL, Plugin
from harness.redaction import without_secrets

GROUP = "harness"
DISABLE = "HARNESS_DISABLE_PLUGINS"
"""Environment variable: comma-separated names of distributions that are not loaded."""

T = TypeVar("T")

_changed_settings: dict[str, tuple[str, ...]] = {}
"""Module of a plugin → settings of the process that its import changed.  A module is imported once per process."""


@dataclass
class Loaded:
    """The loaded plugins: their registry, and the hooks that the driver calls."""

    registry: Registry
    hooks: pluggy.PluginManager


@dataclass
class Registrar:
    """The models, tasks and samplers that one plugin registers, before any of them is accepted.

    Its methods raise PluginError if what is registered is none of these, or has no valid name.
    """

    plugin: Plugin
    models: dict[str, Entry[Model]] = field(default_factory=dict)
    tasks: dict[str, Entry[type[Task]]] = field(default_factory=dict)
    samplers: dict[str, Entry[SamplerFactory]] = field(default_factory=dict)

    def model(self, model: Model) -> None:
        if not isinstance(model, Model):
            raise PluginError(f"register takes an instance of harness.Model, got {model!r}")
        self._add(self.models, _name_of(type(model)), model, _place(type(model)))

    def task(self, task: type[Task]) -> None:
        if not (isinstance(task, type) and issubclass(task, Task)):
            raise PluginError(f"register takes a subclass of harness.Task, not an instance, got {task!r}")
        self._add(self.tasks, _name_of(task), task, _place(task))

    def sampler(self, name: str, factory: SamplerFactory) -> None:
        if not callable(factory) or isinstance(factory, BaseSampler):
            raise PluginError(
                f"register takes a name and a function that makes a sampler for each draw, got {factory!r}; see "
                "harness.SamplerFactory"
            )
        self._add(self.samplers, name, factory, _place(factory))

    def _add(self, entries: dict[str, Entry[T]], name: str, value: T, place: str) -> None:
        if re.fullmatch(LABEL, name) is None:
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)  # MyNet -> My-Net
            valid = re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")
            hint = f"; did you mean {valid!r}?" if re.fullmatch(LABEL, valid) else ""
            raise PluginError(f"{place} has the name {name!r}; a name may contain only a-z, 0-9, '.' and '-'{hint}")
        if name in entries:
            raise PluginError(f"{name!r} is registered twice; register it once")
        entries[name] = Entry(name, value, self.plugin, place)


def _place(value: object) -> str:
    """Return where a class or function is defined; for another callable, where its class is."""
    value = value.func if isinstance(value, partial) else value
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"


def _name_of(kind: type) -> str:
    name = getattr(kind, "name", None)
    if not isinstance(name, str):
        raise PluginError(f"{kind.__qualname__} has no name; add a class attribute, such as name = 'my-name'")
    return name


def load_plugins(points: Iterable[EntryPoint] | None = None) -> Loaded:
    """Load every installed plugin, in the order of their names.

    points: the entry points to load; None: all installed ones of group `harness`.

    If a plugin raises at import or at registration, the registry has one message about it and nothing else from it.
    Settings of the process that a plugin changes are restored, with a message.  What a plugin prints goes to standard
    error.

    Raises PluginError if two plugins register the same name: the user must choose one.
    """
    manager = _manager()
    disabled = {_normal(name) for name in os.environ.get(DISABLE, "").split(",")}
    models: dict[str, Entry[Model]] = {}
    tasks: dict[str, Entry[type[Task]]] = {}
    samplers = dict(SAMPLERS)
    plugins: list[Plugin] = []
    messages: list[str] = []
    installed = entry_points(group=GROUP) if points is None else points
    for plugin, point in sorted(((_plugin_of(point), point) for point in installed), key=lambda pair: pair[0].name):
        if _normal(plugin.name) in disabled:
            continue
        try:
            with output_to_stderr(), kept_settings() as changed:
                registrar = _register(manager, point, plugin)
        # Third-party code may raise anything; the command continues without that plugin.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            messages.append(_message(plugin, error))
            continue
        settings = _changed_settings.setdefault(point.module, tuple(changed))
        if settings:
            messages.append(_message_on_settings(plugin, settings))
        merge("model", models, registrar.models)
        merge("task", tasks, registrar.tasks)
        merge("sampler", samplers, registrar.samplers)
        plugins.append(plugin)
    return Loaded(Registry(models, tasks, tuple(plugins), tuple(messages), samplers), manager)


def _register(manager: pluggy.PluginManager, point: EntryPoint, plugin: Plugin) -> Registrar:
    """Import a plugin, add its hooks to `manager` and return what it registers.

    The plugin is first tried in a separate manager, so that its faults do not affect other plugins.
    """
    module = point.load()
    own_manager = _manager()
    own_manager.register(module, name=plugin.name)
    _check_hooks(own_manager, module, point)
    registrar = Registrar(plugin)
    own_manager.hook.harness_register_models(register=registrar.model)
    own_manager.hook.harness_register_tasks(register=registrar.task)
    own_manager.hook.harness_register_samplers(register=registrar.sampler)
    manager.register(module, name=plugin.name)
    return registrar


def _check_hooks(manager: pluggy.PluginManager, module: object, point: EntryPoint) -> None:
    """Raise PluginError if a plugin has an unknown hook or no hook at all; pluggy ignores both silently."""
    where = f"{point.value!r}, named by the entry point {point.name!r},"
    if isinstance(module, type):
        raise PluginError(f"{where} is a class; name an object of it, such as listener = {module.__qualname__}()")
    callers = manager.get_hookcallers(module) or []
    if not callers:
        raise PluginError(
            f"{where} has no function marked @harness.hookimpl; name the module or object that has one, or mark a hook "
            "there: harness_register_models, harness_register_tasks, harness_register_samplers, or one of a study such "
            "as harness_trial_finished"
        )
    for caller in callers:
        if caller.spec is None and not all(hook.optionalhook for hook in caller.get_hookimpls()):
            known = sorted(name for name in vars(hookspecs) if name.startswith(f"{PROJECT}_"))
            hint = did_you_mean(caller.name, known)
            raise PluginError(f"unknown hook {caller.name!r};{hint} Hooks: {', '.join(known)}")


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def merge(kind: str, accepted: dict[str, Entry[T]], new: dict[str, Entry[T]]) -> None:
    """Add new entries to the accepted ones.  Raises PluginError if a name is taken."""
    for name, entry in new.items():
        if name in accepted:
            first, second = accepted[name].plugin, entry.plugin
            raise PluginError(
                f"{kind} {name!r} is registered by {first.name} {first.version} and by {second.name} "
                f"{second.version}; uninstall one of them, or set {DISABLE}={second.name}"
            )
        accepted[name] = entry


def _plugin_of(point: EntryPoint) -> Plugin:
    """Return the distribution of an entry point.

    A partly removed distribution may have no metadata; the name of the entry point is then used.
    """
    try:
        name, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    except FileNotFoundError:  # raised by the importlib_metadata package, if something has imported it
        name, version = None, None
    return Plugin(name=name or point.name, version=version or "unknown")


def _normal(name: str) -> str:
    """Return the normalised name of a distribution, as the Python packaging guide defines it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _message(plugin: Plugin, error: BaseException) -> str:
    text = without_secrets(f"{type(error).__name__}: {error}".splitlines()[0])
    return (
        f"plugin {plugin.name} {plugin.version} could not be loaded ({text}); what it registers is missing. "
        f"Fix it, uninstall it, or set {DISABLE}={plugin.name}"
    )


def _message_on_settings(plugin: Plugin, settings: Iterable[str]) -> str:
    return (
        f"plugin {plugin.name} {plugin.version} changed settings of the process at import: {', '.join(settings)}; they "
        "were restored. Set them inside its own models or tasks instead"
    )


def register_listener(loaded: Loaded, listener: object) -> Callable[[], None]:
    """Register an object whose lifecycle hooks are then called; return the function that unregisters it."""
    loaded.hooks.register(listener)
    return lambda: loaded.hooks.unregister(listener)
