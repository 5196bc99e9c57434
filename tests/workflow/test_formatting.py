"""Numbers and values as a terminal shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.study.overrides import parse_value
from harness.workflow.formatting import duration_text, params_text, several, value_text, widths_text


@pytest.mark.parametrize(
    ("widths", "text"), [((24,), "24"), ((24,) * 8, "24 x 8"), ((25, 25, 24), "25 x 2, 24"), ((1, 2, 1), "1, 2, 1")]
)
def test_equal_widths_are_counted(widths: tuple[int, ...], text: str) -> None:
    assert widths_text(widths) == text


@given(st.one_of(st.none(), st.integers(), st.floats(-1e300, 1e300)))
def test_value_is_read_back_from_the_command_line(value: float | None) -> None:
    read = parse_value(value_text(value))
    assert read == (pytest.approx(value, rel=5e-3) if isinstance(value, float) else value)


def test_parameters_are_assignments() -> None:
    assert params_text({"bias": True, "clip": None, "dropout": 0.12345, "layers": 3}) == (
        "bias=True, clip=none, dropout=0.123, layers=3"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "1 s"), (89.4, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h"), (36e5, "1,000.0 h")],
)
def test_time_is_written_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells"), (1_000, "1,000 cells")])
def test_noun_agrees_with_its_number(number: int, text: str) -> None:
    assert several(number, "cell") == text
