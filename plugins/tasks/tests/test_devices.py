"""Losses compute where the outputs of the network are, and read no value back to the host.

The meta device stands for a GPU: an operation on tensors of it and of the CPU raises, and it has no values to read.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness import Batch, Classes, Real, Signature, Task, Total
from harness_tasks import Adding, CopyMemory, JsbChorales, Lambada, PtbChar, PtbWord, SequentialMnist, Text8, WikiText2
from harness_tasks.own.arrays import OwnArrays

ROWS, STEPS = 3, 30
TASKS: list[Task] = [
    Adding(length=STEPS),
    CopyMemory(length=STEPS - 20),
    JsbChorales(),
    Lambada(),
    PtbChar(),
    PtbWord(),
    SequentialMnist(),
    Text8(),
    WikiText2(),
]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
every_device = pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=pytest.mark.gpu)])


def batch_of(signature: Signature, device: str, *, ragged: bool) -> tuple[Tensor, Batch]:
    """Return outputs of a network that need a gradient, and their batch; made on the CPU, as data is."""
    steps = () if signature.readout == "last" else (STEPS,)
    inputs = torch.ones(ROWS, STEPS, dtype=torch.int64)
    if isinstance(signature.input, Real):
        inputs = torch.ones(ROWS, STEPS, signature.input.size)
    targets = torch.ones(ROWS, *steps, dtype=torch.int64)
    if not isinstance(signature.output, Classes):
        targets = torch.ones(ROWS, *steps, signature.output.size)
    lengths = torch.tensor([STEPS, 5, 1]).to(device) if ragged else None
    output = torch.zeros(ROWS, *steps, signature.out_features).to(device).requires_grad_()
    return output, Batch(inputs.to(device), targets.to(device), lengths, last=signature.readout == "last")


def check(totals: dict[str, Total], output: Tensor) -> None:
    tensors = [value for total in totals.values() for value in (total.sum, total.count) if isinstance(value, Tensor)]
    assert tensors
    assert {value.device.type for value in tensors} == {output.device.type}
    next(iter(totals.values())).sum.backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None


@every_device
@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "ragged"])
@every_task
def test_loss_is_computed_on_the_device_of_the_outputs(task: Task, ragged: bool, device: str) -> None:
    output, batch = batch_of(task.signature(), device, ragged=ragged)
    check(dict(task.loss(output, batch)), output)


@every_device
@pytest.mark.parametrize("score", ["mae", "mse"])
@pytest.mark.parametrize("readout", ["last", "each"])
@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "ragged"])
@pytest.mark.parametrize("output", [Classes(4), Real(2)], ids=["classes", "numbers"])
def test_loss_of_own_data_is_computed_on_the_device_of_the_outputs(
    output: Classes | Real, readout: str, score: str, ragged: bool, device: str
) -> None:
    signature = Signature(input=Real(2), output=output, length=STEPS, readout="last" if readout == "last" else "each")
    outputs, batch = batch_of(signature, device, ragged=ragged)
    task = object.__new__(OwnArrays)  # its loss reads no file
    object.__setattr__(task, "score", score)
    check(task.loss(outputs, batch), outputs)
