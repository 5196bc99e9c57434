"""`stack`: each member's slice is what the member computes by itself, in values, gradients, suffixes and states."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from harness import Model, Real, Signature, Stack, Suffix
from harness.plugin.loader import load_plugins
from harness_models.recurrent import Gru, Lstm, Rnn
from harness_models.tcn import Tcn

CHANNELS, MEMBERS, BATCH = 3, 3, 2
SIGNATURE = Signature(input=Real(CHANNELS), output=Real(1), length=30, readout="each")


@dataclass(frozen=True)
class Case:
    model: Model
    widths: tuple[int, ...]
    params: dict[str, Any] = field(default_factory=dict)  # of several types, as `build` takes them

    def members(self, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> list[nn.Module]:
        torch.manual_seed(0)
        params = {**self.params, "dropout": dropout}
        return [self.model.build(SIGNATURE, self.widths, **params).to(dtype) for _ in range(MEMBERS)]


CASES = {
    "tcn": Case(Tcn(), (5, 5, 4), {"kernel_size": 3, "levels": 3}),
    "tcn-in-is-out": Case(Tcn(), (3, 3), {"kernel_size": 2, "levels": 2}),
    "tcn-kernel-1": Case(Tcn(), (4, 4), {"kernel_size": 1, "levels": 2}),
    "tcn-one-channel": Case(Tcn(), (1, 1), {"kernel_size": 2, "levels": 2}),
    "tcn-far": Case(Tcn(), (4, 4, 4, 4), {"kernel_size": 8, "levels": 4}),
    "lstm": Case(Lstm(), (5, 4), {"layers": 2, "forget_bias": 5.0}),
    "gru": Case(Gru(), (4, 3), {"layers": 2}),
    "rnn": Case(Rnn(), (4, 5, 3), {"layers": 3}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def stacked(members: list[nn.Module]) -> nn.Module:
    twin = cast(Stack, members[0]).stack(len(members))
    states = [member.state_dict() for member in members]
    twin.load_state_dict({name: torch.stack([state[name] for state in states]) for name in states[0]})
    return twin


def inputs(time: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(MEMBERS, BATCH, time, CHANNELS, generator=torch.Generator().manual_seed(1), dtype=dtype)


def relative(actual: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value."""
    assert actual.shape == expected.shape
    actual, expected = actual.detach(), expected.detach()
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    return float((actual - expected).abs().max()) / scale if scale else float(actual.abs().sum())


def flat(gradients: list[Tensor | None]) -> Tensor:
    """All of them end to end: one that almost cancels is measured by the largest."""
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


@every_case
@pytest.mark.parametrize("time", [1, 2, 7, 30, 64])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_output_and_gradients_of_a_slice_are_those_of_its_member(
    case: Case, time: int, dtype: torch.dtype, tolerance: float
) -> None:
    members = case.members(dtype=dtype)
    twin = stacked(members)
    x = inputs(time, dtype).requires_grad_()
    output = twin(x)
    (dx,) = torch.autograd.grad(output.sin().sum(), x, retain_graph=True)
    output.sin().sum().backward()
    for i, member in enumerate(members):
        own = x[i].detach().requires_grad_()
        expected = member(own)
        expected.sin().sum().backward()
        assert relative(output[i], expected) <= tolerance
        assert own.grad is not None
        assert relative(dx[i], own.grad) <= tolerance
        gradients = [twin.get_parameter(name).grad for name, _ in member.named_parameters()]
        of_slice = flat([None if gradient is None else gradient[i] for gradient in gradients])
        assert relative(of_slice, flat([parameter.grad for parameter in member.parameters()])) <= tolerance


@every_case
@pytest.mark.parametrize(("time", "steps"), [(1, 1), (9, 1), (30, 1), (64, 1), (30, 7), (30, 30)])
def test_suffix_of_a_slice_is_that_of_its_member(case: Case, time: int, steps: int) -> None:
    members = case.members()
    twin, x = stacked(members), inputs(time)
    assert isinstance(twin, Suffix) == isinstance(members[0], Suffix)
    if not isinstance(twin, Suffix):
        return
    output = twin.suffix(x, steps)
    for i, member in enumerate(members):
        assert relative(output[i], member(x[i])[:, -steps:]) <= 1e-12


@every_case
def test_scan_carries_each_member_s_own_state(case: Case) -> None:
    members: list[Any] = case.members()
    twin: Any = stacked(members)
    x = inputs(30)
    state, states = None, [None] * MEMBERS
    for window in torch.split(x, [1, 12, 17], dim=2):
        output, state = twin.scan(window, state)
        for i, member in enumerate(members):
            expected, states[i] = member.scan(window[i], states[i])
            assert relative(output[i], expected) <= 1e-12
            sliced = tree_map(lambda tensor, i=i: tensor[i], state)
            for actual, own in zip(tree_flatten(sliced)[0], tree_flatten(states[i])[0], strict=True):
                assert relative(actual, own) <= 1e-12


@every_case
def test_parameters_have_a_member_s_names_and_one_more_axis(case: Case) -> None:
    member = case.members()[0]
    twin = cast(Stack, member).stack(4)
    assert {name: tuple(value.shape) for name, value in twin.state_dict().items()} == {
        name: (4, *value.shape) for name, value in member.state_dict().items()
    }


@every_case
def test_stack_takes_over_mode_and_precision(case: Case) -> None:
    member = case.members()[0].eval()
    twin = cast(Stack, member).stack(2)
    assert not twin.training
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.float64}
    with torch.device("meta"):
        assert {p.device.type for p in cast(Stack, case.members()[0]).stack(2).parameters()} == {"meta"}


@every_case
def test_a_member_that_is_not_finite_leaves_the_others_alone(case: Case) -> None:
    members = case.members()
    twin, x = stacked(members), inputs(20)
    with torch.no_grad():
        next(iter(twin.parameters()))[1] = torch.nan
    output = twin(x)
    output.sum().backward()
    assert output[1].isnan().any()
    for i in (0, 2):
        assert relative(output[i], members[i](x[i])) <= 1e-12
        assert all(p.grad is not None and bool(p.grad[i].isfinite().all()) for p in twin.parameters())


@pytest.mark.parametrize("kind", ["channel", "element"])
def test_dropout_of_a_tcn_draws_for_each_member_by_itself(kind: str) -> None:
    """Equal members and inputs: what is dropped differs, at the same rate."""
    case = Case(Tcn(), (64,), {"kernel_size": 1, "levels": 1, "dropout_kind": kind})
    members = case.members(dropout=0.25)
    members = [members[0]] * MEMBERS
    for parameter in members[0].parameters():
        parameter.data.zero_()
    convolutions = [module for module in members[0].modules() if hasattr(module, "g")]
    for convolution in convolutions:
        convolution.v.data.fill_(1.0)  # type: ignore[operator]  # its parameters, as it names them
        convolution.bias.data.fill_(1.0)  # type: ignore[operator]
    x = torch.zeros(MEMBERS, 16, 32, CHANNELS, dtype=torch.float64)
    dropped = stacked(members)(x) == 0  # (members, batch, time, channels)
    assert abs(float(dropped.double().mean()) - 0.25) < 0.05
    assert not torch.equal(dropped[0], dropped[1])
    agreement = float((dropped[0] & dropped[1]).double().mean())
    assert abs(agreement - 0.25**2) < 0.03
    assert torch.equal(dropped.all(dim=2), dropped.any(dim=2)) == (kind == "channel")


@pytest.mark.parametrize("model", [Lstm(), Gru(), Rnn()], ids=lambda model: model.name)
@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_of_a_recurrent_stack_acts_after_each_layer_and_for_each_member(model: Model, layers: int) -> None:
    same = Case(model, (8,) * layers, {"layers": layers}).members(dropout=0.5)[:1] * MEMBERS
    x = inputs(6)[:1].expand(MEMBERS, -1, -1, -1)
    output = stacked(same)(x)
    assert abs(float((output == 0).double().mean()) - 0.5) < 0.1
    assert not torch.equal(output[0] == 0, output[1] == 0)
    whole = stacked(same).eval()(x)
    assert torch.equal(whole[0], whole[1])
    kept = output != 0
    assert torch.allclose(output[kept], 2 * whole[kept]) == (layers == 1)


def test_mean_of_a_member_s_dropout_is_that_of_separate_networks() -> None:
    """4,000 draws of one output: the means of stacked and separate networks agree within five standard errors."""
    case = Case(Tcn(), (6, 6), {"kernel_size": 2, "levels": 2, "dropout_kind": "element"})
    members = case.members(dropout=0.3)
    twin = stacked(members)
    x = inputs(8)[:, :1].expand(-1, 4000, -1, -1).contiguous()
    together = cast(Any, twin).suffix(x, 1)[:, :, 0]  # (members, draws, features)
    for i, member in enumerate(members):
        apart = cast(Any, member).suffix(x[i], 1)[:, 0]
        error = ((together[i].var(0) + apart.var(0)) / 4000).sqrt()
        difference = (together[i].mean(0) - apart.mean(0)).abs()
        assert bool((difference <= 5 * error + 1e-12).all())


def test_benchmark_of_stacks_prints_a_row_for_each_size() -> None:
    if "adding" not in load_plugins().registry.tasks:
        pytest.skip("the task comes with seqharness-tasks")
    script = Path(__file__).parents[3] / "benchmarks" / "stacked.py"
    given = ["rnn", "--members", "1,3", "--seconds", "0.01", "--length", "4", "--device", "cpu", "--json"]
    run = subprocess.run([sys.executable, str(script), *given], capture_output=True, text=True, check=True)
    document = json.loads(run.stdout)
    assert [(row["members"], row["way"]) for row in document["rows"]] == [(1, "alone"), (1, "stacked"), (3, "stacked")]
    assert all(row["updates_per_second"] > 0 for row in document["rows"])
    assert document["environment"]["torch"] == torch.__version__
