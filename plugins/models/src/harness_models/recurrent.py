"""LSTM, GRU and tanh RNN: stacks of PyTorch's one-layer modules, so that layers can differ in width."""

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
"""Most layers in a search; Table 3 of Bai, Kolter & Koltun 2018 has one to three."""
FORGET_BIASES = (0.0, 1.0, 5.0, 10.0)
"""Searched initial biases of the forget gate: those of Table 3, and 0, which adds nothing to the gate."""


class Keywords(Record):
    """Parameters of `build` of GRU and RNN besides the widths."""

    layers: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout after each layer, including the last, as in Zaremba, Sutskever & Vinyals 2014 (arXiv:1409.2329).

    `nn.LSTM` omits it after the last layer, so a single layer would ignore the value that its trial drew.  A TCN draws
    from the same range and applies dropout after each of its convolutions."""


class LstmKeywords(Keywords):
    """Parameters of `Lstm.build` besides the widths."""

    forget_bias: float | None = None
    """Initial bias of the forget gate, the sum of PyTorch's two bias vectors; None: PyTorch's own initialisation."""


class RecurrentBackbone(nn.Module):
    """One-layer recurrent modules on top of each other, with element dropout after each."""

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
        """Return the outputs over x and, for each layer, h or (h, c) after the last step: (batch, hidden)."""
        before = (None,) * len(self.layers) if state is None else state
        after: list[LayerState] = []
        for layer, entry in zip(self.layers, before, strict=True):
            x, end = layer(x, _unpacked(entry))
            x = self.dropout(x)  # only on the outputs: the carried state keeps every value
            after.append(_packed(end))
        return x, tuple(after)

    def stack(self, count: int) -> StackedRecurrent:
        """Return `count` such backbones as one module; see `harness.Stack`."""
        layers = cast(list[nn.RNNBase], list(self.layers))
        widths = tuple(layer.hidden_size for layer in layers)
        stacked = StackedRecurrent(count, layers[0].input_size, widths, type(layers[0]), self.dropout.probability)
        return stacked.to(cast(Tensor, layers[0].weight_ih_l0)).train(self.training)


def _unpacked(state: LayerState | None) -> LayerState | None:
    """Return the state as a one-layer module takes it: h, or (h, c), each (1, batch, hidden)."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else state.unsqueeze(0)
    return state[0].unsqueeze(0), state[1].unsqueeze(0)


def _packed(state: LayerState) -> LayerState:
    return state.squeeze(0) if isinstance(state, Tensor) else (state[0].squeeze(0), state[1].squeeze(0))


class _Recurrent(Model):
    """Base class of the three models."""

    layer: ClassVar[type[nn.RNNBase]]

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:  # the same for every task
        return {"layers": IntDistribution(1, MOST_LAYERS)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> RecurrentBackbone:
        """Return a backbone; the parameters are `layers` and `dropout`."""
        return self._stack(signature, widths, read_params(Keywords, self.name, params))

    def levels(self, **params: Any) -> int:
        return require_param("layers", self.name, params)

    def _stack(self, signature: Signature, widths: tuple[int, ...], keywords: Keywords) -> RecurrentBackbone:
        check_widths(widths, keywords.layers, self.name)
        return RecurrentBackbone(signature.in_features, widths, self._layer, keywords.dropout)

    def _layer(self, in_features: int, width: int) -> nn.RNNBase:
        # The first argument of nn.RNNBase is declared as the name of a kind; its subclasses do not take it.
        return cast(Any, self.layer)(in_features, width, batch_first=True)  # type: ignore[no-any-return]


class Lstm(_Recurrent):
    """The LSTM of Hochreiter & Schmidhuber 1997, with forget gates and without peepholes."""

    name: ClassVar[str] = "lstm"
    layer = nn.LSTM

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {**super().space(signature), "forget_bias": CategoricalDistribution(FORGET_BIASES)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> RecurrentBackbone:
        """Return a backbone; the parameters are `layers`, `dropout` and `forget_bias`."""
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
    """Set the sum of the two biases of the forget gate to `value`; the gates are in the order i, f, g, o."""
    forget = slice(layer.hidden_size, 2 * layer.hidden_size)
    cast(Tensor, layer.bias_ih_l0)[forget].fill_(value)
    cast(Tensor, layer.bias_hh_l0)[forget].zero_()


class Gru(_Recurrent):
    """The GRU of Cho et al. 2014 in PyTorch's form: the reset gate acts on the product with the recurrent weight."""

    name: ClassVar[str] = "gru"
    layer = nn.GRU


class Rnn(_Recurrent):
    """The recurrent network of Elman 1990, with tanh."""

    name: ClassVar[str] = "rnn"
    layer = nn.RNN
