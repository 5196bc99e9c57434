"""The floor of a task against predictors without memory, fitted here."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.api.dataset import Arrays, Batch, Dataset, Ragged
from harness.api.signature import Signature
from harness.api.task import Metric, Task
from harness.testing.memoryless import head, probe_network
from harness.testing.outcomes import NotApplicableError, require
from harness.testing.tasks import CPU, TaskSubject, batches_of, task_check
from harness.training.evaluation import evaluate, first_total, outputs
from harness.training.network import Network

FRAMES = 20_000
"""Steps of training data that a predictor is fitted to."""
TEST_TOKENS = 100_000
"""Of a stream, that it is scored on."""
MOST_OUTPUTS = 300
"""Outputs a step, above which fitting takes minutes."""
MOST_POSITIONS = 2048
ITERATIONS = 40
ERRORS = 3.0
"""Standard errors, of a loss whose standard deviation is its mean."""
SLACK = 0.05
"""Of the floor: what a predictor fitted to some of the training data may differ from it by."""
RIDGE = 1e-5
"""On the weights: without it an event that training data lack costs infinitely much."""


class Positions(nn.Module):
    """Which step it is, and nothing of the input: (batch, time, steps), one-hot."""

    receptive_field = 1

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.out_features = steps

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(self.out_features)[: x.shape[1]].expand(len(x), -1, -1)


@task_check
def check_floor(subject: TaskSubject) -> None:
    """A constant answer does not beat the floor, and a predictor without memory attains it.

    The constant, a marginal for every step by itself, and a small network on the present input alone are fitted to
    training data and scored on the test split.  Within the metric's margin, 5 %, or what so few elements allow.
    """
    task, floor = subject.task, subject.task.floor()
    if floor is None:
        raise NotApplicableError("states no floor")
    signature = task.signature()
    if signature.out_features > MOST_OUTPUTS:
        raise NotApplicableError(
            f"{signature.out_features:,} outputs are too many to fit here; test the floor against frequencies"
        )
    sequences = max(FRAMES // signature.length, 20) if signature.readout == "each" else FRAMES // 5
    train, test = head(subject.split("train"), sequences, FRAMES), subject.split("test")
    test = head(test, len(test), TEST_TOKENS)
    constant, *others = (_fitted_score(network, task, train, test) for network in _predictors(signature, train))
    best = (min if task.metric.better == "lower" else max)(constant, *others)
    metric = f"{task.metric.name} {floor:.4g}"
    allowed = slack(task.metric, floor, _scored(signature, test))
    beaten = better_by(task.metric, constant, floor) > allowed
    require(not beaten, f"the floor is {metric}, but a constant answer has {constant:.4g}")
    reached = better_by(task.metric, floor, best) <= allowed
    require(reached, f"the floor is {metric}, but without memory no more than {best:.4g} is reached")


def better_by(metric: Metric, one: float, other: float) -> float:
    """How much better one score is than another, on the metric's scale."""
    difference = math.log(other / one) if metric.scale == "log" else other - one
    return difference if metric.better == "lower" else -difference


def slack(metric: Metric, floor: float, scored: int) -> float:
    """What a score may differ from the floor by, on the metric's scale: an answer on few elements varies more."""
    relative = max(SLACK, ERRORS / math.sqrt(scored))
    return max(metric.margin, relative if metric.scale == "log" else relative * abs(floor))


def _scored(signature: Signature, test: Dataset) -> int:
    """Elements that a test split scores."""
    if isinstance(test, Arrays):
        return len(test) * (signature.length if signature.readout == "each" else 1)
    return len(test.inputs) if isinstance(test, Ragged) and not test.last else len(test)


def _predictors(signature: Signature, train: Dataset) -> list[tuple[Network, list[nn.Parameter]]]:
    """Networks and what of each is fitted; the first one's answer is constant."""
    constant = probe_network(signature)
    nn.init.zeros_(constant.decoder.weight)
    memoryless = probe_network(signature)
    found = [(constant, [constant.decoder.bias]), (memoryless, list(memoryless.parameters()))]
    steps_count = signature.readout == "each" and isinstance(train, Arrays) and not signature.tied
    if steps_count and signature.length <= MOST_POSITIONS:
        positions = Network(signature, Positions(signature.length)).eval()
        found.append((positions, list(positions.decoder.parameters())))
    return found


def _fitted_score(
    predictor: tuple[Network, Sequence[nn.Parameter]], task: Task, train: Dataset, test: Dataset
) -> float:
    network, parameters = predictor
    fit(network, parameters, task, list(batches_of(train, 256)))
    return evaluate(network, task, test, CPU)[task.metric.name]


def fit(network: Network, parameters: Sequence[nn.Parameter], task: Task, batches: Sequence[Batch]) -> None:
    """Minimise the mean of the first total over these batches."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        totals = [_primary(network, task, batch) for batch in batches]
        loss: Tensor = sum(value for value, _ in totals) / sum(count for _, count in totals)  # type: ignore[assignment]
        loss = loss + RIDGE * torch.stack([parameter.square().sum() for parameter in parameters]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def _primary(network: Network, task: Task, batch: Batch) -> tuple[Tensor, Tensor | int]:
    output, _ = outputs(network, task.signature().readout, batch)
    total = first_total(task.loss(output, batch))
    return total.sum, total.count
