"""The adding problem against its definition and its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare

from harness import Arrays, Batch, Real, Seeds, Signature
from harness_tasks import Adding

SEEDS = Seeds.of(0, 0)


def test_signature_and_metric_are_those_of_the_paper() -> None:
    task = Adding(length=200)
    assert task.signature() == Signature(Real(2), Real(1), length=200, readout="last", dependency=200)
    assert (task.metric.name, task.metric.unit, task.metric.scale) == ("mse", "", "log")
    assert task.metric.of({"mse": (3.0, 4.0)}) == 0.75


@pytest.mark.parametrize("length", [2, 3, 50])
def test_sequence_has_two_markers_and_the_target_is_their_sum(length: int) -> None:
    data = Adding(length=length, sequences=500).load("train", SEEDS, {})
    values, markers = data.inputs.unbind(-1)
    assert data.inputs.shape == (500, length, 2)
    assert data.inputs.dtype == data.targets.dtype == torch.float32
    assert set(markers.flatten().tolist()) <= {0.0, 1.0}
    assert markers.sum(1).tolist() == [2] * 500
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    torch.testing.assert_close(data.targets, (values * markers).sum(1, keepdim=True), rtol=0, atol=1e-7)


def test_splits_have_the_sizes_asked_for() -> None:
    task = Adding(length=5, sequences=11, validation=12, test=13)
    assert [len(task.load(split, SEEDS, {})) for split in ("train", "validation", "test")] == [11, 12, 13]


def test_pairs_of_markers_are_uniform() -> None:
    length = 10
    _, markers = Adding(length=length, sequences=45_000).load("train", SEEDS, {}).inputs.unbind(-1)
    pairs = markers.nonzero()[:, 1].view(-1, 2)  # (sequences, 2), the earlier marker first
    counts = torch.bincount(pairs[:, 0] * length + pairs[:, 1], minlength=length**2).view(length, length)
    seen = counts[torch.triu_indices(length, length, 1).unbind()]
    assert int(seen.sum()) == 45_000
    assert chisquare(seen).pvalue > 0.01  # 44 degrees of freedom; a fixed seed, so it passes always or never


def test_values_are_uniform() -> None:
    values, _ = Adding(length=100, sequences=1000).load("train", SEEDS, {}).inputs.unbind(-1)
    assert chisquare(torch.histc(values, 20, 0, 1)).pvalue > 0.01


def test_floor_is_the_loss_of_the_constant_one() -> None:
    count = 200_000
    task = Adding(length=2, test=count)
    data = task.load("test", SEEDS, {})
    total = task.loss(torch.ones(count, 1), Batch(data.inputs, data.targets))["mse"]
    # The square of (u + v - 1) for uniform u, v has mean 1/6 and mean square 1/15.
    standard_error = math.sqrt((1 / 15 - 1 / 36) / count)
    assert task.floor() == pytest.approx(1 / 6, rel=1e-15)
    assert float(total.sum / total.count) == pytest.approx(task.floor(), abs=3 * standard_error)


def test_loss_is_the_sum_of_squared_errors() -> None:
    batch = Batch(torch.zeros(2, 3, 2), torch.tensor([[1.0], [0.5]]))
    output = torch.tensor([[3.0], [0.0]], requires_grad=True)
    total = Adding().loss(output, batch)["mse"]
    assert float(total.sum.detach()) == 4.25
    assert total.count == 2
    (gradient,) = torch.autograd.grad(total.sum, output)
    assert gradient.tolist() == [[4.0], [-1.0]]


def test_loss_does_not_depend_on_batch_size() -> None:
    task = Adding(length=5, test=64)
    data = task.load("test", SEEDS, {})
    output = torch.linspace(0, 2, 64)[:, None]

    def totals(size: int) -> tuple[float, int]:
        parts = [task.loss(output[i : i + size], batch_of(data, i, size))["mse"] for i in range(0, 64, size)]
        return math.fsum(float(part.sum) for part in parts), sum(int(part.count) for part in parts)

    assert totals(1)[1] == totals(10)[1] == totals(64)[1] == 64
    assert totals(1)[0] == pytest.approx(totals(64)[0], rel=1e-6)
    assert totals(10)[0] == pytest.approx(totals(64)[0], rel=1e-6)


def batch_of(data: Arrays, start: int, size: int) -> Batch:
    return Batch(data.inputs[start : start + size], data.targets[start : start + size])


@pytest.mark.parametrize(("length", "updates"), [(100, None), (200, 1500), (400, 1500), (600, 6200), (1000, 6200)])
def test_plateau_is_that_of_the_longest_measured_length_that_is_not_longer(length: int, updates: int | None) -> None:
    plateau = Adding(length=length).plateau()
    assert (None if plateau is None else plateau.updates) == updates
