"""Quantiles of numbers in their dimensions; `at_unit` is tested with the spaces in tests/study/test_space.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from harness.api.distributions import at_unit, unit_of
from harness.errors import SpaceError

NUMBERS = [
    IntDistribution(1, 8),
    IntDistribution(1, 8, log=True),
    IntDistribution(2, 20, step=3),
    FloatDistribution(-1.0, 3.0),
    FloatDistribution(0.1, 10.0, log=True),
    FloatDistribution(0.0, 0.5, step=0.1),
]


@pytest.mark.parametrize("dimension", NUMBERS)
@given(unit=st.floats(0, 1, exclude_max=True))
def test_quantile_of_a_value_gives_the_value_again(dimension: IntDistribution | FloatDistribution, unit: float) -> None:
    value = at_unit(dimension, unit)
    quantile = min(unit_of(dimension, value), 1 - 2**-53)
    assert 0 <= quantile <= 1
    assert at_unit(dimension, quantile) == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_known_quantiles() -> None:
    assert unit_of(FloatDistribution(0.1, 10.0, log=True), 1.0) == pytest.approx(0.5)
    assert unit_of(FloatDistribution(-1.0, 3.0), 0.0) == 0.25
    assert unit_of(IntDistribution(1, 4), 1) == 0.125  # the middle of its quarter


def test_choice_has_no_quantile() -> None:
    with pytest.raises(SpaceError, match="a choice has no quantile"):
        unit_of(CategoricalDistribution(["a", "b"]), "a")
