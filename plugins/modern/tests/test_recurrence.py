"""The chunked recurrence against the loop that defines it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness_modern.recurrence import linear_recurrence


def _loop(decay: Tensor, drive: Tensor, start: Tensor | None) -> Tensor:
    state = torch.zeros_like(drive[:, 0]) if start is None else start
    states = []
    for step in range(drive.shape[1]):
        state = decay[:, step] * state + drive[:, step]
        states.append(state)
    return torch.stack(states, dim=1)


def _drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    decay = torch.rand(*shape, generator=generator, dtype=torch.float64)
    drive = torch.randn(*shape, generator=generator, dtype=torch.float64)
    start = torch.randn(shape[0], *shape[2:], generator=generator, dtype=torch.float64)
    return decay.to(dtype), drive.to(dtype), start.to(dtype)


@settings(max_examples=40, deadline=None)
@given(time=st.integers(1, 70), seed=st.integers(0, 999), begun=st.booleans(), deep=st.booleans())
def test_recurrence_and_its_gradient_equal_the_loop(time: int, seed: int, begun: bool, deep: bool) -> None:
    shape = (2, time, 3, 2) if deep else (2, time, 3)
    decay, drive, start = (tensor.requires_grad_() for tensor in _drawn(*shape, seed=seed))
    inputs = (decay, drive, start) if begun else (decay, drive)
    ours = linear_recurrence(decay, drive, start if begun else None)
    theirs = _loop(decay, drive, start if begun else None)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    weights = torch.randn_like(theirs)
    expected = torch.autograd.grad((theirs * weights).sum(), inputs)
    for gradient, right in zip(torch.autograd.grad((ours * weights).sum(), inputs), expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-11, atol=1e-13)


def test_gradient_agrees_with_finite_differences() -> None:
    inputs = tuple(tensor.requires_grad_() for tensor in _drawn(2, 7, 2, seed=0))
    assert torch.autograd.gradcheck(linear_recurrence, inputs)


def test_decays_of_one_add_up_and_of_zero_forget() -> None:
    drive = torch.randn(2, 1000, 3, dtype=torch.float64)
    start = torch.full((2, 3), 1e6, dtype=torch.float64)
    summed = linear_recurrence(torch.ones_like(drive), drive, torch.zeros_like(start))
    torch.testing.assert_close(summed, drive.cumsum(1), rtol=1e-11, atol=1e-11)
    assert torch.equal(linear_recurrence(torch.zeros_like(drive), drive, start), drive)


def test_constant_decay_is_a_geometric_series() -> None:
    decay = torch.full((1, 400, 1), 0.97, dtype=torch.float64)
    time = torch.arange(1, 401, dtype=torch.float64)
    expected = (1 - 0.97**time) / (1 - 0.97)
    torch.testing.assert_close(linear_recurrence(decay, torch.ones_like(decay), None)[0, :, 0], expected)


@pytest.mark.parametrize("time", [784, 1020])
def test_float32_is_as_near_to_float64_as_the_loop(time: int) -> None:
    double = linear_recurrence(*_drawn(2, time, 5, seed=1))
    decay, drive, start = _drawn(2, time, 5, seed=1, dtype=torch.float32)
    single = linear_recurrence(decay, drive, start)
    assert single.dtype == torch.float32
    error = (single.double() - double).abs().max()
    assert error <= 4 * (_loop(decay, drive, start).double() - double).abs().max()


def test_inputs_stay_as_they_were() -> None:
    inputs = _drawn(2, 11, 3, seed=2)
    before = [tensor.clone() for tensor in inputs]
    linear_recurrence(*inputs)
    assert all(torch.equal(tensor, copied) for tensor, copied in zip(inputs, before, strict=True))
