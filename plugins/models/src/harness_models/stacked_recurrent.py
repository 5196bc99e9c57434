"""Several LSTMs, GRUs or tanh RNNs of one shape as one module.

Every weight has one more axis in front, and every product is batched.  The recurrent kernels of a GPU take one set of
weights, so this module loops over time; that pays if many small networks share each step.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""(h,), or (h, c): each (members, batch, hidden)."""


class StackedLayer(nn.Module):
    """A one-layer recurrent module for each member; the weights have PyTorch's names.

    Subclasses state the number of gates of a cell, the number of tensors of its state, and what one step does.
    """

    gates: int
    states: int

    def __init__(self, members: int, in_features: int, hidden: int) -> None:
        super().__init__()
        rows = self.gates * hidden
        self.hidden = hidden
        self.weight_ih_l0 = nn.Parameter(torch.empty(members, rows, in_features))
        self.weight_hh_l0 = nn.Parameter(torch.empty(members, rows, hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(members, rows))
        self.bias_hh_l0 = nn.Parameter(torch.empty(members, rows))

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """(members, batch, time, in) → (members, batch, time, hidden) and the state after the last step."""
        members, batch, time, _ = x.shape
        steps = x.transpose(1, 2).flatten(1, 2)  # (members, time · batch, in)
        driven = torch.baddbmm(self.bias_ih_l0[:, None], steps, self.weight_ih_l0.mT)
        recurrent, bias = self.weight_hh_l0.mT, self.bias_hh_l0[:, None]
        state = state or (driven.new_zeros(members, batch, self.hidden),) * self.states
        outputs: list[Tensor] = []
        for drive in driven.view(members, time, batch, -1).unbind(1):  # (members, batch, gates · hidden)
            state = self.step(drive, torch.baddbmm(bias, state[0], recurrent), state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=2), state

    def step(self, drive: Tensor, recurrent: Tensor, state: State) -> State:
        """Return the state after a step.

        drive: the part from the input.  recurrent: the part from h.  Each is (members, batch, gates · hidden).
        """
        raise NotImplementedError


class StackedLstm(StackedLayer):
    """An LSTM layer for each member; the gates are in the order i, f, g, o."""

    gates, states = 4, 2

    def step(self, drive: Tensor, recurrent: Tensor, state: State) -> State:
        i, f, g, o = (drive + recurrent).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class StackedGru(StackedLayer):
    """A GRU layer for each member; the gates are r, z, n, and r acts on the product with the recurrent weight."""

    gates, states = 3, 1

    def step(self, drive: Tensor, recurrent: Tensor, state: State) -> State:
        size = 2 * self.hidden
        r, z = torch.sigmoid(drive[..., :size] + recurrent[..., :size]).chunk(2, dim=-1)
        n = torch.tanh(drive[..., size:] + r * recurrent[..., size:])
        return (torch.lerp(n, state[0], z),)


class StackedRnn(StackedLayer):
    """A tanh layer for each member."""

    gates, states = 1, 1

    def step(self, drive: Tensor, recurrent: Tensor, state: State) -> State:
        return (torch.tanh(drive + recurrent),)


KINDS: dict[type[nn.Module], Callable[[int, int, int], StackedLayer]] = {
    nn.LSTM: StackedLstm,
    nn.GRU: StackedGru,
    nn.RNN: StackedRnn,
}


class StackedRecurrent(nn.Module):
    """Recurrent backbones of one shape as one module; see `harness.Stack`."""

    def __init__(
        self, members: int, in_features: int, widths: tuple[int, ...], kind: type[nn.Module], dropout: float
    ) -> None:
        super().__init__()
        self.out_features = widths[-1]
        self.layers = nn.ModuleList(
            KINDS[kind](members, before, after) for before, after in pairwise((in_features, *widths))
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(members, batch, time, in_features) → (members, batch, time, out_features)."""
        return self.scan(x)[0]

    def scan(self, x: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Return the outputs over x and, for each layer, h or (h, c) after the last step: (members, batch, hidden).

        The state of a layer is a tensor or a pair, as in `RecurrentBackbone.scan`, hence Any.
        """
        before = (None,) * len(self.layers) if state is None else state
        after: list[Any] = []
        for layer, start in zip(self.layers, before, strict=True):
            x, end = cast(StackedLayer, layer)(x, (start,) if isinstance(start, Tensor) else start)
            x = self.dropout(x)
            after.append(end if len(end) > 1 else end[0])
        return x, tuple(after)
