"""Classes of a notebook or a script, together with the installed plugins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import PluginError
from harness.plugin.loader import load_plugins
from harness.plugin.local import NO_CLASSES, is_local, local_classes, with_local
from tests.support.toys import ToyEma, ToyStack, ToySum


class Mine(ToyEma):
    name = "mine"


def test_local_models_and_tasks_are_registered_under_a_digest_of_their_source() -> None:
    local = local_classes([Mine()], [ToySum])
    registry = with_local(load_plugins([]), local).registry
    model, task = registry.model("mine").plugin, registry.task("toy-sum").plugin
    assert registry.plugins == (model, task)
    assert [plugin.name for plugin in registry.plugins] == ["local-model:mine", "local-task:toy-sum"]
    assert is_local(model)
    assert len(model.version) == len(task.version) == 12


def test_plugin_of_a_local_class_does_not_depend_on_the_others() -> None:
    """So a study goes on, and is comparable with stored cells, when another local model is added."""
    alone, beside = (
        with_local(load_plugins([]), local_classes(models, [ToySum])).registry
        for models in ([Mine()], [Mine(), ToyStack()])
    )
    assert alone.task("toy-sum").plugin == beside.task("toy-sum").plugin
    assert alone.model("mine").plugin == beside.model("mine").plugin != beside.model("toy-stack").plugin


def test_classes_of_one_qualified_name_are_plugins_of_their_own() -> None:
    def made(label: str) -> ToyEma:
        class Net(ToyEma):
            name = label

        return Net()

    registry = with_local(load_plugins([]), local_classes([made("net-a"), made("net-b")], [])).registry
    assert {plugin.name for plugin in registry.plugins} == {"local-model:net-a", "local-model:net-b"}


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
    with pytest.raises(PluginError, match="'mine' is registered by local-model:mine"):
        with_local(installed, local_classes([Other()], []))
