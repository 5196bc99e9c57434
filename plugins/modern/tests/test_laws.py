"""What the model contract asks of every backbone, in `eval()`; in float64 where it is about equality."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from harness import Bits, Classes, Model, Real, Scan, Signature, Suffix, Tokens
from harness.errors import SpaceError
from harness.training.network import build_network
from harness_modern.gated_tcn import GatedTcn
from harness_modern.mamba import Mamba
from harness_modern.mingru import MinGru
from harness_modern.s4d import S4d
from harness_modern.transformer import Transformer

CHANNELS = 3
SIGNATURE = Signature(input=Real(CHANNELS), output=Real(1), length=16, readout="each")
"""Shorter than the sequences below, so that attention spans less than all of them."""


@dataclass(frozen=True)
class Case:
    model: Model
    width: int
    params: dict[str, Any]  # of several types, as `build` takes them

    def build(self, signature: Signature = SIGNATURE) -> nn.Module:
        return self.model.build(signature, (self.width,), **self.params)

    def reference(self) -> nn.Module:
        """Biases of gated convolutions are raised, since dead relus would keep every law."""
        torch.manual_seed(0)
        backbone = self.build().double().eval()
        if isinstance(self.model, GatedTcn):
            for name, parameter in backbone.named_parameters():
                if name.endswith("bias"):
                    parameter.data += 0.5
        return backbone


CASES = {
    "transformer": Case(Transformer(), 120, {"layers": 2, "heads": 2, "expansion": 2, "dropout": 0.3}),
    "transformer-one-layer": Case(Transformer(), 90, {"layers": 1, "heads": 1, "expansion": 4}),
    "transformer-narrow": Case(Transformer(), 1, {"layers": 3, "heads": 4, "expansion": 2}),
    "mingru": Case(MinGru(), 40, {"layers": 3, "expansion": 1, "timescale": None, "dropout": 0.3}),
    "mingru-slow": Case(MinGru(), 40, {"layers": 2, "expansion": 1, "timescale": 30.0}),
    "mingru-wide": Case(MinGru(), 50, {"layers": 1, "expansion": 2}),
    "s4d": Case(S4d(), 80, {"layers": 2, "state_size": 8, "expansion": 1, "dropout": 0.3}),
    "s4d-one-pair": Case(S4d(), 40, {"layers": 1, "state_size": 2, "expansion": 2}),
    "gated-tcn": Case(GatedTcn(), 40, {"levels": 3, "kernel_size": 3, "dropout": 0.3}),
    "gated-tcn-one-level": Case(GatedTcn(), 9, {"levels": 1, "kernel_size": 4}),
    "gated-tcn-far": Case(GatedTcn(), 20, {"levels": 4, "kernel_size": 8}),
    "mamba": Case(Mamba(), 30, {"layers": 2, "state_size": 4, "expansion": 2, "dropout": 0.3}),
    "mamba-no-convolution": Case(Mamba(), 20, {"layers": 1, "state_size": 1, "expansion": 1, "kernel_size": 1}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_model = pytest.mark.parametrize("name", ["transformer", "mingru", "s4d", "gated-tcn", "mamba"])


def _inputs(time: int, seed: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, CHANNELS, generator=generator, dtype=torch.float64)


def _scanned(backbone: nn.Module, windows: list[Tensor]) -> Tensor:
    state: Any = None
    outputs = []
    for window in windows:
        y, state = cast(Scan, backbone).scan(window, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1)


def _windows(x: Tensor, cuts: list[int]) -> list[Tensor]:
    return [x[:, start:stop] for start, stop in pairwise([0, *cuts, x.shape[1]]) if start < stop]


@every_case
@settings(max_examples=8, deadline=None)
@given(time=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_output_does_not_depend_on_later_input(case: Case, time: int, seed: int, data: st.DataObject) -> None:
    now = data.draw(st.integers(0, time - 1))
    backbone = case.reference()
    x = _inputs(time, seed)
    changed = x.clone()
    changed[:, now + 1 :] += 3  # an FFT rounds relative to the largest input
    torch.testing.assert_close(backbone(changed)[:, : now + 1], backbone(x)[:, : now + 1], rtol=1e-12, atol=1e-12)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(backbone(x)[:, now].square().sum(), x)
    assert (gradient[:, now + 1 :].abs() < 1e-13).all()


@every_case
def test_output_depends_on_the_present_and_the_first_input(case: Case) -> None:
    x = _inputs(5, 0, batch=8).requires_grad_()
    (gradient,) = torch.autograd.grad(case.reference()(x)[:, -1].square().sum(), x)
    assert (gradient[:, -1] != 0).any()
    assert (gradient[:, 0] != 0).any()


@every_case
@settings(max_examples=12, deadline=None)
@given(time=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_scan_over_windows_equals_forward(case: Case, time: int, seed: int, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, time), max_size=6, unique=True).map(sorted))
    backbone = case.reference()
    x = _inputs(time, seed)
    torch.testing.assert_close(_scanned(backbone, _windows(x, cuts)), backbone(x), rtol=1e-12, atol=1e-12)


@every_case
def test_scan_step_by_step_equals_forward(case: Case) -> None:
    backbone = case.reference()
    x = _inputs(40, 3)
    torch.testing.assert_close(_scanned(backbone, list(torch.split(x, 1, dim=1))), backbone(x), rtol=1e-12, atol=1e-12)


@every_model
@pytest.mark.parametrize("time", [784, 1020])
def test_scan_of_a_long_sequence_in_float32_equals_forward_in_float64(name: str, time: int) -> None:
    backbone = CASES[name].reference()
    x = _inputs(time, 1)
    expected = backbone(x)
    single = backbone.float()
    for y in (single(x.float()), _scanned(single, _windows(x.float(), [1, 100, 101, 500]))):
        assert y.dtype == torch.float32
        torch.testing.assert_close(y.double(), expected, rtol=1e-3, atol=1e-4)


@every_case
@settings(max_examples=12, deadline=None)
@given(time=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_suffix_equals_the_end_of_forward(case: Case, time: int, seed: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, time))
    backbone = case.reference()
    x = _inputs(time, seed)
    y = cast(Suffix, backbone).suffix(x, steps)
    assert y.shape == (2, steps, backbone.out_features)
    torch.testing.assert_close(y, backbone(x)[:, -steps:], rtol=1e-12, atol=1e-12)


@every_case
def test_scan_state_is_batch_first_small_and_of_the_input_dtype(case: Case) -> None:
    _, state = cast(Scan, case.reference()).scan(_inputs(30, 0, batch=7))
    leaves = tree_flatten(state)[0]
    assert leaves
    for leaf in leaves:
        assert leaf.shape[0] == 7
        assert leaf.dtype == torch.float64
        assert leaf.untyped_storage().nbytes() == leaf.numel() * leaf.element_size()


@every_case
def test_scan_state_stops_growing(case: Case) -> None:
    backbone = cast(Scan, case.reference())
    _, state = backbone.scan(_inputs(130, 0))
    _, later = backbone.scan(_inputs(130, 1), state)
    assert [leaf.shape for leaf in tree_flatten(later)[0]] == [leaf.shape for leaf in tree_flatten(state)[0]]


@every_case
def test_scan_leaves_its_state_and_input_unchanged(case: Case) -> None:
    backbone = cast(Scan, case.reference())
    x = _inputs(6, 1)
    _, state = backbone.scan(_inputs(5, 0))
    before = tree_map(torch.clone, state)
    first, _ = backbone.scan(x, state)
    again, _ = backbone.scan(x, state)
    assert torch.equal(first, again)
    assert torch.equal(x, _inputs(6, 1))
    for leaf, copied in zip(tree_flatten(state)[0], tree_flatten(before)[0], strict=True):
        assert torch.equal(leaf, copied)


@every_case
@pytest.mark.parametrize("cut", [5, 7])
def test_scan_passes_the_gradient_of_earlier_windows(case: Case, cut: int) -> None:
    if case.params.get("kernel_size") == 1 and isinstance(case.model, GatedTcn):
        pytest.skip("a kernel of one step has no history")
    backbone = case.reference()
    joined, early = _inputs(8, 0).requires_grad_(), _inputs(8, 0)[:, :cut].requires_grad_()
    (expected,) = torch.autograd.grad(backbone(joined)[:, cut:].square().sum(), joined)
    _, state = cast(Scan, backbone).scan(early)
    y, _ = cast(Scan, backbone).scan(_inputs(8, 0)[:, cut:], state)
    (gradient,) = torch.autograd.grad(y.square().sum(), early)
    assert (expected[:, cut - 1] != 0).any()
    torch.testing.assert_close(gradient, expected[:, :cut], rtol=1e-10, atol=1e-12)


@every_case
def test_rows_of_a_batch_do_not_touch(case: Case) -> None:
    backbone = case.reference()
    x = _inputs(9, 2, batch=4)
    alone = torch.cat([backbone(row[None]) for row in x])
    torch.testing.assert_close(backbone(x), alone, rtol=1e-12, atol=1e-12)


@every_case
def test_deepcopy_and_pickle_keep_the_function(case: Case) -> None:
    backbone = case.reference()
    x = _inputs(9, 2)
    expected = backbone(x)
    stored = io.BytesIO()
    torch.save(backbone.state_dict(), stored)
    stored.seek(0)
    fresh = case.build().double().eval()
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    backbone(x).sum().backward()
    for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone)), fresh):
        assert torch.equal(other(x), expected)


@every_case
def test_build_on_meta_has_the_same_shapes(case: Case) -> None:
    with torch.device("meta"):
        planned = case.build()
    assert all(parameter.is_meta for parameter in planned.parameters())
    real = {name: parameter.shape for name, parameter in case.build().named_parameters()}
    assert {name: parameter.shape for name, parameter in planned.named_parameters()} == real


@every_case
def test_every_parameter_gets_a_gradient(case: Case) -> None:
    backbone = case.reference().train()
    backbone(_inputs(30, 0, batch=8)).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


@every_case
def test_seed_decides_the_initial_weights(case: Case) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.detach().flatten() for parameter in case.build().parameters()])

    numpy = str(np.random.get_state())
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert str(np.random.get_state()) == numpy


@every_case
def test_eval_draws_no_random_number(case: Case) -> None:
    backbone = case.reference()
    before = torch.get_rng_state()
    backbone(_inputs(9, 2))
    _scanned(backbone, [_inputs(9, 2)])
    assert torch.equal(torch.get_rng_state(), before)


@every_model
def test_seed_decides_the_dropout_of_training(name: str) -> None:
    backbone = CASES[name].reference().train()

    def output(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return cast(Tensor, backbone(_inputs(9, 2)))

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))


@every_model
@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        (Signature(Real(1), Classes(10), length=1020, readout="each"), torch.zeros(4, 1020, 1)),
        (Signature(Real(1), Classes(10), length=784, readout="last"), torch.full((4, 784, 1), -0.42)),
        (Signature(Tokens(50, 8), Classes(50), length=40, readout="each", tied=True), torch.ones(4, 40).long()),
        (Signature(Real(88), Bits(88), length=160, readout="each"), torch.zeros(4, 160, 88)),
    ],
    ids=["copy", "mnist", "tokens", "music"],
)
def test_gradients_are_finite_on_inputs_that_never_change(name: str, signature: Signature, inputs: Tensor) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    network = build_network(case.model, signature, (200,), dict(case.params))
    output = network.last(inputs) if signature.readout == "last" else network(inputs)
    output.square().mean().backward()
    assert output.isfinite().all()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@every_model
def test_unknown_missing_and_wrong_keywords_are_named(name: str) -> None:
    case = CASES[name]
    with pytest.raises(SpaceError, match=f"model '{name}' has no parameter 'layer'"):
        case.model.build(SIGNATURE, (5,), layer=1)
    first = "kernel_size" if name == "gated-tcn" else "layers"
    with pytest.raises(SpaceError, match=f"model '{name}', parameter '{first}': .*got 0"):
        case.model.build(SIGNATURE, (5,), **{**case.params, first: 0})
    with pytest.raises(SpaceError, match=f"model '{name}', parameter '{first}': Field required"):
        case.model.build(SIGNATURE, (5,))
    with pytest.raises(SpaceError, match=f"model '{name}' takes 1 widths >= 1 at 1 levels, got \\(5, 5\\)"):
        case.model.build(SIGNATURE, (5, 5), **case.params)


@every_model
def test_space_holds_what_build_takes_and_no_shared_dimension(name: str) -> None:
    case = CASES[name]
    space = case.model.space(SIGNATURE)
    assert set(space) == set(case.params) - {"dropout"}
    assert case.model.levels(**case.params) == 1
