"""The temporal convolutional network against its formulas and the settings of the paper."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from optuna.distributions import IntDistribution
from torch import Tensor, nn

from harness import Bits, Real, Signature
from harness.errors import SpaceError
from harness_models.convolution import Convolution
from harness_models.tcn import ResidualBlock, Tcn, TcnBackbone, fewest_levels, receptive_field


def _signature(
    in_features: int = 3, *, length: int = 100, dependency: int | None = None, readout: Any = "each"
) -> Signature:
    return Signature(input=Real(in_features), output=Real(1), length=length, readout=readout, dependency=dependency)


def _build(in_features: int, widths: tuple[int, ...], kernel_size: int, **params: Any) -> TcnBackbone:
    torch.manual_seed(0)
    return Tcn().build(_signature(in_features), widths, kernel_size=kernel_size, levels=len(widths), **params)


def _blocks(backbone: TcnBackbone) -> list[ResidualBlock]:
    return [cast(ResidualBlock, block) for block in backbone.blocks]


def _convolve(layer: Convolution, x: Tensor, dilation: int) -> Tensor:
    """F(s) = Σ_i f(i) · x[s - d · (k - 1 - i)], zeros before the start: section 3.2, one output at a time."""
    norms = layer.v.flatten(1).norm(dim=1)[:, None, None]
    weight = layer.g * layer.v / norms  # (out, in, k)
    k = weight.shape[2]
    y = layer.bias.expand(x.shape[0], x.shape[1], -1).clone()
    for tap in range(k):
        shift = dilation * (k - 1 - tap)
        if shift < x.shape[1]:
            y[:, shift:] += x[:, : x.shape[1] - shift] @ weight[:, :, tap].T
    return y


def _reference(backbone: TcnBackbone, x: Tensor) -> Tensor:
    for level, block in enumerate(_blocks(backbone)):
        hidden = F.relu(_convolve(block.first, x, 2**level))
        hidden = F.relu(_convolve(block.second, hidden, 2**level))
        x = F.relu(hidden + block.skip(x))
    return x


@pytest.mark.parametrize(
    ("time", "in_features", "widths", "kernel_size"),
    [(20, 3, (4, 5, 5), 3), (1, 2, (3,), 4), (5, 4, (4, 4, 4), 8), (12, 1, (1, 2), 2), (9, 2, (2, 2), 1)],
)
def test_forward_equals_the_formula(time: int, in_features: int, widths: tuple[int, ...], kernel_size: int) -> None:
    backbone = _build(in_features, widths, kernel_size).double().eval()
    x = torch.randn(3, time, in_features, dtype=torch.float64)
    torch.testing.assert_close(backbone(x), _reference(backbone, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel_size", "levels"), [(3, 2), (2, 4), (6, 3), (1, 3), (4, 1)])
def test_receptive_field_is_the_support_of_the_gradient(kernel_size: int, levels: int) -> None:
    backbone = _build(2, (16,) * levels, kernel_size).double().eval()
    x = torch.randn(4, 130, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(backbone(x)[:, -1].sum(), x)
    reached = (gradient.abs().sum((0, 2)) > 0).nonzero()
    assert 130 - int(reached.min()) == backbone.receptive_field == receptive_field(kernel_size, levels)


@pytest.mark.parametrize(
    ("kernel_size", "levels", "expected"),
    # Receptive fields of the paper's settings, by gradient support of the released network.
    [(6, 7, 1271), (7, 7, 1525), (8, 8, 3571), (7, 8, 3061), (6, 9, 5111), (8, 9, 7155), (3, 2, 13), (6, 4, 151),
     (3, 4, 61), (3, 3, 29), (2, 5, 63), (3, 5, 125), (4, 5, 187)],
)  # fmt: skip
def test_receptive_field_of_published_settings(kernel_size: int, levels: int, expected: int) -> None:
    assert receptive_field(kernel_size, levels) == expected


def test_skip_is_a_projection_only_where_widths_differ() -> None:
    skips = [type(block.skip) for block in _blocks(_build(4, (4, 6, 6), 3))]
    assert skips == [nn.Identity, nn.Linear, nn.Identity]


@pytest.mark.parametrize("in_features", [1, 5])
@pytest.mark.parametrize("steps", [1, 4, 40])
@pytest.mark.parametrize("channels_first", [False, True])
def test_hidden_values_are_held_time_major_with_channels_last(
    in_features: int, steps: int, channels_first: bool
) -> None:
    """Also where the input comes as (batch, channels, time) in memory, or one channel makes the strides ambiguous."""
    backbone = _build(in_features, (6, 1, 6), 3)
    x = torch.randn(7, 40, in_features)
    if channels_first:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    seen: list[bool] = []
    for module in backbone.modules():
        if isinstance(module, Convolution):
            module.register_forward_hook(lambda _, __, y: seen.append(y.is_contiguous()))
    backbone.suffix(x, steps)
    assert seen == [True] * 6


@pytest.mark.parametrize("in_features", [8, 150])
def test_default_init_is_that_of_conv1d(in_features: int) -> None:
    """Uniform in ±1/√(in · k), std 1/√(3 · in · k), also after a forward."""
    backbone = _build(in_features, (200, 200), 5)
    backbone(torch.randn(1, 4, in_features))
    first = _blocks(backbone)[0].first
    bound = (in_features * 5) ** -0.5
    assert float(first.weight.detach().abs().max()) <= bound * (1 + 1e-6)
    assert float(first.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.03)
    assert float(first.bias.detach().abs().max()) <= bound


def test_normal_init_takes_effect() -> None:
    """The released code's N(0, 0.01) is lost at the first forward; this one is not."""
    backbone = _build(8, (200, 200), 5, init="normal")
    backbone(torch.randn(1, 4, 8))
    for block in _blocks(backbone):
        for layer in (block.first, block.second):
            assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
            assert abs(float(layer.weight.detach().mean())) < 0.001


@pytest.mark.parametrize("init", ["default", "normal"])
def test_projection_starts_at_std_0_01(init: str) -> None:
    skip = cast(nn.Linear, _blocks(_build(80, (200,), 2, init=init))[0].skip)
    assert float(skip.weight.detach().std()) == pytest.approx(0.01, rel=0.05)


def test_gain_scales_the_filter() -> None:
    layer = Convolution(3, 4, 5, "default")
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.v.mul_(7)
        layer.g.mul_(2)
    torch.testing.assert_close(layer.weight, 2 * before)
    torch.testing.assert_close(layer.weight.flatten(1).norm(dim=1), layer.g.flatten())


def test_scan_state_holds_the_inputs_of_each_convolution() -> None:
    _, state = _build(3, (4, 5), 4).scan(torch.randn(2, 6, 3))
    assert [tuple(entry.shape) for entry in state] == [(2, 3, 3), (2, 3, 4), (2, 6, 4), (2, 6, 5)]


def _bounds(distribution: object) -> tuple[int, int]:
    assert isinstance(distribution, IntDistribution)
    return distribution.low, distribution.high


@pytest.mark.parametrize(
    ("dependency", "levels"),
    # 1 + 14 (2^n - 1) and 1 + 2 (2^n - 1) steps at kernels 8 and 2: the adding problem, MNIST, copy memory.
    [(200, (4, 7)), (400, (5, 8)), (600, (6, 9)), (784, (6, 9)), (511, (6, 8)), (1011, (7, 9)), (2011, (8, 10)),
     (20, (2, 4)), (2, (1, 2)), (1, (1, 2))],
)  # fmt: skip
def test_space_reaches_the_dependency_and_goes_no_deeper(dependency: int, levels: tuple[int, int]) -> None:
    space = Tcn().space(_signature(length=dependency, dependency=dependency))
    assert set(space) == {"kernel_size", "levels"}
    assert _bounds(space["kernel_size"]) == (2, 8)
    assert _bounds(space["levels"]) == levels


@pytest.mark.parametrize(("length", "levels"), [(1793, (2, 6)), (160, (2, 6)), (20, (2, 4)), (4, (2, 2)), (1, (2, 2))])
def test_space_without_a_known_dependency_follows_the_length(length: int, levels: tuple[int, int]) -> None:
    assert _bounds(Tcn().space(_signature(length=length))["levels"]) == levels


@pytest.mark.parametrize("dependency", [2, 20, 600, 1011])
def test_every_kernel_size_has_a_supported_depth_in_the_space(dependency: int) -> None:
    signature = _signature(dependency=dependency)
    low, high = _bounds(Tcn().space(signature)["levels"])
    for kernel_size in range(2, 9):
        reasons = [
            Tcn().unsupported(signature, kernel_size=kernel_size, levels=levels, dropout=0.1)
            for levels in range(low, high + 1)
        ]
        assert reasons[-1] is None
        fewest = fewest_levels(kernel_size, dependency)
        assert [reason is None for reason in reasons] == [levels >= fewest for levels in range(low, high + 1)]


def test_unsupported_says_how_many_steps_are_missing() -> None:
    reason = Tcn().unsupported(_signature(dependency=600), kernel_size=2, levels=6)
    assert reason == "receptive field 127 (kernel size 2, 6 levels) is shorter than the required 600 steps"


def test_nothing_is_unsupported_where_the_dependency_is_unknown() -> None:
    assert Tcn().unsupported(_signature(), kernel_size=2, levels=1) is None


def test_levels_is_the_number_of_blocks() -> None:
    assert Tcn().levels(kernel_size=3, levels=5, dropout=0.1) == 5


def test_levels_without_its_parameter_names_it() -> None:
    with pytest.raises(SpaceError, match="model 'tcn' needs the parameter 'levels'; given: kernel_size"):
        Tcn().levels(kernel_size=3)


def test_unknown_keyword_is_named_with_the_known_ones() -> None:
    message = (
        "model 'tcn' has no parameter 'kernel'; did you mean 'kernel_size'\\? "
        "Parameters: kernel_size, levels, dropout, dropout_kind, init"
    )
    with pytest.raises(SpaceError, match=message):
        Tcn().build(_signature(), (4,), kernel=3, levels=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dropout_kind": "spatial"}, "parameter 'dropout_kind': .*'channel' or 'element', got 'spatial'"),
        ({"dropout": 1.0}, "parameter 'dropout': .*less than 1, got 1.0"),
        ({"kernel_size": 0}, "parameter 'kernel_size': .*greater than or equal to 1, got 0"),
        ({"kernel_size": 2.5}, "parameter 'kernel_size': .*valid integer, got 2.5"),
        ({"init": "xavier"}, "parameter 'init': .*'default' or 'normal', got 'xavier'"),
    ],
)
def test_wrong_value_is_named_with_what_would_be_right(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=f"model 'tcn', {message}"):
        Tcn().build(_signature(), (4,), **{"kernel_size": 3, "levels": 1, **wrong})


def test_missing_keyword_is_named() -> None:
    with pytest.raises(SpaceError, match=r"model 'tcn', parameter 'kernel_size': Field required$"):
        Tcn().build(_signature(), (4,), levels=1)


@pytest.mark.parametrize("widths", [(4,), (4, 4, 4), (4, 0)])
def test_widths_must_match_the_levels(widths: tuple[int, ...]) -> None:
    with pytest.raises(SpaceError, match="model 'tcn' takes 2 widths >= 1 at 2 levels, got "):
        Tcn().build(_signature(), widths, kernel_size=3, levels=2)


def test_output_kind_does_not_matter_to_the_backbone() -> None:
    signature = Signature(input=Real(88), output=Bits(88), length=160, readout="each")
    assert Tcn().build(signature, (7,), kernel_size=3, levels=1).out_features == 7
