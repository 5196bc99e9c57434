"""Copy memory against its definition and its closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from harness import Batch, Classes, Real, Seeds, Signature
from harness_tasks import CopyMemory

SEEDS = Seeds.of(0, 0)
SURE = 50.0
"""A logit beside zeros whose softmax is 1 within float64."""


def batch_of(task: CopyMemory) -> Batch:
    data = task.load("test", SEEDS, {})
    return Batch(data.inputs, data.targets)


def means(task: CopyMemory, output: Tensor, batch: Batch) -> dict[str, float]:
    """Every metric of the task on one batch."""
    totals = {name: (float(total.sum), float(total.count)) for name, total in task.loss(output, batch).items()}
    return {metric.name: metric.of(totals) for metric in task.metrics()}


def memoryless(task: CopyMemory, count: int) -> Tensor:
    """Sure of the zeros, uniform over {1..8} at the last ten steps."""
    output = torch.zeros(count, task.steps, 10, dtype=torch.float64)
    output[:, :-10, 0] = SURE
    output[:, -10:, 1:9] = SURE
    return output


def test_signature_and_metrics_are_those_of_the_paper() -> None:
    task = CopyMemory(length=500)
    assert task.signature() == Signature(Real(1), Classes(10), length=520, readout="each", dependency=511)
    assert [metric.name for metric in task.metrics()] == ["loss", "recall_loss", "recall_accuracy"]
    assert [metric.unit for metric in task.metrics()] == ["nats", "nats", "%"]
    assert [metric.better for metric in task.metrics()] == ["lower", "lower", "higher"]


@pytest.mark.parametrize("length", [1, 2, 30])
def test_sequence_is_digits_blank_delimiter_and_digits_again(length: int) -> None:
    data = CopyMemory(length=length, sequences=200).load("train", SEEDS, {})
    inputs, targets = data.inputs[..., 0], data.targets
    assert data.inputs.shape == (200, length + 20, 1)
    assert data.inputs.dtype == torch.float32
    assert targets.dtype == torch.int64
    digits = inputs[:, :10]
    assert set(digits.flatten().tolist()) == set(range(1, 9))
    assert not inputs[:, 10 : 10 + length - 1].any()
    assert bool((inputs[:, 10 + length - 1 :] == 9).all())
    assert inputs[:, 10 + length - 1 :].shape[1] == 11
    assert not targets[:, : length + 10].any()
    assert torch.equal(targets[:, length + 10 :], digits.long())


def test_dependency_is_the_reach_from_a_recalled_digit_to_where_it_was_shown() -> None:
    task = CopyMemory(length=7, sequences=1)
    data = task.load("train", SEEDS, {})
    reach = task.signature().dependency
    assert reach is not None
    for step in range(task.steps - 10, task.steps):
        assert int(data.inputs[0, step - (reach - 1), 0]) == int(data.targets[0, step])


def test_splits_have_the_sizes_asked_for() -> None:
    task = CopyMemory(length=5, sequences=11, validation=12, test=13)
    assert [len(task.load(split, SEEDS, {})) for split in ("train", "validation", "test")] == [11, 12, 13]


def test_digits_are_uniform_at_each_place() -> None:
    digits = CopyMemory(length=1, sequences=8000).load("train", SEEDS, {}).targets[:, -10:]
    for place in digits.unbind(1):
        assert chisquare(torch.bincount(place, minlength=9)[1:]).pvalue > 0.001


# 0.03999, 0.020387 and 0.010294: LSTM and RNN stand at the second in Table 1.
@pytest.mark.parametrize(("length", "floor"), [(500, 0.039989), (1000, 0.0203867), (2000, 0.0102943)])
def test_floor_is_the_loss_of_the_memoryless_network(length: int, floor: float) -> None:
    task = CopyMemory(length=length, test=20)
    scores = means(task, memoryless(task, 20), batch_of(task))
    assert task.floor() == pytest.approx(floor, rel=1e-5)
    assert scores["loss"] == pytest.approx(task.floor(), rel=1e-12)
    assert scores["recall_loss"] == pytest.approx(math.log(8), rel=1e-12)


def test_recall_by_chance_is_one_in_eight() -> None:
    task = CopyMemory(length=1, test=4000)
    batch = batch_of(task)
    output = memoryless(task, 4000)
    output[:, -10:, 5] += 1  # always the same digit
    standard_error = 100 * math.sqrt(1 / 8 * 7 / 8 / 40_000)
    assert means(task, output, batch)["recall_accuracy"] == pytest.approx(12.5, abs=3 * standard_error)


def test_perfect_recall_loses_nothing() -> None:
    task = CopyMemory(length=5, test=30)
    batch = batch_of(task)
    output = SURE * torch.nn.functional.one_hot(batch.targets, 10).double()
    assert means(task, output, batch) == pytest.approx({"loss": 0, "recall_loss": 0, "recall_accuracy": 100})


def test_recall_reads_the_last_ten_steps_and_loss_all() -> None:
    task = CopyMemory(length=5, test=8)
    batch = batch_of(task)
    output = torch.zeros(8, task.steps, 10)
    everywhere = means(task, output, batch)
    assert everywhere["loss"] == pytest.approx(math.log(10))
    output[:, :-10] = torch.randn(8, task.steps - 10, 10, generator=torch.Generator().manual_seed(0))
    elsewhere = means(task, output, batch)
    assert elsewhere["loss"] != pytest.approx(everywhere["loss"], rel=1e-3)
    assert elsewhere["recall_loss"] == everywhere["recall_loss"]
    assert elsewhere["recall_accuracy"] == everywhere["recall_accuracy"]


def test_counts_are_steps_and_recalled_digits() -> None:
    task = CopyMemory(length=5, test=8)
    totals = task.loss(torch.zeros(8, 25, 10), batch_of(task))
    assert {name: total.count for name, total in totals.items()} == {
        "loss": 200,
        "recall_loss": 80,
        "recall_accuracy": 80,
    }


def test_the_first_total_alone_trains() -> None:
    task = CopyMemory(length=5, test=8)
    totals = task.loss(torch.zeros(8, 25, 10, requires_grad=True), batch_of(task))
    assert next(iter(totals)) == "loss"
    assert [total.sum.requires_grad for total in totals.values()] == [True, False, False]


@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_extreme_logits_lose_finitely(logit: float) -> None:
    task = CopyMemory(length=5, test=8)
    output = torch.zeros(8, 25, 10)
    output[..., 9] = logit  # never the target
    lost = means(task, output, batch_of(task))["loss"]
    assert lost == pytest.approx(logit if logit > 0 else math.log(9), rel=1e-5)


def test_totals_do_not_depend_on_batch_size() -> None:
    task = CopyMemory(length=5, test=12)
    batch = batch_of(task)
    output = torch.randn(12, 25, 10, generator=torch.Generator().manual_seed(1))
    whole = task.loss(output, batch)
    parts = [task.loss(output[i : i + 5], Batch(batch.inputs[i : i + 5], batch.targets[i : i + 5])) for i in (0, 5, 10)]
    for name, total in whole.items():
        assert sum(int(part[name].count) for part in parts) == total.count
        assert sum(float(part[name].sum) for part in parts) == pytest.approx(float(total.sum), rel=1e-5)


def test_plateau_is_stated_from_the_measured_length_on() -> None:
    plateau = CopyMemory(length=500).plateau()
    assert plateau is not None
    assert plateau.updates == 250
    assert CopyMemory(length=50).plateau() is None
