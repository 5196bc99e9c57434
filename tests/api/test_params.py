"""Checks of the parameters that a model's `build` takes."""

from __future__ import annotations

import pytest
from pydantic import Field

from harness import Record, SpaceError, check_widths, read_params, require_param


class Params(Record):
    layers: int = Field(ge=1, le=8)
    dropout: float = Field(default=0.0, ge=0, lt=1)


def test_read_params_returns_a_record_with_defaults() -> None:
    assert read_params(Params, "toy", {"layers": 2}) == Params(layers=2, dropout=0.0)


def test_read_params_names_an_unknown_parameter_and_a_close_one() -> None:
    with pytest.raises(SpaceError, match=r"model 'toy' has no parameter 'layer'; did you mean 'layers'\?.*dropout"):
        read_params(Params, "toy", {"layer": 2})


def test_read_params_names_a_missing_parameter() -> None:
    with pytest.raises(SpaceError, match=r"model 'toy', parameter 'layers': Field required$"):
        read_params(Params, "toy", {"dropout": 0.1})


@pytest.mark.parametrize(("name", "value"), [("layers", 0), ("layers", 9), ("layers", "2"), ("dropout", 1.0)])
def test_read_params_repeats_a_value_of_the_wrong_range_or_type(name: str, value: object) -> None:
    with pytest.raises(SpaceError, match=rf"model 'toy', parameter '{name}': .*, got {value!r}$"):
        read_params(Params, "toy", {"layers": 1, name: value})


def test_require_param_ignores_the_other_parameters() -> None:
    assert require_param("layers", "toy", {"layers": 3, "another": "x"}) == 3


@pytest.mark.parametrize(("given", "listed"), [({"depth": 1}, "depth"), ({}, "none")])
def test_require_param_lists_what_was_given_if_the_parameter_is_missing(given: dict[str, int], listed: str) -> None:
    with pytest.raises(SpaceError, match=rf"model 'toy' needs the parameter 'layers'; given: {listed}$"):
        require_param("layers", "toy", given)


def test_check_widths_accepts_one_width_per_level() -> None:
    check_widths((1, 64), 2, "toy")


@pytest.mark.parametrize("widths", [(), (4,), (4, 4, 4), (4, 0), (-1, 4)])
def test_check_widths_rejects_another_number_or_a_width_below_one(widths: tuple[int, ...]) -> None:
    with pytest.raises(SpaceError, match="model 'toy' takes 2 widths >= 1 at 2 levels"):
        check_widths(widths, 2, "toy")
