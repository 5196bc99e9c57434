from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.api.signature import Real, Signature
from harness.training.inspection import Findings, inspect_backbone
from tests.support.toys import ToyEma, ToyStack

CPU = torch.device("cpu")


class Peek(nn.Module):
    """Adds the input of `ahead` steps later."""

    out_features = 3

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.roll(x, -self.ahead, dims=1)


class Meddling(nn.Module):
    out_features = 3

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.what == "torch":
            torch.manual_seed(3)
        elif self.what == "numpy":
            np.random.rand()
        elif self.what == "random":
            random.seed(3)
        return torch.as_tensor(self.dropout(x))


@pytest.mark.parametrize("ahead", [1, 5, 31])
@pytest.mark.parametrize("length", [2, 64, 600])
def test_a_look_ahead_is_seen(ahead: int, length: int) -> None:
    steps = min(length, 64)
    assert inspect_backbone(Peek(min(ahead, steps // 2)), 3, length, CPU).reads_future


@pytest.mark.parametrize("length", [1, 2, 7, 64, 600])
def test_causal_models_pass_and_keep_their_mode(length: int) -> None:
    signature = Signature(input=Real(3), output=Real(1), length=length, readout="each")
    stack = ToyStack().build(signature, (4, 5), layers=2, dropout=0.5)
    for backbone in (ToyEma().build(signature, (4,), dropout=0.5), stack.eval()):
        training = backbone.training
        assert inspect_backbone(backbone, 3, length, CPU) == Findings(False, "", ())
        assert backbone.training == training


@pytest.mark.parametrize("what", ["torch", "numpy", "random"])
def test_random_state_that_forward_moves_is_named(what: str) -> None:
    assert inspect_backbone(Meddling(what), 3, 10, CPU) == Findings(False, "", (what,))


def test_dropout_moves_none_while_it_is_looked_at() -> None:
    before = torch.get_rng_state()
    assert inspect_backbone(Meddling("nothing"), 3, 10, CPU) == Findings(False, "", ())
    assert torch.equal(torch.get_rng_state(), before)


class Returning(nn.Module):
    """Returns what `output` makes of (batch, time, 3) inputs."""

    out_features = 3

    def __init__(self, output: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:
        return self.output(x)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: (x, x[:, -1]), "forward returns a tuple, not a tensor; return the outputs alone"),
        (lambda x: [x], "forward returns a list, not a tensor"),
        (lambda x: {"y": x}, "forward returns a dict, not a tensor"),
        (lambda x: None, "forward returns a NoneType, not a tensor"),
        (lambda x: x.numpy(), "forward returns a ndarray, not a tensor"),
        (lambda x: x[:, -1], r"forward returns \(1, 3\) for 1 sequence of 10 steps; return .*, here \(1, 10, 3\)"),
        (lambda x: x.transpose(1, 2), r"forward returns \(1, 3, 10\) for 1 sequence of 10 steps"),
        (lambda x: x.repeat(1, 1, 2), r"forward returns \(1, 10, 6\)"),
        (lambda x: x.sum(), r"forward returns \(\)"),
    ],
)
def test_output_that_breaks_the_contract_is_described(output: Callable[[Tensor], object], message: str) -> None:
    inspection = inspect_backbone(Returning(output), 3, 10, CPU)
    assert re.match(message, inspection.wrong_output)
    assert not inspection.reads_future
