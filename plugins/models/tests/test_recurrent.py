"""LSTM, GRU and RNN against PyTorch's own stacks and their equations."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from optuna.distributions import CategoricalDistribution, IntDistribution
from torch import nn

from harness import Model, Real, Scan, Signature, Suffix
from harness.errors import SpaceError
from harness_models.recurrent import Gru, Lstm, RecurrentBackbone, Rnn

SIGNATURE = Signature(input=Real(3), output=Real(1), length=20, readout="each")
KINDS: list[tuple[Model, type[nn.RNNBase]]] = [(Lstm(), nn.LSTM), (Gru(), nn.GRU), (Rnn(), nn.RNN)]
every_kind = pytest.mark.parametrize(("model", "kind"), KINDS, ids=["lstm", "gru", "rnn"])


def _layers(backbone: nn.Module) -> list[nn.RNNBase]:
    return [cast(nn.RNNBase, layer) for layer in cast(RecurrentBackbone, backbone).layers]


@every_kind
def test_stack_equals_the_stack_of_pytorch(model: Model, kind: type[nn.RNNBase]) -> None:
    backbone = model.build(SIGNATURE, (6, 6, 6), layers=3).double().eval()
    whole = cast(Any, kind)(3, 6, num_layers=3, batch_first=True).double()
    for index, layer in enumerate(_layers(backbone)):
        for name, parameter in layer.named_parameters():
            getattr(whole, name.replace("l0", f"l{index}")).data.copy_(parameter.data)
    x = torch.randn(2, 11, 3, dtype=torch.float64)
    torch.testing.assert_close(backbone(x), whole(x)[0], rtol=1e-12, atol=1e-12)


def test_rnn_follows_its_equation() -> None:
    backbone = Rnn().build(SIGNATURE, (4,), layers=1).double()
    (layer,) = _layers(backbone)
    weights = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    h = torch.zeros(1, 4, dtype=torch.float64)
    for t in range(5):
        h = torch.tanh(
            x[:, t] @ weights["weight_ih_l0"].T
            + weights["bias_ih_l0"]
            + h @ weights["weight_hh_l0"].T
            + weights["bias_hh_l0"]
        )
    torch.testing.assert_close(backbone(x)[:, -1], h, rtol=1e-12, atol=1e-12)


def test_lstm_with_large_forget_bias_keeps_its_cell() -> None:
    """With silent input and recurrent weights, c decays by sigmoid(forget_bias) a step: the gate is the right one."""
    backbone = Lstm().build(SIGNATURE, (4,), layers=1, forget_bias=1.0).double()
    (layer,) = _layers(backbone)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("weight"):
                parameter.zero_()
        for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
            cast(torch.Tensor, bias)[8:12] = 0  # the candidate: nothing new is written
    cell = torch.ones(1, 4, dtype=torch.float64)
    state = ((torch.zeros(1, 4, dtype=torch.float64), cell),)
    _, ((_, after),) = backbone.scan(torch.zeros(1, 3, 3, dtype=torch.float64), state)
    expected = torch.sigmoid(torch.tensor(1.0, dtype=torch.float64)) ** 3
    torch.testing.assert_close(after, expected.expand(1, 4), rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, 5.0, 10.0])
def test_forget_bias_is_the_sum_of_both_vectors_in_every_layer(value: float) -> None:
    for layer in _layers(Lstm().build(SIGNATURE, (5, 7), layers=2, forget_bias=value)):
        hidden = layer.hidden_size
        total = cast(torch.Tensor, layer.bias_ih_l0) + cast(torch.Tensor, layer.bias_hh_l0)
        assert (total[hidden : 2 * hidden] == value).all()
        assert (total[:hidden] != value).all()
        assert (total[2 * hidden :] != value).all()


def test_forget_bias_none_is_the_initialisation_of_pytorch() -> None:
    torch.manual_seed(0)
    (ours,) = _layers(Lstm().build(SIGNATURE, (5,), layers=1, forget_bias=None))
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 5, batch_first=True)
    for name, parameter in theirs.named_parameters():
        assert torch.equal(ours.get_parameter(name), parameter)


@every_kind
def test_dropout_acts_after_each_layer_and_not_on_the_input(model: Model, kind: type[nn.RNNBase]) -> None:
    x = torch.randn(2, 8, 3)
    double = model.build(SIGNATURE, (40, 60), layers=2, dropout=0.5).train()
    given: list[torch.Tensor] = []
    for layer in _layers(double):
        layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    y = double(x)
    assert torch.equal(given[0], x)
    for dropped in (given[1], y):
        assert 0.4 < float((dropped == 0).double().mean()) < 0.6


@every_kind
@pytest.mark.parametrize("stacked", [False, True], ids=["alone", "stacked"])
def test_dropout_of_one_layer_acts_on_its_output_in_training_alone(
    model: Model, kind: type[nn.RNNBase], stacked: bool
) -> None:
    backbone: nn.Module = model.build(SIGNATURE, (50,), layers=1, dropout=0.25)
    x = torch.randn(4, 20, 3)
    if stacked:
        weights = backbone.state_dict()
        backbone = cast(Any, backbone).stack(2)
        backbone.load_state_dict({name: torch.stack([value, value]) for name, value in weights.items()})
        x = x.expand(2, *x.shape)
    with torch.no_grad():
        whole, dropped = backbone.eval()(x), backbone.train()(x)
        assert torch.equal(backbone.eval()(x), whole)
    kept = dropped != 0
    assert 0.7 < float(kept.double().mean()) < 0.8
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75, rtol=1e-4, atol=1e-6)


@every_kind
def test_dropout_leaves_the_carried_state_whole(model: Model, kind: type[nn.RNNBase]) -> None:
    backbone = model.build(SIGNATURE, (50,), layers=1, dropout=0.5)
    x = torch.randn(2, 8, 3)
    with torch.no_grad():
        (trained,), (evaluated,) = (cast(Scan, backbone.train(mode)).scan(x)[1] for mode in (True, False))
    for first, second in zip(
        *(state if isinstance(state, tuple) else (state,) for state in (trained, evaluated)), strict=True
    ):
        assert torch.equal(first, second)


@every_kind
def test_state_is_batch_first_without_the_layer_axis(model: Model, kind: type[nn.RNNBase]) -> None:
    backbone = cast(Scan, model.build(SIGNATURE, (6, 4), layers=2))
    _, state = backbone.scan(torch.randn(5, 7, 3))
    parts = [entry if isinstance(entry, tuple) else (entry,) for entry in state]
    assert [[tuple(part.shape) for part in entry] for entry in parts] == [
        [(5, width)] * (2 if kind is nn.LSTM else 1) for width in (6, 4)
    ]


@every_kind
def test_backbone_states_no_bound_on_its_past(model: Model, kind: type[nn.RNNBase]) -> None:
    backbone = model.build(SIGNATURE, (6, 4), layers=2)
    assert backbone.receptive_field is None
    assert backbone.out_features == 4
    assert not isinstance(backbone, Suffix)


@every_kind
def test_space_is_one_to_three_layers(model: Model, kind: type[nn.RNNBase]) -> None:
    assert model.space(SIGNATURE)["layers"] == IntDistribution(1, 3)
    assert model.levels(layers=2, dropout=0.1) == 2


def test_only_the_lstm_searches_a_forget_bias() -> None:
    assert Lstm().space(SIGNATURE)["forget_bias"] == CategoricalDistribution((0.0, 1.0, 5.0, 10.0))
    assert set(Gru().space(SIGNATURE)) == set(Rnn().space(SIGNATURE)) == {"layers"}


def test_unknown_keyword_is_named_with_the_known_ones() -> None:
    with pytest.raises(SpaceError, match="model 'gru' has no parameter 'forget_bias'; Parameters: layers, dropout"):
        Gru().build(SIGNATURE, (4,), layers=1, forget_bias=1.0)
    with pytest.raises(SpaceError, match="model 'lstm' has no parameter 'layer'; did you mean 'layers'\\?"):
        Lstm().build(SIGNATURE, (4,), layer=1)


@every_kind
def test_widths_must_match_the_layers(model: Model, kind: type[nn.RNNBase]) -> None:
    with pytest.raises(SpaceError, match=f"model '{model.name}' takes 2 widths >= 1 at 2 levels, got \\(4,\\)"):
        model.build(SIGNATURE, (4,), layers=2)
