"""Several TCNs of one shape as one module.

Every weight has one more axis in front, and every convolution is grouped.  Inside, the channels of the members are
concatenated in PyTorch's layout, (batch, members · channels, time), which the libraries of a GPU
are made for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness_models.dropout import Kind
from harness_models.pyramid import LevelPlan, plan


class StackedConvolution(nn.Module):
    """A `Convolution` for each member.  v: (members, out, in, k).  g: (members, out, 1, 1).  bias: (members, out)."""

    def __init__(self, members: int, in_features: int, out_features: int, kernel_size: int) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.empty(members, out_features, in_features, kernel_size))
        self.g = nn.Parameter(torch.empty(members, out_features, 1, 1))
        self.bias = nn.Parameter(torch.empty(members, out_features))

    def forward(self, x: Tensor, dilation: int, stride: int) -> Tensor:
        """(batch, members · in, time) → (batch, members · out, (time - (k - 1) · dilation - 1) // stride + 1)."""
        weight = torch._weight_norm(self.v.flatten(0, 1), self.g.flatten(0, 1), 0)  # (members · out, in, k)
        bias = self.bias.flatten()
        return F.conv1d(x, weight, bias, stride=stride, dilation=dilation, groups=len(self.v))


class StackedSkip(nn.Module):
    """A 1x1 convolution for each member.  weight: (members, out, in).  bias: (members, out)."""

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(members, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, members · in, time) → (batch, members · out, time)."""
        return F.conv1d(x, self.weight.flatten(0, 1).unsqueeze(2), self.bias.flatten(), groups=len(self.weight))


class StackedBlock(nn.Module):
    """A `ResidualBlock` for each member."""

    def __init__(self, members: int, before: int, after: int, kernel_size: int, dropout: float, kind: Kind) -> None:
        super().__init__()
        self.first = StackedConvolution(members, before, after, kernel_size)
        self.second = StackedConvolution(members, after, after, kernel_size)
        self.skip = nn.Identity() if before == after else StackedSkip(members, before, after)
        self.dropout = nn.Dropout1d(dropout) if kind == "channel" else nn.Dropout(dropout)

    def forward(self, x: Tensor, level: LevelPlan) -> Tensor:
        """(batch, members · in, level.inputs) → (batch, members · out, level.outputs)."""
        middle = self._stage(self.first, F.pad(x, (level.pad_inputs, 0)), level.dilation, 1)
        hidden = self._stage(self.second, F.pad(middle, (level.pad_middles, 0)), level.dilation, level.stride)
        return F.relu(hidden + self.skip(x[..., level.first_skip :: level.stride]))

    def scan(self, x: Tensor, dilation: int, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return outputs over x, and the next `first` and `second`: the last (k - 1) · dilation inputs of each
        convolution."""
        joined = torch.cat((first, x), dim=-1)
        middle = self._stage(self.first, joined, dilation, 1)
        middles = torch.cat((second, middle), dim=-1)
        hidden = self._stage(self.second, middles, dilation, 1)
        return F.relu(hidden + self.skip(x)), _end(joined, first.shape[-1]), _end(middles, second.shape[-1])

    def _stage(self, convolution: nn.Module, x: Tensor, dilation: int, stride: int) -> Tensor:
        return cast(Tensor, self.dropout(F.relu(convolution(x, dilation, stride))))


class StackedTcn(nn.Module):
    """TCNs of one shape as one module; see `harness.Stack`."""

    def __init__(
        self, members: int, in_features: int, widths: tuple[int, ...], kernel_size: int, dropout: float, kind: Kind
    ) -> None:
        super().__init__()
        self.out_features = widths[-1]
        self.kernel_size = kernel_size
        self.blocks = nn.ModuleList(
            StackedBlock(members, before, after, kernel_size, dropout, kind)
            for before, after in pairwise((in_features, *widths))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(members, batch, time, in_features) → (members, batch, time, out_features)."""
        return self.suffix(x, x.shape[2])

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        """Return forward(x)[:, :, -steps:]; compute only the positions that these outputs read."""
        time = x.shape[2]
        levels = plan(time, steps, self.kernel_size, len(self.blocks))
        hidden = _concatenated(x[:, :, time - levels[0].inputs :])
        for block, level in zip(self.blocks, levels, strict=True):
            hidden = block(hidden, level)
        return _separated(hidden, len(x))

    def scan(self, x: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the outputs over x and, two per level i, the last inputs of each convolution:
        (members, batch, (k - 1) · 2**i, channels)."""
        before = self._initial_state(x) if state is None else tuple(map(_concatenated, state))
        hidden, after = _concatenated(x), list[Tensor]()
        for level, block in enumerate(self.blocks):
            first, second = before[2 * level : 2 * level + 2]
            hidden, first, second = cast(StackedBlock, block).scan(hidden, 1 << level, first, second)
            after += [first, second]
        return _separated(hidden, len(x)), tuple(_separated(end, len(x)).contiguous() for end in after)

    def _initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the state before a sequence, channels concatenated: zeros at the inputs of the convolutions."""
        members, batch = x.shape[:2]
        convolutions = [c for block in self.blocks for c in (block.first, block.second)]
        return tuple(
            x.new_zeros(batch, members * cast(StackedConvolution, c).v.shape[2], (self.kernel_size - 1) << (i // 2))
            for i, c in enumerate(convolutions)
        )


def _end(x: Tensor, steps: int) -> Tensor:
    """Return a copy of the last `steps` of x, (batch, channels, time): a view would keep the window in memory."""
    return x[..., x.shape[-1] - steps :].clone(memory_format=torch.contiguous_format)


def _concatenated(x: Tensor) -> Tensor:
    """(members, batch, time, channels) → (batch, members · channels, time)."""
    return x.permute(1, 0, 3, 2).flatten(1, 2)


def _separated(x: Tensor, members: int) -> Tensor:
    """(batch, members · channels, time) → (members, batch, time, channels)."""
    return x.view(x.shape[0], members, x.shape[1] // members, x.shape[2]).permute(1, 0, 3, 2)
