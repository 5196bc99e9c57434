"""Recorded updates: what is recorded when, and that replays train as plain updates do.

Without CUDA a stand-in computes again what a graph would replay, in the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from harness.api.task import Task
from harness.records import Optimisation, Training
from harness.seeds import Seeds
from harness.training import stacked_step
from harness.training.cuda_graphs import Computation, Recorded, can_record
from harness.training.network import build_network
from harness.training.run import TrainingData, TrainingRun
from harness.training.vectorized import VectorizedRuns
from tests.support.toys import ToyEma, ToyRagged, ToySum

CPU = torch.device("cpu")
FOREVER = 1e9


class Again:
    """Computes at each call what was computed first; gradients and outputs stay where the first call put them."""

    made: list[Again] = []

    def __init__(self, computation: Computation, inputs: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> None:
        self.computation, self.parameters = computation, list(parameters)
        self.inputs = tuple(given.clone() for given in inputs)
        self.outputs, self.gradients = self.run()
        self.calls = 0
        Again.made.append(self)

    def run(self) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        for parameter in self.parameters:
            parameter.grad = None
        outputs = self.computation(self.inputs)
        return outputs, [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        self.calls += 1
        for place, given in zip(self.inputs, inputs, strict=True):
            place.copy_(given)
        outputs, gradients = self.run()
        for place, fresh in zip((*self.outputs, *self.gradients), (*outputs, *gradients), strict=True):
            place.copy_(fresh)
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.outputs


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    Again.made.clear()
    monkeypatch.setattr(stacked_step, "Recorded", Again)
    monkeypatch.setattr(stacked_step, "can_record", lambda device: True)


def make_runs(task: Task, device: torch.device = CPU, dropout: float = 0.0) -> list[TrainingRun]:
    """Three, of eighteen updates."""
    runs = []
    for repetition in range(3):
        seeds = Seeds.of(0, repetition + 1)
        torch.manual_seed(seeds.init)
        run = TrainingRun(
            build_network(ToyEma(), task.signature(), (5,), {"dropout": dropout}).to(device),
            task,
            training=Training(updates=18, batch_size=7, evaluate_every=6),
            optimisation=Optimisation(learning_rate=0.01, clip=1.0),
            data=TrainingData(task.load("train", seeds, {}), task.load("validation", seeds, {})),
            seeds=seeds,
        )
        runs.append(run)
    return runs


def losses(runs: Sequence[TrainingRun]) -> list[list[float]]:
    assert [run.outcome for run in runs] == ["complete"] * 3
    return [[point.train_loss for point in run.points] for run in runs]


def trained(runs: list[TrainingRun], *, graphs: bool) -> list[list[float]]:
    VectorizedRuns(runs, graphs=graphs).advance(FOREVER)
    return losses(runs)


@pytest.mark.usefixtures("recording")
def test_an_update_is_recorded_once_for_each_shape_of_batch() -> None:
    """64 sequences in batches of 7: nine full ones an epoch, and one of a single sequence."""
    runs = make_runs(ToySum())
    graphed = trained(runs, graphs=True)
    assert sorted((again.inputs[0].shape, again.calls) for again in Again.made) == [
        ((3, 1, 6, 1), 1),
        ((3, 7, 6, 1), 17),
    ]
    plain = trained(make_runs(ToySum()), graphs=False)
    for mine, its in zip(graphed, plain, strict=True):
        assert mine == pytest.approx(its, rel=1e-6)


@pytest.mark.usefixtures("recording")
def test_dropout_of_a_replay_is_that_of_a_plain_update() -> None:
    assert trained(make_runs(ToySum(), dropout=0.4), graphs=True) == trained(
        make_runs(ToySum(), dropout=0.4), graphs=False
    )


@pytest.mark.usefixtures("recording")
def test_ragged_batches_are_not_recorded() -> None:
    trained(make_runs(ToyRagged()), graphs=True)
    assert Again.made == []


@pytest.mark.usefixtures("recording")
def test_nothing_is_recorded_unless_asked_for() -> None:
    trained(make_runs(ToySum()), graphs=False)
    assert Again.made == []


def test_the_cpu_records_nothing() -> None:
    assert not can_record(CPU)
    assert can_record(torch.device("cuda"))


@pytest.mark.gpu
def test_a_replay_gives_the_outputs_and_gradients_of_its_computation() -> None:
    torch.manual_seed(0)
    device = torch.device("cuda")
    layer = nn.Linear(3, 2).to(device)

    def computation(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        loss = layer(given[0]).square().sum()
        loss.backward()
        return (loss.detach(),)

    parameters = list(layer.parameters())
    recorded = Recorded(computation, [torch.zeros(4, 3, device=device)], parameters)
    for seed in range(3):
        x = torch.randn(4, 3, device=device, generator=torch.Generator(device).manual_seed(seed))
        (loss,) = recorded([x])
        gradients = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
        expected = layer(x).square().sum()
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(gradients, list(torch.autograd.grad(expected, parameters)))
        with torch.no_grad():
            layer.weight.add_(0.1)  # a replay reads the weights of the moment


@pytest.mark.gpu
def test_recorded_updates_train_as_plain_ones() -> None:
    device = torch.device("cuda")
    graphed, plain = (trained(make_runs(ToySum(), device), graphs=graphs) for graphs in (True, False))
    for mine, its in zip(graphed, plain, strict=True):
        assert mine == pytest.approx(its, rel=1e-4)
