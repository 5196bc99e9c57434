"""Mamba of Gu & Dao 2023, "Linear-Time Sequence Modeling with Selective State Spaces" (arXiv:2312.00752)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness import Model, Record, Signature, check_widths, read_params
from harness_modern.recurrence import linear_recurrence
from harness_modern.sizing import outside, sizes, spread
from harness_modern.stack import MOST_LAYERS, Block, Stack, norm, tail

WINDOW = 4096
"""Most steps computed at once, states excepted (see `CHUNK`)."""
CHUNK = 128
"""Steps whose states exist at the same time; a state has channels x state_size numbers per step."""
SMALLEST_STEP, LARGEST_STEP = 1e-3, 1e-1
"""Range of the initial softplus(bias of Δ), drawn uniformly in the logarithm (section 3.6)."""
CHANNELS_PER_RANK = 16
"""The rank of Δ's projection is the model width over 16, rounded up, as in the released code (state-spaces/mamba)."""

State = tuple[Tensor, Tensor]
"""The last kernel_size - 1 inputs of the convolution, (batch, kernel_size - 1, channels), and h, (batch, channels,
state_size)."""


class Keywords(Record):
    """Parameters of `Mamba.build` besides the widths."""

    layers: int = Field(ge=1)
    state_size: int = Field(default=16, ge=1)
    expansion: int = Field(default=2, ge=1)
    """Channels of the state space per channel of the model width."""
    kernel_size: int = Field(default=4, ge=1)
    """Kernel size of the convolution before the state space."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on what each layer adds to the stream; the paper has none."""


class SelectiveStateSpace(nn.Module):
    """S6 (Algorithm 2).  For each channel, with B, C and Δ functions of the step's input,

        h[t] = exp(Δ[t] A) h[t - 1] + Δ[t] B[t] u[t],  y[t] = C[t] · h[t] + D u[t].

    A starts at -1, -2, …, -state_size (S4D-Real, section 3.6).  It stays negative, as -exp of the learned values.
    """

    def __init__(self, channels: int, *, state_size: int, rank: int) -> None:
        super().__init__()
        self.sizes = (rank, state_size, state_size)
        self.select = nn.Linear(channels, sum(self.sizes), bias=False)  # Δ's low-rank part, B, C
        self.step = nn.Linear(rank, channels)
        self.log_decay = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))  # D
        self._reset_step(rank)

    @torch.no_grad()
    def _reset_step(self, rank: int) -> None:
        """Draw the projection to Δ uniformly in ±1/√rank, and its bias so that softplus(bias) is a step size."""
        self.step.weight.uniform_(-(rank**-0.5), rank**-0.5)
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        sizes = torch.exp(low + (high - low) * torch.rand_like(self.step.bias))
        self.step.bias.copy_(sizes + torch.log(-torch.expm1(-sizes)))  # the inverse of softplus

    def forward(self, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """(batch, time, channels) and h before it → the same shape and h after it, (batch, channels, state_size)."""
        low_rank, b, c = self.select(u).split(self.sizes, dim=-1)
        delta = F.softplus(self.step(low_rank))
        decay = -self.log_decay.exp()
        h = u.new_zeros(len(u), *decay.shape) if state is None else state
        outputs = []
        for parts in zip(*(part.split(CHUNK, dim=1) for part in (u, delta, b, c)), strict=True):
            y, h = _recomputed(*parts, decay, h)
            outputs.append(y)
        return torch.cat(outputs, dim=1) + self.skip * u, h


def _recomputed(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Compute `selective_scan`; the backward pass computes its states again instead of storing them (section 3.3.2).

    There are state_size times as many states as inputs.
    """
    if not torch.is_grad_enabled():
        return selective_scan(*inputs)
    # The scan draws no random numbers, so there is no random state to keep.
    result = checkpoint(selective_scan, *inputs, use_reentrant=False, preserve_rng_state=False)
    return cast(tuple[Tensor, Tensor], result)


def selective_scan(
    u: Tensor, delta: Tensor, b: Tensor, c: Tensor, decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Return y without D u, and h after the last step.

    u, delta: (batch, time, channels).  b, c: (batch, time, state_size).  decay: A, (channels, state_size).
    """
    shrink = torch.exp(delta.unsqueeze(-1) * decay)  # (batch, time, channels, state_size)
    drive = (delta * u).unsqueeze(-1) * b.unsqueeze(2)
    states = linear_recurrence(shrink, drive, state)
    return torch.einsum("btcn,btn->btc", states, c), tail(states, 1).squeeze(1)


class MambaBlock(Block):
    """x + W(S6(silu(conv(V n))) · silu(G n)), n = norm(x) (section 3.4, Figure 3)."""

    def __init__(self, model: int, channels: int, *, state_size: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.history = kernel_size - 1
        self.norm = norm(model)
        self.inner = nn.Linear(model, channels, bias=False)
        self.gate = nn.Linear(model, channels, bias=False)
        self.convolution = nn.Conv1d(channels, channels, kernel_size, groups=channels)
        self.space = SelectiveStateSpace(channels, state_size=state_size, rank=step_rank(model))
        self.output = nn.Linear(channels, model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: State | None, steps: int, keep: bool) -> tuple[Tensor, State | None]:
        normed = self.norm(x)
        inner = self.inner(normed)
        past = inner.new_zeros(len(inner), self.history, inner.shape[2]) if state is None else state[0]
        joined = torch.cat((past, inner), dim=1)
        convolved = F.silu(self.convolution(joined.transpose(1, 2)).transpose(1, 2))
        y, h = self.space(convolved, None if state is None else state[1])
        gated = y[:, -steps:] * F.silu(self.gate(normed[:, -steps:]))
        return x[:, -steps:] + self.dropout(self.output(gated)), (tail(joined, self.history), h) if keep else None


def step_rank(model: int) -> int:
    """Return the rank of Δ's projection for a model width."""
    return -(-model // CHANNELS_PER_RANK)


class Mamba(Model):
    """Layers of a gate, a convolution and a selective state space; the width counts channels of the state space."""

    name: ClassVar[str] = "mamba"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:  # the same for every task
        return {
            "layers": IntDistribution(1, MOST_LAYERS),
            "state_size": CategoricalDistribution((8, 16, 32)),
            "expansion": CategoricalDistribution((1, 2)),
        }

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> Stack:
        """Return a backbone; the parameters are `layers`, `state_size`, `expansion`, `kernel_size` and `dropout`."""
        keywords = read_params(Keywords, self.name, params)
        check_widths(widths, 1, self.name)
        layers, expansion = keywords.layers, keywords.expansion
        size, kernel = keywords.state_size, keywords.kernel_size

        def count(model: int, further: int) -> int:
            channels = layers * expansion * model + further  # of all layers together
            per_channel = 3 * model + kernel + 2 * step_rank(model) + 3 * size + 3
            return channels * per_channel + model * (layers + 1 + outside(signature))

        model, further = sizes(widths[0], signature, count)
        block = partial(MambaBlock, model, state_size=size, kernel_size=kernel, dropout=keywords.dropout)
        blocks = [block(expansion * model + more) for more in spread(further, layers)]
        return Stack(signature.in_features, model, blocks, window=WINDOW)
