"""Standard errors of scores over the groups of a split."""

from __future__ import annotations

import math

import pytest
import torch

from harness.api.dataset import Arrays
from harness.api.task import Metric, mean_of
from harness.training.evaluation import GROUPS, evaluate, evaluate_with_errors
from harness.training.network import Network, build_network
from tests.support.toys import ToyEma, ToySum

CPU = torch.device("cpu")


class RootSum(ToySum):
    """A metric that is no mean of terms, and one that a single sequence cannot be left out of."""

    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("mse", "", "lower", mean_of("mse")),
            Metric("rmse", "", "lower", lambda sums: math.sqrt(sums["mse"][0] / sums["mse"][1])),
            Metric("whole", "", "lower", lambda sums: 1 / max(sums["mse"][1] - 11, 0)),
        )


def network_of(task: ToySum) -> Network:
    return build_network(ToyEma(), task.signature(), (3,), {})


def data_of(task: ToySum, count: int) -> Arrays:
    inputs = torch.randn(count, task.length, 1, generator=torch.Generator().manual_seed(count))
    return Arrays(inputs, inputs.mean(dim=1))


def test_standard_error_of_a_mean_is_the_closed_form() -> None:
    """Twelve sequences are twelve groups: the standard deviation divided by the square root of 12."""
    task = RootSum()
    network, data = network_of(task), data_of(task, 12)
    scores = evaluate_with_errors(network, task, data, CPU)
    terms = [
        evaluate(network, ToySum(), Arrays(data.inputs[n : n + 1], data.targets[n : n + 1]), CPU) for n in range(12)
    ]
    errors = torch.tensor([each["mse"] for each in terms], dtype=torch.float64)
    assert scores.groups == 12
    assert scores.standard_errors["mse"] == pytest.approx(float(errors.std()) / math.sqrt(12), rel=1e-5)
    # The delta method, of which the jackknife is exact to first order.
    slope = 1 / (2 * scores.metrics["rmse"])
    assert scores.standard_errors["rmse"] == pytest.approx(slope * scores.standard_errors["mse"], rel=0.3)
    assert "whole" not in scores.standard_errors


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (12, 12), (100, GROUPS), (64 * GROUPS, GROUPS), (1600, 25)])
def test_scores_are_those_of_an_evaluation_without_errors(count: int, groups: int) -> None:
    task = ToySum()
    network, data = network_of(task), data_of(task, count)
    scores = evaluate_with_errors(network, task, data, CPU)
    assert scores.metrics == evaluate(network, task, data, CPU)
    assert scores.groups == groups
    assert set(scores.standard_errors) == ({"mse"} if count > 1 else set())
