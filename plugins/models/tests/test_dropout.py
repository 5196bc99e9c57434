"""Dropout: mean, rate, independence, and what is dropped together."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness import Real, Signature
from harness_models.dropout import Dropout, Kind, quantised
from harness_models.tcn import Tcn

KINDS: tuple[Kind, ...] = ("channel", "element")


def _mask(probability: float, *shape: int, kind: Kind = "element") -> Tensor:
    torch.manual_seed(0)
    return torch.eq(Dropout(probability, kind).train()(torch.ones(shape)), 0)


def test_element_dropout_drops_at_the_stated_rate_in_every_lane() -> None:
    """Within 4 standard errors, in each of the four decisions of a 64-bit draw."""
    for probability in (0.05, 0.3, 0.5, 0.9):
        dropped = _mask(probability, 4_000_000).view(-1, 4).double()
        error = math.sqrt(probability * (1 - probability) / len(dropped))
        assert ((dropped.mean(0) - probability).abs() < 4 * error + 2**-17).all()


def test_element_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    y = Dropout(0.3, "element").train()(torch.ones(4_000_000, dtype=torch.float64))
    assert abs(float(y.mean()) - 1) < 4 * math.sqrt(0.3 / 0.7 / y.numel())
    assert y[y > 0].unique().tolist() == [pytest.approx(1 / (1 - quantised(0.3)), rel=1e-12)]


def test_element_dropout_is_independent_of_its_neighbours() -> None:
    """Correlations up to 8 apart (two draws) stay within 4 standard errors of zero."""
    dropped = _mask(0.3, 2_000_000).double() - 0.3
    for lag in range(1, 9):
        correlation = (dropped[:-lag] * dropped[lag:]).mean() / (0.3 * 0.7)
        assert abs(float(correlation)) < 4 / math.sqrt(len(dropped))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (3, 5, 7), (2, 4, 4)])
def test_element_dropout_covers_any_size(shape: tuple[int, int, int]) -> None:
    y = Dropout(0.5, "element").train()(torch.ones(shape))
    assert y.shape == shape
    assert set(y.unique().tolist()) <= {0.0, 2.0}


def test_element_dropout_drops_neighbours_in_time_apart() -> None:
    dropped = _mask(0.5, 4, 50, 6)
    assert not (dropped == dropped[:, :1]).all()


def test_channel_dropout_drops_a_channel_over_all_time() -> None:
    dropped = _mask(0.5, 64, 10, 64, kind="channel")
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert abs(float(dropped[:, 0].double().mean()) - 0.5) < 4 * 0.5 / 64


def test_channel_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    y = Dropout(0.3, "channel").train()(torch.ones(2000, 1, 500, dtype=torch.float64))
    assert abs(float(y.mean()) - 1) < 4 * math.sqrt(0.3 / 0.7 / y.numel())


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_mask(kind: Kind) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 5, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.4, kind).train()(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)
    assert (gradient == 0).any()
    assert (gradient != 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_eval_and_probability_zero_change_and_draw_nothing(kind: Kind) -> None:
    x = torch.randn(2, 3, 4)
    before = torch.get_rng_state()
    assert Dropout(0.5, kind).eval()(x) is x
    assert Dropout(0.0, kind).train()(x) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_quantised_probability_is_off_by_at_most_2_to_the_minus_17() -> None:
    for step in range(1000):
        assert abs(quantised(step / 1000) - step / 1000) <= 2**-17
    assert quantised(1 - 1e-9) == 1 - 2**-16
    assert quantised(0.5) == 0.5


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_channel_dropout_of_a_tcn_zeroes_channels_over_all_computed_steps(steps: int) -> None:
    """Whatever way the outputs are computed, the input of the second convolution and the block's sum lose a channel
    at every position or at none."""
    seen: list[Tensor] = []
    signature = Signature(input=Real(3), output=Real(1), length=8, readout="last")
    torch.manual_seed(0)
    backbone = Tcn().build(signature, (40, 40), kernel_size=3, levels=2, dropout=0.5).train()
    for module in backbone.modules():
        if isinstance(module, Dropout):
            module.register_forward_hook(lambda _, given, out: seen.append(_dropped(given[0], out)))
    backbone.suffix(torch.randn(5, 8, 3), steps)
    assert len(seen) == 4
    for dropped in seen:
        assert 0.2 < float(dropped.double().mean()) < 0.8


def _dropped(given: Tensor, out: Tensor) -> Tensor:
    """(batch, channels): whether a channel was zeroed; every position where relu left something agrees."""
    live = given > 0  # (batch, time, channels)
    zeroed = (out == 0) & live
    dropped = zeroed.any(1)
    assert torch.equal(zeroed, live & dropped[:, None])
    return dropped[live.any(1)]
