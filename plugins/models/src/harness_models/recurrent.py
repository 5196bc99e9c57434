"""LSTM, GRU and tanh RNN: stacks of PyTorch's one-layer modules, so that layers may differ in width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from pydantic import Field
from torch import Tensor, nn

from harness import Model, Published, Record, Signature, check_widths, read_params, require_param
from harness_models import published
from harness_models.dropout import Dropout
from harness_models.stacked_recurrent import StackedRecurrent

LayerState = Tensor | tuple[Tensor, Tensor]
"""h, or (h, c): each (batch, hidden)."""

MOST_LAYERS = 3
"""Bai, Kolter & Koltun 2018, Table 3 has one to three."""
FORGET_BIASES = (0.0, 1.0, 5.0, 10.0)
"""Those of Table 3, and 0, which adds nothing to the gate."""


class Keywords(Record):
    """What `build` of GRU and RNN takes beside the widths."""

    layers: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """After each layer, the last one included, as in Zaremba, Sutskever & Vinyals 2014 (arXiv:1409.2329).

    `nn.LSTM` leaves the last layer out, so one layer alone would ignore a value that its trial drew from the same range
    as a TCN's, which acts after each of its convolutions."""


class LstmKeywords(Keywords):
    """What `Lstm.build` takes beside the widths."""

    forget_bias: float | None = None
    """Initial bias of the forget gate, the sum of PyTorch's two bias vectors; None: PyTorch's own initialisation."""


class RecurrentBackbone(nn.Module):
    """One-layer recurrent modules on top of each other, element dropout after each."""

    receptive_field: None = None

    def __init__(
        self,
        in_features: int,
        widths: tuple[int, ...],
        layer: Callable[[int, int], nn.RNNBase],
        dropout: float,
    ) -> None:
        super().__init__()
        self.out_features = widths[-1]
        sizes = (in_features, *widths)
        self.layers = nn.ModuleList(layer(before, after) for before, after in zip(sizes, widths, strict=False))
        self.dropout = Dropout(dropout, "element")

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, in_features) → (batch, time, out_features)."""
        return self.scan(x)[0]

    def scan(self, x: Tensor, state: tuple[LayerState, ...] | None = None) -> tuple[Tensor, tuple[LayerState, ...]]:
        """Outputs over x and, for each layer, h or (h, c) after its last step: (batch, hidden)."""
        before = (None,) * len(self.layers) if state is None else state
        after: list[LayerState] = []
        for layer, entry in zip(self.layers, before, strict=True):
            x, end = layer(x, _unpacked(entry))
            x = self.dropout(x)  # of the outputs alone: the state that is carried keeps all of them
            after.append(_packed(end))
        return x, tuple(after)

    def stack(self, count: int) -> StackedRecurrent:
        """`count` such backbones as one; see `harness.Stack`."""
        layers = cast(list[nn.RNNBase], list(self.layers))
        widths = tuple(layer.hidden_size for layer in layers)
        stacked = StackedRecurrent(count, layers[0].input_size, widths, type(layers[0]), self.dropout.probability)
        return stacked.to(cast(Tensor, layers[0].weight_ih_l0)).train(self.training)


def _unpacked(state: LayerState | None) -> LayerState | None:
    """What a one-layer module takes: h, or (h, c), each (1, batch, hidden)."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else state.unsqueeze(0)
    return state[0].unsqueeze(0), state[1].unsqueeze(0)


def _packed(state: LayerState) -> LayerState:
    return state.squeeze(0) if isinstance(state, Tensor) else (state[0].squeeze(0), state[1].squeeze(0))


class _Recurrent(Model):
    """What the three models share."""

    layer: ClassVar[type[nn.RNNBase]]

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:  # the same for every task
        return {"layers": IntDistribution(1, MOST_LAYERS)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> RecurrentBackbone:
        """Takes `layers` and `dropout`."""
        return self._stack(signature, widths, read_params(Keywords, self.name, params))

    def levels(self, **params: Any) -> int:
        return require_param("layers", self.name, params)

    def _stack(self, signature: Signature, widths: tuple[int, ...], keywords: Keywords) -> RecurrentBackbone:
        check_widths(widths, keywords.layers, self.name)
        return RecurrentBackbone(signature.in_features, widths, self._layer, keywords.dropout)

    def _layer(self, in_features: int, width: int) -> nn.RNNBase:
        # nn.RNNBase declares its first argument as the name of a kind, which its subclasses do not take.
        return cast(Any, self.layer)(in_features, width, batch_first=True)  # type: ignore[no-any-return]


class Lstm(_Recurrent):
    """Hochreiter & Schmidhuber 1997, with forget gates; no peepholes."""

    name: ClassVar[str] = "lstm"
    layer = nn.LSTM

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {**super().space(signature), "forget_bias": CategoricalDistribution(FORGET_BIASES)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> RecurrentBackbone:
        """Takes `layers`, `dropout` and `forget_bias`."""
        keywords = read_params(LstmKeywords, self.name, params)
        backbone = self._stack(signature, widths, keywords)
        if keywords.forget_bias is not None:
            for layer in backbone.layers:
                set_forget_bias(cast(nn.LSTM, layer), keywords.forget_bias)
        return backbone

    def published(self, row: str) -> Published | None:
        return published.LSTM.get(row)


@torch.no_grad()
def set_forget_bias(layer: nn.LSTM, value: float) -> None:
    """Make the sum of the two biases of the forget gate `value`; the gates lie in the order i, f, g, o."""
    forget = slice(layer.hidden_size, 2 * layer.hidden_size)
    cast(Tensor, layer.bias_ih_l0)[forget].fill_(value)
    cast(Tensor, layer.bias_hh_l0)[forget].zero_()


class Gru(_Recurrent):
    """Cho et al. 2014, in PyTorch's form: the reset gate acts on the product with the recurrent weight."""

    name: ClassVar[str] = "gru"
    layer = nn.GRU


class Rnn(_Recurrent):
    """Elman 1990, tanh."""

    name: ClassVar[str] = "rnn"
    layer = nn.RNN
