"""Tolerance and direction of the check of floors."""

from __future__ import annotations

import math

import pytest
import torch

from harness import Metric, mean_of
from harness.testing.floors import ERRORS, SLACK, Positions, better_by, slack

ACCURACY = Metric("accuracy", "%", "higher", mean_of("right"))
MSE = Metric("mse", "", "lower", mean_of("mse"), scale="log")


def test_better_by_is_a_difference_or_the_log_of_a_ratio() -> None:
    assert better_by(ACCURACY, 80, 75) == 5
    assert better_by(MSE, 0.1, 0.2) == pytest.approx(math.log(2))


def test_better_by_is_antisymmetric() -> None:
    for metric in (ACCURACY, MSE):
        assert better_by(metric, 0.3, 0.7) == pytest.approx(-better_by(metric, 0.7, 0.3))


@pytest.mark.parametrize(
    ("metric", "floor", "scored", "expected"),
    [
        (MSE, 0.5, 10**6, SLACK),
        (MSE, 0.5, 100, ERRORS / 10),
        (ACCURACY, -40.0, 10**6, SLACK * 40),
        (Metric("accuracy", "%", "higher", mean_of("right"), margin=7.0), 40.0, 10**6, 7.0),
    ],
)
def test_slack_is_the_margin_or_5_percent_or_3_standard_errors(
    metric: Metric, floor: float, scored: int, expected: float
) -> None:
    assert slack(metric, floor, scored) == pytest.approx(expected)


def test_positions_are_one_hot_and_ignore_the_input() -> None:
    positions = Positions(4)
    assert torch.equal(positions(torch.randn(2, 3, 5)), torch.eye(4)[:3].expand(2, 3, 4))
