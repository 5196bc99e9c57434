"""Models and tasks that no package provides, on their way to Ray's workers."""

from __future__ import annotations

import socket
from typing import cast

from ray import cloudpickle

from harness.errors import PluginError
from harness.plugin.loader import load_plugins
from harness.plugin.local import LocalClasses, with_local
from harness.plugin.registry import Registry


def to_text(local: LocalClasses) -> str:
    """Return the classes as text for a worker's configuration; '' if there are none.

    Classes of a notebook or a script are sent whole, those of a module by its name.  Raises PluginError if they hold
    what cannot be sent, such as an open file.
    """
    if not local:
        return ""
    try:
        return cast(bytes, cloudpickle.dumps(local)).hex()  # type: ignore[no-untyped-call]
    except (TypeError, AttributeError, ValueError) as error:
        names = ", ".join(kind.__qualname__ for kind in (*map(type, local.models), *local.tasks))
        raise PluginError(
            f"{names}: cannot be sent to Ray's workers ({error}); run it with executor='serial'"
        ) from error


def registry_with(text: str) -> Registry:
    """Return the registry of this worker's plugins and the classes in `text`.

    Raises PluginError if this machine cannot import what they need.
    """
    loaded = load_plugins()
    if not text:
        return loaded.registry
    try:
        local = cloudpickle.loads(bytes.fromhex(text))
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"the worker on {socket.gethostname()} cannot import a model or task of the study ({error}); define it in "
            "the notebook or script that runs the study, or install its package on every machine"
        ) from error
    return with_local(loaded, local).registry
