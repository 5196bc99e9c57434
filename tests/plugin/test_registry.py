from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from harness.errors import StudyError, UnknownNameError
from harness.plugin.registry import Entry, Registry
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


def test_names_lead_to_what_was_registered_and_by_whom(toy_registry: Registry) -> None:
    entry = toy_registry.model("toy-ema")
    assert (entry.name, entry.value.name, entry.origin) == ("toy-ema", "toy-ema", "tests.support.toys:ToyEma")
    assert toy_registry.task("toy-sum").origin == "tests.support.toys:ToySum"
    assert toy_registry.task("toy-sum").plugin == toy_registry.plugins[0]


def test_unknown_name_is_told_what_is_close_and_what_is_installed(toy_registry: Registry) -> None:
    message = r"^model 'toy-emma' is not installed; did you mean 'toy-ema'\? Installed: toy-ema, toy-stack$"
    with pytest.raises(UnknownNameError, match=message):
        toy_registry.model("toy-emma")
    with pytest.raises(UnknownNameError, match=r"^task 'mnist' is not installed; Installed: toy-ragged, toy-sum$"):
        toy_registry.task("mnist")


def test_empty_registry_says_what_to_install() -> None:
    message = r"^model 'tcn' is not installed; Installed: none; install a distribution that brings models$"
    with pytest.raises(UnknownNameError, match=message):
        Registry({}, {}).model("tcn")


def test_make_task_gives_a_value(toy_registry: Registry) -> None:
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
def test_bad_option_is_told_in_one_clear_line(strict: Registry, options: dict[str, int], message: str) -> None:
    with pytest.raises(StudyError, match=r"^[^\n]+$") as caught:
        strict.make_task("strict", options)
    assert str(caught.value).startswith(message)


def test_key_that_stands_beside_options_may_be_meant(toy_registry: Registry) -> None:
    with pytest.raises(StudyError, match=r"has no option 'paramters'; did you mean 'parameters'\? Options: length"):
        toy_registry.make_task("toy-sum", {"paramters": 3}, beside=("parameters", "training"))
