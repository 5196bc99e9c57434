from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from harness import Bits, Classes, Real, Signature, Tokens
from harness.study.budget import solve
from harness_modern.gated_tcn import GatedConvolution, GatedTcn, GatedTcnBackbone

SIGNATURE = Signature(Real(3), Real(1), length=30, readout="each")


def _backbone(kernel_size: int, levels: int, width: int = 25) -> GatedTcnBackbone:
    torch.manual_seed(0)
    return GatedTcn().build(SIGNATURE, (width,), kernel_size=kernel_size, levels=levels).double().eval()


@pytest.mark.parametrize("dilation", [1, 4])
def test_gated_convolution_is_one_times_the_sigmoid_of_another(dilation: int) -> None:
    torch.manual_seed(0)
    ours = GatedConvolution(3, 4, 5).double()
    ours.g.data *= 1.7
    value, gate = (weight_norm(nn.Conv1d(3, 4, 5, dilation=dilation).double(), dim=0) for _ in range(2))
    for half, conv in enumerate((value, gate)):
        conv.parametrizations.weight.original0.data.copy_(ours.g[4 * half : 4 * half + 4])
        conv.parametrizations.weight.original1.data.copy_(ours.v[4 * half : 4 * half + 4])
        assert conv.bias is not None
        conv.bias.data.copy_(ours.bias[4 * half : 4 * half + 4])
    x = torch.randn(2, 20, 3, dtype=torch.float64)
    padded = F.pad(x.mT, (4 * dilation, 0))
    expected = (value(padded) * torch.sigmoid(gate(padded))).mT
    torch.testing.assert_close(ours(x, None, dilation)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel_size", "levels"), [(2, 1), (3, 3), (8, 2)])
def test_receptive_field_is_what_gradients_reach(kernel_size: int, levels: int) -> None:
    backbone = _backbone(kernel_size, levels)
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias"):
            parameter.data += 0.5
    x = torch.randn(1, 80, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(backbone(x)[0, -1].square().sum(), x)
    reached = (gradient[0] != 0).any(-1).nonzero().min()
    assert 80 - int(reached) == backbone.receptive_field


def test_last_step_costs_four_convolved_positions_a_step() -> None:
    backbone = _backbone(7, 8)
    positions: list[int] = []
    for module in backbone.modules():
        if isinstance(module, GatedConvolution):
            module.register_forward_hook(lambda _, __, output: positions.append(output[0].shape[1]))
    backbone.suffix(torch.randn(1, 784, 3, dtype=torch.float64), 1)
    assert sum(positions) <= 4 * 784 + 16
    positions.clear()
    backbone(torch.randn(1, 784, 3, dtype=torch.float64))
    assert sum(positions) == 16 * 784


def test_dropout_silences_whole_channels() -> None:
    torch.manual_seed(0)
    backbone = GatedTcn().build(SIGNATURE, (200,), kernel_size=2, levels=1, dropout=0.5).train()
    seen: list[torch.Tensor] = []
    block = backbone.blocks[0].get_submodule("dropout")
    block.register_forward_hook(lambda _, __, output: seen.append(output))
    backbone(torch.randn(4, 30, 3))
    for output in seen:  # (batch, channels, time)
        silent = (output == 0).all(-1)
        assert torch.equal(silent, (output == 0).any(-1))
        assert 0.2 < float(silent.double().mean()) < 0.8


@pytest.mark.parametrize("budget", [12_530, 66_910])
def test_channels_are_fewer_by_the_root_of_two_at_the_budget_of_a_tcn(budget: int) -> None:
    tcn = pytest.importorskip("harness_models.tcn", reason="the TCN comes with seqharness-models").Tcn()
    signature = Signature(Real(1), Classes(10), length=1020, readout="each")
    params = {"kernel_size": 7, "levels": 8}
    plain = solve(tcn, signature, params, budget=budget, tolerance=0.01).widths[-1]
    gated = solve(GatedTcn(), signature, params, budget=budget, tolerance=0.01)
    backbone = GatedTcn().build(signature, gated.widths, **params)
    assert backbone.out_features == pytest.approx(plain / 2**0.5, abs=1)


@pytest.mark.parametrize(
    "signature",
    [
        Signature(Real(1), Classes(10), length=1020, readout="each", dependency=1011),
        Signature(Real(1), Classes(10), length=50, readout="each", dependency=41),
        Signature(Real(88), Bits(88), length=160, readout="each"),
        Signature(Tokens(50, 100), Classes(50), length=400, readout="each"),
    ],
    ids=["copy-1000", "copy-30", "music", "tokens"],
)
def test_space_and_refusals_are_those_of_the_tcn(signature: Signature) -> None:
    tcn = pytest.importorskip("harness_models.tcn", reason="the TCN comes with seqharness-models").Tcn()
    assert GatedTcn().space(signature) == tcn.space(signature)
    for kernel_size in (2, 5, 8):
        for levels in (1, 4, 8):
            params = {"kernel_size": kernel_size, "levels": levels}
            assert GatedTcn().unsupported(signature, **params) == tcn.unsupported(signature, **params)
