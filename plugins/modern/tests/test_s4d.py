from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from harness_modern.s4d import DiagonalStateSpace, causal_convolution


def _space(channels: int = 3, state_size: int = 8) -> DiagonalStateSpace:
    torch.manual_seed(0)
    return DiagonalStateSpace(channels, state_size).double()


def _impulse_response(space: DiagonalStateSpace, time: int) -> Tensor:
    """(time, channels)"""
    u = torch.zeros(1, time, len(space.skip), dtype=torch.float64)
    u[:, 0] = 1
    y = space(u, None, False)[0][0].detach()
    assert isinstance(y, Tensor)
    return y


def test_poles_start_at_minus_a_half_plus_i_pi_n() -> None:
    space = _space()
    assert torch.allclose(-space.log_decay.exp(), torch.tensor(-0.5, dtype=torch.float64))
    assert torch.allclose(space.frequency, math.pi * torch.arange(4.0, dtype=torch.float64).expand(3, 4))
    assert ((space.log_step.exp() >= 1e-3) & (space.log_step.exp() <= 1e-1)).all()


@pytest.mark.parametrize("time", [2, 100, 784])
def test_impulse_response_is_the_analytic_kernel(time: int) -> None:
    """K[t] = 2 Re Σ C (exp(ΔA) - 1) / A · exp(ΔA)**t, with D at t = 0; powers taken one by one."""
    space = _space()
    pole = torch.complex(-space.log_decay.exp(), space.frequency).detach()
    step = space.log_step.exp().detach()[:, None]
    weight = torch.view_as_complex(space.readout.detach()) * (torch.exp(step * pole) - 1) / pole
    expected, power = [], torch.ones_like(pole)
    for _ in range(time):
        expected.append(2 * (weight * power).sum(1).real)
        power = power * torch.exp(step * pole)
    expected[0] = expected[0] + space.skip.detach()
    torch.testing.assert_close(_impulse_response(space, time), torch.stack(expected), rtol=1e-10, atol=1e-12)


def _integrated(pole: complex, u: float, h: complex, seconds: float) -> complex:
    """h after h' = pole · h + u over some seconds."""
    solution = solve_ivp(lambda _, h: pole * h + u, (0, seconds), np.array([h], dtype=complex), rtol=1e-12, atol=1e-14)
    return complex(solution.y[0, -1])


def test_steps_solve_the_differential_equation_for_a_held_input() -> None:
    """h' = A h + u with u held over each step: the ODE, integrated by SciPy, is met at the end of each step."""
    space = _space(channels=1, state_size=2)
    pole = complex(-space.log_decay.exp().item(), 3.0)
    space.frequency.data.fill_(3.0)
    step, readout = space.log_step.exp().item(), torch.view_as_complex(space.readout.detach())[0, 0].item()
    inputs = [0.7, -1.3, 0.4, 2.0]
    h, expected = 0j, []
    for u in inputs:
        h = _integrated(pole, u, h, step)
        expected.append(2 * (readout * h).real + space.skip.item() * u)
    y = space(torch.tensor(inputs, dtype=torch.float64).view(1, 4, 1), None, False)[0].flatten()
    torch.testing.assert_close(y, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("time", [1, 2, 7, 160, 784])
def test_convolution_by_fft_equals_the_sum(time: int, dtype: torch.dtype, tolerance: float) -> None:
    u = torch.randn(2, 3, time, dtype=torch.float64)
    kernel = torch.randn(3, time, dtype=torch.float64)
    expected = torch.stack([(u[..., : t + 1] * kernel[:, : t + 1].flip(1)).sum(-1) for t in range(time)], dim=-1)
    y = causal_convolution(u.to(dtype), kernel.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance * time**0.5)


def test_recurrence_equals_convolution() -> None:
    space = _space()
    u = torch.randn(2, 100, 3, dtype=torch.float64)
    state, outputs = None, []
    for step in range(100):
        y, state = space(u[:, step : step + 1], state, True)
        outputs.append(y)
    whole, end = space(u, None, True)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=1e-11, atol=1e-12)


def test_pole_at_a_tiny_step_keeps_its_digits() -> None:
    """(exp(ΔA) - 1) / A → Δ as Δ → 0, where the difference itself would cancel."""
    space = DiagonalStateSpace(1, 4)
    space.log_step.data.fill_(math.log(1e-7))
    _, drive = space._discrete()
    torch.testing.assert_close(drive.real, torch.full((1, 2), 1e-7), rtol=1e-5, atol=0)
