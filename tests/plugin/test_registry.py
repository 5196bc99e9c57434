"""The registry: look-up by name, tasks from options, third-party exceptions, digests of source."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from harness.errors import BudgetError, PluginError, StudyError, UnknownNameError
from harness.plugin.registry import Entry, Registry, plugin_border
from harness.plugin.source import source_digest
from harness.records import Plugin
from tests.support.toys import ToySum


class Strict(ToySum):
    """A task whose options have every kind of bound."""

    name: ClassVar[str] = "strict"
    rate: float = Field(default=0.5, gt=0, le=1)
    kind: Literal["easy", "hard"] = "easy"
    word: str = Field(default="ab", min_length=2)
    flag: bool = False

    @model_validator(mode="after")
    def _check(self) -> Strict:
        if self.length > self.sequences:
            raise ValueError("length must not exceed sequences")
        return self


@pytest.fixture
def strict() -> Registry:
    return Registry({}, {"strict": Entry("strict", Strict, Plugin(name="p", version="1"), "m:Strict")})


def test_entry_has_the_registered_object_and_its_plugin(toy_registry: Registry) -> None:
    entry = toy_registry.model("toy-ema")
    assert (entry.name, entry.value.name, entry.origin) == ("toy-ema", "toy-ema", "tests.support.toys:ToyEma")
    assert toy_registry.task("toy-sum").origin == "tests.support.toys:ToySum"
    assert toy_registry.task("toy-sum").plugin == toy_registry.plugins[0]


def test_unknown_name_gets_a_close_one_and_the_installed_ones(toy_registry: Registry) -> None:
    message = r"^model 'toy-emma' is not installed; did you mean 'toy-ema'\? Installed: toy-ema, toy-stack$"
    with pytest.raises(UnknownNameError, match=message):
        toy_registry.model("toy-emma")
    with pytest.raises(UnknownNameError, match=r"^task 'mnist' is not installed; Installed: toy-ragged, toy-sum$"):
        toy_registry.task("mnist")


def test_empty_registry_says_what_to_install() -> None:
    message = r"^model 'tcn' is not installed; Installed: none; install a distribution that provides models$"
    with pytest.raises(UnknownNameError, match=message):
        Registry({}, {}).model("tcn")


def test_make_task_returns_equal_tasks_for_equal_options(toy_registry: Registry) -> None:
    assert toy_registry.make_task("toy-sum", {"length": 9}) == toy_registry.make_task("toy-sum", {"length": 9})
    assert toy_registry.make_task("toy-sum", {}).signature().length == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lenght": 3}, "task 'strict' has no option 'lenght'; did you mean 'length'? Options: length, sequences, "),
        ({"length": "3"}, "task 'strict': 'length' must be a whole number, got '3'"),
        ({"length": 3.0}, "task 'strict': 'length' must be a whole number, got 3.0"),
        ({"length": True}, "task 'strict': 'length' must be a whole number, got true"),
        ({"length": None}, "task 'strict': 'length' must be a whole number, got None"),
        ({"rate": 0}, "task 'strict': 'rate' must be greater than 0, got 0"),
        ({"rate": 2.0}, "task 'strict': 'rate' must be at most 1, got 2.0"),
        ({"kind": "hrad"}, "task 'strict': 'kind' must be 'easy' or 'hard', got 'hrad'; did you mean 'hard'?"),
        ({"word": "a"}, "task 'strict': 'word' must be a string of at least 2 characters, got 'a'"),
        ({"flag": 1}, "task 'strict': 'flag' must be true or false, got 1"),
        ({"length": 65}, "task 'strict': length must not exceed sequences"),
    ],
)
def test_bad_option_is_named_in_one_line(strict: Registry, options: dict[str, int], message: str) -> None:
    with pytest.raises(StudyError, match=r"^[^\n]+$") as caught:
        strict.make_task("strict", options)
    assert str(caught.value).startswith(message)


def test_hint_includes_keys_written_in_the_same_place_as_options(toy_registry: Registry) -> None:
    with pytest.raises(StudyError, match=r"has no option 'paramters'; did you mean 'parameters'\? Options: length"):
        toy_registry.make_task("toy-sum", {"paramters": 3}, other_keys=("parameters", "training"))


class NeedsFile(ToySum):
    name: ClassVar[str] = "needs-file"
    data: str


def test_default_tasks_are_those_without_a_required_option(strict: Registry) -> None:
    plugin = Plugin(name="p", version="1")
    registry = Registry({}, {**strict.tasks, "needs-file": Entry("needs-file", NeedsFile, plugin, "m:NeedsFile")})
    assert registry.default_tasks() == {"strict": Strict()}
    with pytest.raises(StudyError, match=r"^task 'needs-file' needs the option 'data': data = …$"):
        registry.make_task("needs-file", {})


def test_third_party_exception_is_converted_and_names_every_possible_plugin() -> None:
    first, second = Plugin(name="x-a", version="1.0"), Plugin(name="x-b", version="2.0")
    message = r"^study 'toys': x-a 1\.0 or x-b 2\.0 raised KeyError: 'width' \(test_registry\.py:\d+\); fix it, "
    with pytest.raises(PluginError, match=message) as caught, plugin_border("study 'toys'", first, second, first):
        raise KeyError("width")
    assert isinstance(caught.value.__cause__, KeyError)


def test_exit_in_third_party_code_does_not_pass_a_plugin_border() -> None:
    with (
        pytest.raises(PluginError, match=r"^x: p 1 raised SystemExit: 0 \(test_registry"),
        plugin_border("x", Plugin(name="p", version="1")),
    ):
        raise SystemExit(0)


def test_error_of_the_harness_passes_a_plugin_border_unchanged() -> None:
    error = BudgetError("no width meets the budget")
    with (
        pytest.raises(BudgetError, match="no width meets") as caught,
        plugin_border("x", Plugin(name="p", version="1")),
    ):
        raise error
    assert caught.value is error


def _class_in(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> type:
    monkeypatch.syspath_prepend(folder)
    source_digest.cache_clear()
    monkeypatch.delitem(sys.modules, module, raising=False)
    imported: type = importlib.import_module(module).Thing
    return imported


def test_source_digest_of_a_package_changes_with_any_of_its_python_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "digested_package"
    package.mkdir()
    (package / "__init__.py").write_text("class Thing:\n    pass\n")
    (package / "other.py").write_text("x = 1\n")
    before = source_digest(_class_in(tmp_path, monkeypatch, package.name))
    (package / "data.txt").write_text("not Python")
    assert source_digest(_class_in(tmp_path, monkeypatch, package.name)) == before
    (package / "other.py").write_text("x = 2\n")
    assert source_digest(_class_in(tmp_path, monkeypatch, package.name)) != before


def test_source_digest_of_a_single_module_ignores_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "digested_module.py"
    module.write_text("class Thing:\n    pass\n")
    before = source_digest(_class_in(tmp_path, monkeypatch, "digested_module"))
    assert re.fullmatch("[0-9a-f]{64}", before)
    (tmp_path / "neighbour.py").write_text("x = 1\n")
    assert source_digest(_class_in(tmp_path, monkeypatch, "digested_module")) == before
