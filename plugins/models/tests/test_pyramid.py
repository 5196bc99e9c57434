"""The short ways to the last outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness import Real, Signature, Suffix
from harness_models.convolution import Convolution
from harness_models.pyramid import LevelPlan, plan
from harness_models.tcn import Tcn, TcnBackbone, receptive_field

SHAPES = [
    # (time, in_features, kernel_size, widths)
    (1, 3, 3, (4, 4)),
    (1, 1, 8, (2, 3, 2)),
    (2, 2, 2, (2, 2)),
    (600, 2, 8, (6,) * 8),  # receptive field 3571, far above
    (100, 4, 3, (4, 4)),  # 13, far below, in == out
    (61, 4, 3, (4, 4, 4, 4)),  # 61, equal
    # Dilations are powers of two, so that each divides the next; what need not divide is the time: the grids hang at
    # the last step, and a level's first position is not the sequence's.
    (37, 3, 5, (6, 5, 4)),
    (64, 1, 2, (1, 1, 1, 1)),
    (33, 3, 1, (5, 5, 5)),  # kernel of one step
    (29, 3, 4, (5,)),  # one level
]


def _backbone(in_features: int, kernel_size: int, widths: tuple[int, ...], **params: Any) -> TcnBackbone:
    """Biases of convolutions are raised, since a narrow network of dead relus would keep every law."""
    torch.manual_seed(0)
    signature = Signature(input=Real(in_features), output=Real(1), length=100, readout="last")
    backbone = Tcn().build(signature, widths, kernel_size=kernel_size, levels=len(widths), **params)
    for module in backbone.modules():
        if isinstance(module, Convolution):
            module.bias.data += 0.5
    return backbone


def _relative(actual: Tensor, expected: Tensor) -> float:
    """Largest error, relative to the largest value."""
    error = (actual - expected).detach().double().abs().max()
    return float(error / expected.detach().double().abs().max().clamp_min(1e-300))


def _output_and_gradients(backbone: TcnBackbone, x: Tensor, steps: int, *, short: bool) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = backbone.suffix(x, steps) if short else backbone(x)[:, -steps:]
    weight = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)
    return [y.detach(), *torch.autograd.grad((y * weight).sum() + y.square().sum(), [x, *backbone.parameters()])]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("time", "in_features", "kernel_size", "widths"), SHAPES)
def test_suffix_equals_the_end_of_forward(
    time: int, in_features: int, kernel_size: int, widths: tuple[int, ...], dtype: torch.dtype, bound: float
) -> None:
    backbone = _backbone(in_features, kernel_size, widths, dropout=0.3).to(dtype).eval()
    x = torch.randn(3, time, in_features, dtype=dtype)
    for steps in sorted({1, min(2, time), (time + 1) // 2, time}):
        expected = _output_and_gradients(backbone, x, steps, short=False)
        actual = _output_and_gradients(backbone, x, steps, short=True)
        assert (expected[0] != 0).any()
        assert max(_relative(a, b) for a, b in zip(actual, expected, strict=True)) <= bound


@settings(max_examples=60, deadline=None)
@given(
    time=st.integers(1, 70),
    kernel_size=st.integers(1, 6),
    levels=st.integers(1, 5),
    data=st.data(),
)
def test_suffix_equals_the_end_of_forward_at_any_shape(
    time: int, kernel_size: int, levels: int, data: st.DataObject
) -> None:
    steps = data.draw(st.one_of(st.just(1), st.integers(1, time)))
    backbone = _backbone(2, kernel_size, (3,) * levels).double().eval()
    x = torch.randn(2, time, 2, dtype=torch.float64)
    assert backbone.suffix(x, steps).shape == (2, steps, 3)
    assert _relative(backbone.suffix(x, steps), backbone(x)[:, -steps:]) <= 1e-12


def test_backbone_offers_suffix() -> None:
    assert isinstance(_backbone(2, 3, (4,)), Suffix)


def _needed(time: int, kernel_size: int, levels: int) -> tuple[list[set[int]], int]:
    """By brute force, what the last output reads: input positions of each level, and positions computed in all."""
    wanted, inputs, computed = {time - 1}, [], 0
    for level in reversed(range(levels)):
        computed += len(wanted)
        taps = [tap << level for tap in range(kernel_size)]
        middles = {t - tap for t in wanted for tap in taps if t >= tap}
        computed += len(middles)
        wanted = {t - tap for t in middles for tap in taps if t >= tap}
        inputs.append(wanted)
    return inputs[::-1], computed


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("levels", [1, 2, 4, 6])
def test_last_step_plan_computes_what_is_read_and_no_more(kernel_size: int, levels: int) -> None:
    for time in (1, 2, 3, 7, 16, 33, 100, 257):
        plans = plan(time, 1, kernel_size, levels)
        inputs, computed = _needed(time, kernel_size, levels)
        assert [level.inputs for level in plans] == [len(read) for read in inputs]
        assert sum(level.positions for level in plans) == computed
        held = [{time - 1 - j * 2**i for j in range(level.inputs)} for i, level in enumerate(plans)]
        assert held == inputs


def test_last_step_plan_of_the_adding_problem_has_1795_positions() -> None:
    plans = plan(600, 1, 8, 8)
    assert [level.inputs for level in plans] == [600, 300, 150, 75, 38, 19, 10, 5]
    assert _positions(plans) == 1795
    assert _positions(plan(600, 600, 8, 8)) == 9600


def test_last_step_plan_of_mnist_has_2345_positions() -> None:
    assert _positions(plan(784, 1, 7, 8)) == 2345
    assert _positions(plan(784, 784, 7, 8)) == 12544


def _positions(plans: tuple[LevelPlan, ...]) -> int:
    return sum(level.positions for level in plans)


def test_suffix_plan_of_a_character_model_reads_the_receptive_field() -> None:
    plans = plan(400, 320, 3, 3)
    top_down = [n for level in reversed(plans) for n in (level.outputs, level.middles)] + [plans[0].inputs]
    assert top_down == [320, 328, 336, 340, 344, 346, 348]
    assert plans[0].inputs == 320 + receptive_field(3, 3) - 1


def test_plan_of_the_whole_sequence_pads_the_history_of_each_convolution() -> None:
    for level, planned in enumerate(plan(50, 50, 4, 5)):
        assert (planned.inputs, planned.middles, planned.outputs) == (50, 50, 50)
        assert planned.pad_inputs == planned.pad_middles == 3 * 2**level


@pytest.mark.parametrize("kind", ["channel", "element"])
def test_suffix_in_training_has_the_distribution_of_forward(kind: str) -> None:
    """Mean and spread of 20,000 draws agree within 4 standard errors."""
    draws = 20_000
    backbone = _backbone(1, 2, (2, 2), dropout=0.3, dropout_kind=kind).train()
    x = torch.randn(1, 9, 1).expand(draws, 9, 1)
    with torch.no_grad():
        short, whole = backbone.suffix(x, 1)[:, 0], backbone(x)[:, -1]
    error = ((short.var(0) + whole.var(0)) / draws).sqrt()
    assert (short.std(0) > 0).all()
    assert ((short.mean(0) - whole.mean(0)).abs() < 4 * error).all()
    torch.testing.assert_close(short.std(0), whole.std(0), rtol=0.05, atol=0)
