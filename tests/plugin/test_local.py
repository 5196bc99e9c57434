"""Classes of a notebook or a script, together with the installed plugins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import PluginError
from harness.plugin.loader import load_plugins
from harness.plugin.local import LOCAL, NO_CLASSES, local_classes, with_local
from tests.support.toys import ToyEma, ToySum


class Mine(ToyEma):
    name = "mine"


def test_local_models_and_tasks_are_registered_under_a_digest_of_their_source() -> None:
    local = local_classes([Mine()], [ToySum])
    registry = with_local(load_plugins([]), local).registry
    assert registry.model("mine").plugin.name == registry.task("toy-sum").plugin.name == LOCAL
    assert registry.plugins == (registry.model("mine").plugin,)
    assert len(registry.plugins[0].version) == 12


def test_without_local_classes_nothing_changes() -> None:
    loaded = load_plugins([])
    assert with_local(loaded, NO_CLASSES) is loaded
    assert not NO_CLASSES


def test_installed_class_remains_the_class_of_its_plugin() -> None:
    installed = with_local(load_plugins([]), local_classes([Mine()], []))
    entry = replace(
        installed.registry.models["mine"], plugin=installed.registry.plugins[0].model_copy(update={"name": "other"})
    )
    installed = replace(installed, registry=replace(installed.registry, models={"mine": entry}))
    again = with_local(installed, local_classes([Mine()], []))
    assert again.registry.model("mine").plugin.name == "other"


def test_name_of_an_installed_model_is_refused() -> None:
    class Other(ToyEma):
        name = "mine"

    installed = with_local(load_plugins([]), local_classes([Mine()], []))
    with pytest.raises(PluginError, match="'mine' is registered by local"):
        with_local(installed, local_classes([Other()], []))
