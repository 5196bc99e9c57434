"""The check of a task's floor against fitted predictors without memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.api.dataset import Arrays, Batch, Dataset, Ragged
from harness.api.signature import Real, Signature
from harness.api.task import Metric, Task
from harness.testing.memoryless import head, probe_network
from harness.testing.outcomes import NotApplicableError, require
from harness.testing.tasks import CPU, TaskSubject, batches_of, task_check
from harness.training.evaluation import evaluate, first_total, outputs
from harness.training.network import Network

FRAMES = 20_000
"""Steps of training data to which a predictor is fitted."""
TEST_TOKENS = 100_000
"""Tokens of a stream on which it is scored."""
MOST_OUTPUTS = 300
"""Largest number of outputs per step; fitting more takes minutes."""
MOST_POSITIONS = 2048
ITERATIONS = 40
ERRORS = 3.0
"""Allowed deviation in standard errors, for a loss whose standard deviation equals its mean."""
SLACK = 0.05
"""Allowed relative deviation from the floor, for a predictor fitted to a part of the training data."""
RIDGE = 1e-5
"""L2 penalty on the weights; without it, an event that is absent from the training data has infinite loss."""
LINEAR_RIDGE = 0.5
"""The same for the linear rule, divided by the number of steps: it has many weights for few steps."""


class Positions(nn.Module):
    """The index of the step and nothing of the input, as a one-hot vector: (batch, time, steps)."""

    receptive_field = 1

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.out_features = steps

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(self.out_features)[: x.shape[1]].expand(len(x), -1, -1)


class Present(nn.Module):
    """The present input, unchanged: (batch, time, channels)."""

    receptive_field = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_features = channels

    def forward(self, x: Tensor) -> Tensor:
        return x


@task_check
def check_floor(subject: TaskSubject) -> None:
    """Check that no prediction without memory beats the floor, and that one of them reaches it.

    Four predictors are fitted to training data and scored on the test split: a constant, a marginal for each step, and
    a linear rule and a small network that read only the present input.  If only the last step is read, or if inputs are
    tokens, only the constant must not beat the floor.  The tolerance is the largest of the metric's margin, 5 %, and 3
    standard errors for the number of scored elements.
    """
    task, floor = subject.task, subject.task.floor()
    if floor is None:
        raise NotApplicableError("states no floor")
    signature = task.signature()
    if signature.out_features > MOST_OUTPUTS:
        raise NotApplicableError(
            f"{signature.out_features:,} outputs are too many to fit here; test the floor against frequencies"
        )
    train, test = subject.split("train"), subject.split("test")
    train = head(train, _sequences(signature, train), FRAMES)
    test = head(test, len(test), TEST_TOKENS)
    constant, *others = (_fitted_score(network, task, train, test) for network in _predictors(signature, train))
    best = (min if task.metric.better == "lower" else max)(constant, *others)
    metric = f"{task.metric.name} {floor:.4g}"
    allowed = slack(task.metric, floor, _scored(signature, test))
    beaten = better_by(task.metric, constant, floor) > allowed
    require(not beaten, f"the floor is {metric}, but a constant prediction scores {constant:.4g}")
    beaten = _reads_numbers(signature) and better_by(task.metric, best, floor) > allowed
    require(not beaten, f"the floor is {metric}, but a rule on the present input alone scores {best:.4g}")
    reached = better_by(task.metric, floor, best) <= allowed
    require(reached, f"the floor is {metric}, but the best predictor without memory scores {best:.4g}")


def better_by(metric: Metric, score: float, other: float) -> float:
    """Return how much better a score is than another one, on the scale of the metric."""
    difference = math.log(other / score) if metric.scale == "log" else other - score
    return difference if metric.better == "lower" else -difference


def slack(metric: Metric, floor: float, scored: int) -> float:
    """Return the allowed difference between a score and the floor, on the scale of the metric.

    scored: number of scored elements; with fewer elements, a score varies more.
    """
    relative = max(SLACK, ERRORS / math.sqrt(scored))
    return max(metric.margin, relative if metric.scale == "log" else relative * abs(floor))


def _reads_numbers(signature: Signature) -> bool:
    """Return whether each step is read, and inputs are numbers: then the floor is that of the present input."""
    return signature.readout == "each" and isinstance(signature.input, Real)


def _sequences(signature: Signature, train: Dataset) -> int:
    """Return the number of training sequences to fit: about `FRAMES` steps, and at least 20."""
    if signature.readout == "last":
        return FRAMES // 5
    if isinstance(train, Ragged):
        return max(int((train.lengths.cumsum(0) <= FRAMES).sum()), 20)
    return max(FRAMES // signature.length, 20)


def _scored(signature: Signature, test: Dataset) -> int:
    """Return the number of elements that are scored in a test split."""
    if isinstance(test, Arrays):
        return len(test) * (signature.length if signature.readout == "each" else 1)
    return len(test.inputs) if isinstance(test, Ragged) and not test.last else len(test)


def _predictors(signature: Signature, train: Dataset) -> list[tuple[Network, list[nn.Parameter]]]:
    """Return networks and the parameters to fit; the first network predicts a constant."""
    constant = probe_network(signature)
    nn.init.zeros_(constant.decoder.weight)
    memoryless = probe_network(signature)
    predictors = [(constant, [constant.decoder.bias]), (memoryless, list(memoryless.parameters()))]
    if _reads_numbers(signature):
        present = Network(signature, Present(signature.in_features)).eval()
        nn.init.zeros_(present.decoder.weight)
        predictors.append((present, list(present.decoder.parameters())))
    has_positions = signature.readout == "each" and isinstance(train, Arrays) and not signature.tied
    if has_positions and signature.length <= MOST_POSITIONS:
        positions = Network(signature, Positions(signature.length)).eval()
        predictors.append((positions, list(positions.decoder.parameters())))
    return predictors


def _fitted_score(
    predictor: tuple[Network, Sequence[nn.Parameter]], task: Task, train: Dataset, test: Dataset
) -> float:
    network, parameters = predictor
    linear = isinstance(network.backbone, Present)
    ridge = LINEAR_RIDGE / _scored(task.signature(), train) if linear else RIDGE
    fit(network, parameters, task, list(batches_of(train, 256)), ridge)
    return evaluate(network, task, test, CPU)[task.metric.name]


def fit(
    network: Network, parameters: Sequence[nn.Parameter], task: Task, batches: Sequence[Batch], ridge: float
) -> None:
    """Fit the parameters: minimise the mean of the first total over these batches, with L-BFGS.

    ridge: L2 penalty on the parameters.
    """
    optimizer = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        totals = [_primary(network, task, batch) for batch in batches]
        loss: Tensor = sum(value for value, _ in totals) / sum(count for _, count in totals)  # type: ignore[assignment]
        loss = loss + ridge * torch.stack([parameter.square().sum() for parameter in parameters]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def _primary(network: Network, task: Task, batch: Batch) -> tuple[Tensor, Tensor | int]:
    output, _ = outputs(network, task.signature().readout, batch)
    total = first_total(task.loss(output, batch))
    return total.sum, total.count
