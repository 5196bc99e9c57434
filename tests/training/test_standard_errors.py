"""Standard errors of scores over the groups of a split."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.api.dataset import Arrays, Batch
from harness.api.signature import Signature
from harness.api.task import Metric, Total, mean_of
from harness.training.evaluation import evaluate
from harness.training.network import Network, build_network
from harness.training.standard_errors import GROUPS, evaluate_with_errors
from tests.support.toys import ToyEma, ToySum

CPU = torch.device("cpu")


class RootSum(ToySum):
    """A task with a metric that is no mean of terms."""

    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("mse", "", "lower", mean_of("mse")),
            Metric("rmse", "", "lower", lambda sums: math.sqrt(sums["mse"][0] / sums["mse"][1])),
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


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (12, 12), (100, GROUPS), (64 * GROUPS, GROUPS), (1600, 25)])
def test_scores_are_those_of_an_evaluation_without_errors(count: int, groups: int) -> None:
    task = ToySum()
    network, data = network_of(task), data_of(task, count)
    scores = evaluate_with_errors(network, task, data, CPU)
    assert scores.metrics == evaluate(network, task, data, CPU)
    assert scores.groups == groups
    assert set(scores.standard_errors) == ({"mse"} if count > 1 else set())


class EachStep(ToySum):
    """An answer at each step."""

    length: int = 50

    def signature(self) -> Signature:
        return replace(super().signature(), readout="each")


class LastSteps(EachStep):
    """A loss that needs whole sequences."""

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        return super().loss(output[:, -10:], replace(batch, targets=batch.targets[:, -10:]))


@pytest.mark.parametrize(("task", "count", "groups"), [(EachStep(), 1, 20), (EachStep(), 3, 21), (LastSteps(), 3, 3)])
def test_few_sequences_with_an_answer_at_each_step_are_cut_into_blocks_of_steps(
    task: ToySum, count: int, groups: int
) -> None:
    network = network_of(task)
    inputs = torch.randn(count, 50, 1, generator=torch.Generator().manual_seed(1))
    data = Arrays(inputs, inputs.roll(1, dims=1))
    scores = evaluate_with_errors(network, task, data, CPU)
    assert scores.metrics == evaluate(network, task, data, CPU)
    assert scores.groups == groups
    assert scores.standard_errors["mse"] > 0


def test_metric_that_a_group_cannot_be_left_out_of_has_no_standard_error() -> None:
    class Whole(ToySum):
        def metrics(self) -> tuple[Metric, ...]:
            return (Metric("mse", "", "lower", lambda sums: 1 / max(sums["mse"][1] - 11, 0)),)

    task = Whole()
    assert evaluate_with_errors(network_of(task), task, data_of(task, 12), CPU).standard_errors == {}
