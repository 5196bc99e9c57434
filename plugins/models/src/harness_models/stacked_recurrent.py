"""LSTMs, GRUs or tanh RNNs of one shape as one: every weight with one more axis in front, every product batched.

A GPU's own recurrent kernels take one set of weights, so time is a loop here: it pays where many small networks share
each of its steps.
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
    """A one-layer recurrent module of each member, under the names that PyTorch gives its weights.

    Subclasses say how many gates a cell has, how many tensors its state, and what one step does.
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
        """The state after a step: `drive` of its input and `recurrent` of h, each (members, batch, gates · hidden)."""
        raise NotImplementedError


class StackedLstm(StackedLayer):
    """Gates in the order i, f, g, o."""

    gates, states = 4, 2

    def step(self, drive: Tensor, recurrent: Tensor, state: State) -> State:
        i, f, g, o = (drive + recurrent).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class StackedGru(StackedLayer):
    """Gates in the order r, z, n; the reset gate acts on the product with the recurrent weight."""

    gates, states = 3, 1

    def step(self, drive: Tensor, recurrent: Tensor, state: State) -> State:
        size = 2 * self.hidden
        r, z = torch.sigmoid(drive[..., :size] + recurrent[..., :size]).chunk(2, dim=-1)
        n = torch.tanh(drive[..., size:] + r * recurrent[..., size:])
        return (torch.lerp(n, state[0], z),)


class StackedRnn(StackedLayer):
    """tanh."""

    gates, states = 1, 1

    def step(self, drive: Tensor, recurrent: Tensor, state: State) -> State:  # its next state is all it has
        return (torch.tanh(drive + recurrent),)


KINDS: dict[type[nn.Module], Callable[[int, int, int], StackedLayer]] = {
    nn.LSTM: StackedLstm,
    nn.GRU: StackedGru,
    nn.RNN: StackedRnn,
}


class StackedRecurrent(nn.Module):
    """Recurrent backbones of one shape as one; see `harness.Stack`."""

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
        """Outputs over x and, for each layer, h or (h, c) after its last step: (members, batch, hidden).

        The entries are Any as `RecurrentBackbone.scan` has them: a tensor, or a pair.
        """
        before = (None,) * len(self.layers) if state is None else state
        after: list[Any] = []
        for layer, entry in zip(self.layers, before, strict=True):
            given = (entry,) if isinstance(entry, Tensor) else entry
            x, end = cast(StackedLayer, layer)(x, given)
            x = self.dropout(x)
            after.append(end if len(end) > 1 else end[0])
        return x, tuple(after)
