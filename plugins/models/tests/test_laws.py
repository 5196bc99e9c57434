"""What the model contract asks of every backbone, in float64 and `eval()`."""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from harness import Model, Real, Scan, Signature
from harness_models.convolution import Convolution
from harness_models.recurrent import Gru, Lstm, Rnn
from harness_models.tcn import Tcn

CHANNELS = 3
SIGNATURE = Signature(input=Real(CHANNELS), output=Real(1), length=30, readout="each")


@dataclass(frozen=True)
class Case:
    model: Model
    widths: tuple[int, ...]
    params: dict[str, Any] = field(default_factory=dict)  # of several types, as `build` takes them

    def build(self) -> nn.Module:
        return self.model.build(SIGNATURE, self.widths, **self.params)

    def reference(self) -> nn.Module:
        """Biases of convolutions are raised, since a narrow network of dead relus would keep every law."""
        torch.manual_seed(0)
        backbone = self.build().double().eval()
        for module in backbone.modules():
            if isinstance(module, Convolution):
                module.bias.data += 0.5
        return backbone


def _tcn(kernel_size: int, *widths: int, **params: Any) -> Case:
    return Case(Tcn(), widths, {"kernel_size": kernel_size, "levels": len(widths), **params})


CASES = {
    "tcn": _tcn(3, 5, 5, 4),
    "tcn-one-level": _tcn(4, 3),
    "tcn-kernel-1": _tcn(1, 4, 4),
    "tcn-one-channel": _tcn(2, 1, 1, 1),
    "tcn-element": _tcn(2, 6, 5, dropout=0.4, dropout_kind="element", init="normal"),
    "tcn-far": _tcn(8, 3, 3, 3, 3),
    "lstm": Case(Lstm(), (5, 4), {"layers": 2, "dropout": 0.3, "forget_bias": 5.0}),
    "gru": Case(Gru(), (4,), {"layers": 1, "dropout": 0.3}),
    "rnn": Case(Rnn(), (4, 5, 3), {"layers": 3}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def _inputs(time: int, seed: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, CHANNELS, generator=generator, dtype=torch.float64)


def _scan(backbone: nn.Module) -> Callable[..., tuple[Tensor, Any]]:
    return cast(Scan, backbone).scan


def _gradients(backbone: nn.Module) -> tuple[Tensor, ...]:
    return torch.autograd.grad(backbone(_inputs(30, 0, batch=8)).square().sum(), list(backbone.parameters()))


@every_case
@settings(max_examples=10, deadline=None)
@given(time=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_output_does_not_depend_on_later_input(case: Case, time: int, seed: int, data: st.DataObject) -> None:
    now = data.draw(st.integers(0, time - 1))
    backbone = case.reference()
    x = _inputs(time, seed)
    changed = x.clone()
    changed[:, now + 1 :] += 1e3
    torch.testing.assert_close(backbone(changed)[:, : now + 1], backbone(x)[:, : now + 1], rtol=1e-12, atol=1e-12)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(backbone(x)[:, now].square().sum(), x)
    assert (gradient[:, now + 1 :] == 0).all()


@every_case
def test_output_depends_on_the_present_input(case: Case) -> None:
    x = _inputs(30, 0, batch=8).requires_grad_()
    (gradient,) = torch.autograd.grad(case.reference()(x)[:, -1].square().sum(), x)
    assert (gradient[:, -1] != 0).any()


@every_case
def test_output_has_the_stated_features(case: Case) -> None:
    backbone = case.reference()
    assert backbone(_inputs(7, 0)).shape == (2, 7, backbone.out_features)
    assert backbone.out_features == case.widths[-1]


@every_case
@settings(max_examples=15, deadline=None)
@given(time=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_scan_over_windows_equals_forward(case: Case, time: int, seed: int, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, time), max_size=6, unique=True).map(sorted))
    backbone = case.reference()
    x = _inputs(time, seed)
    windows = [x[:, start:stop] for start, stop in pairwise([0, *cuts, time]) if start < stop]
    state: Any = None
    outputs = []
    for window in windows:
        y, state = _scan(backbone)(window, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, dim=1), backbone(x), rtol=1e-12, atol=1e-12)


@every_case
def test_scan_state_is_batch_first_and_small(case: Case) -> None:
    _, state = _scan(case.reference())(_inputs(30, 0, batch=7))
    for leaf in tree_flatten(state)[0]:
        assert leaf.shape[0] == 7
        assert leaf.untyped_storage().nbytes() == leaf.numel() * leaf.element_size()


@every_case
def test_scan_leaves_its_state_and_input_unchanged(case: Case) -> None:
    backbone = case.reference()
    x = _inputs(6, 1)
    _, state = _scan(backbone)(_inputs(5, 0))
    before = tree_map(torch.clone, state)
    first, _ = _scan(backbone)(x, state)
    again, _ = _scan(backbone)(x, state)
    assert torch.equal(first, again)
    assert torch.equal(x, _inputs(6, 1))
    for leaf, copied in zip(tree_flatten(state)[0], tree_flatten(before)[0], strict=True):
        assert torch.equal(leaf, copied)


@every_case
def test_scan_passes_the_gradient_of_earlier_windows(case: Case) -> None:
    if case.params.get("kernel_size") == 1:
        pytest.skip("a kernel of one step has no history")
    backbone = case.reference()
    joined, early = _inputs(8, 0).requires_grad_(), _inputs(8, 0)[:, :5].requires_grad_()
    (expected,) = torch.autograd.grad(backbone(joined)[:, 5:].square().sum(), joined)
    _, state = _scan(backbone)(early)
    y, _ = _scan(backbone)(_inputs(8, 0)[:, 5:], state)
    (gradient,) = torch.autograd.grad(y.square().sum(), early)
    assert (expected[:, 4] != 0).any()
    torch.testing.assert_close(gradient, expected[:, :5], rtol=1e-10, atol=1e-12)


@every_case
def test_rows_of_a_batch_do_not_touch(case: Case) -> None:
    backbone = case.reference()
    x = _inputs(9, 2, batch=4)
    alone = torch.cat([backbone(row[None]) for row in x])
    torch.testing.assert_close(backbone(x), alone, rtol=1e-12, atol=1e-12)


@every_case
def test_input_of_any_memory_layout_gives_the_same_output(case: Case) -> None:
    backbone = case.reference()
    x = _inputs(9, 2)
    transposed = x.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(backbone(transposed), backbone(x), rtol=1e-12, atol=1e-12)


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
    for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone)), fresh):
        assert torch.equal(other(x), expected)


@every_case
def test_deepcopy_after_training_step_shares_nothing(case: Case) -> None:
    backbone = case.reference()
    parameters = list(backbone.parameters())
    for parameter, gradient in zip(parameters, _gradients(backbone), strict=True):
        parameter.grad = gradient
    twin = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert not torch.equal(twin(_inputs(9, 2)), backbone(_inputs(9, 2)))


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
    names = [name for name, _ in backbone.named_parameters()]
    for name, gradient in zip(names, _gradients(backbone), strict=True):
        assert (gradient != 0).any(), name


@every_case
def test_seed_decides_the_initial_weights(case: Case) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.detach().flatten() for parameter in case.build().parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@every_case
def test_build_leaves_python_and_numpy_random_states_alone(case: Case) -> None:
    before = random.getstate(), str(np.random.get_state())
    case.build()
    assert (random.getstate(), str(np.random.get_state())) == before


@every_case
def test_eval_draws_no_random_number(case: Case) -> None:
    backbone = case.reference()
    before = torch.get_rng_state()
    backbone(_inputs(9, 2))
    _scan(backbone)(_inputs(9, 2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["tcn-element", "lstm"])
def test_seed_decides_the_dropout_of_training(name: str) -> None:
    backbone = CASES[name].reference().train()

    def output(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return cast(Tensor, backbone(_inputs(9, 2)))

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))
