"""The temporal convolutional network of Bai, Kolter & Koltun 2018, section 3 (arXiv:1803.01271)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution, IntDistribution
from pydantic import Field
from torch import Tensor, nn

from harness import Model, Published, Record, Signature, check_widths, read_params, require_param
from harness_models import published
from harness_models.convolution import NORMAL_STD, Convolution, Init
from harness_models.dropout import Dropout, Kind
from harness_models.pyramid import LevelPlan, plan
from harness_models.stacked_tcn import StackedTcn

SMALLEST_KERNEL, LARGEST_KERNEL = 2, 8
"""The kernel sizes of the paper: Table 2 and the ablation of Figure 6."""
FEWEST_LEVELS_OF_UNKNOWN, MOST_LEVELS_OF_UNKNOWN = 2, 6
"""Depths searched if the dependency is unknown; the paper takes 2 to 5 on music and language."""


def receptive_field(kernel_size: int, levels: int) -> int:
    """Return 1 + 2(k - 1)(2**levels - 1) input steps, including the present one; a level has two convolutions."""
    return 1 + 2 * (kernel_size - 1) * ((1 << levels) - 1)


def fewest_levels(kernel_size: int, steps: int) -> int:
    """Return the smallest depth >= 1 whose receptive field covers `steps`; kernel_size >= 2."""
    levels = 1
    while receptive_field(kernel_size, levels) < steps:
        levels += 1
    return levels


class Keywords(Record):
    """Parameters of `Tcn.build` besides the widths."""

    kernel_size: int = Field(ge=1)
    levels: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    dropout_kind: Kind = "channel"
    """channel: as in the paper.  element: as in the released code since 2018-04-16."""
    init: Init = "default"


class ResidualBlock(nn.Module):
    """relu(x + F(x)), F twice [convolution, relu, dropout]; x passes a 1x1 convolution if the widths differ."""

    def __init__(self, in_features: int, out_features: int, keywords: Keywords) -> None:
        super().__init__()
        self.first = Convolution(in_features, out_features, keywords.kernel_size, keywords.init)
        self.second = Convolution(out_features, out_features, keywords.kernel_size, keywords.init)
        self.dropout = Dropout(keywords.dropout, keywords.dropout_kind)
        self.skip: nn.Module = nn.Identity()
        if in_features != out_features:
            self.skip = nn.Linear(in_features, out_features)
            nn.init.normal_(self.skip.weight, 0, NORMAL_STD)

    def forward(self, x: Tensor, level: LevelPlan) -> Tensor:
        """(batch, level.inputs, in) → (batch, level.outputs, out)."""
        middle = self._stage(self.first, _pad(x, level.pad_inputs), level.dilation, 1)
        hidden = self._stage(self.second, _pad(middle, level.pad_middles), level.dilation, level.stride)
        return F.relu(hidden + self.skip(x[:, level.first_skip :: level.stride]))

    def scan(self, x: Tensor, dilation: int, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs over x, (batch, time, in), and the next `first` and `second`.

        These are the last inputs of each convolution: (batch, (k - 1) · dilation, channels).
        """
        joined = torch.cat((first, x), dim=1)
        middle = self._stage(self.first, joined, dilation, 1)
        middles = torch.cat((second, middle), dim=1)
        hidden = self._stage(self.second, middles, dilation, 1)
        return F.relu(hidden + self.skip(x)), _end(joined, first.shape[1]), _end(middles, second.shape[1])

    def _stage(self, convolution: Convolution, x: Tensor, dilation: int, stride: int) -> Tensor:
        return cast(Tensor, self.dropout(F.relu(convolution(x, dilation, stride))))


def _pad(x: Tensor, steps: int) -> Tensor:
    """Return x, (batch, time, channels), with `steps` zeros before it."""
    return F.pad(x, (0, 0, steps, 0)) if steps else x


def _end(x: Tensor, steps: int) -> Tensor:
    """Return a copy of the last `steps` of x, (batch, time, channels): a view would keep the whole window in memory,
    and a checkpoint would store it."""
    return x[:, x.shape[1] - steps :].clone(memory_format=torch.contiguous_format)


class TcnBackbone(nn.Module):
    """Residual blocks with dilation 2**i at level i."""

    def __init__(self, in_features: int, widths: tuple[int, ...], keywords: Keywords) -> None:
        super().__init__()
        self.kernel_size = keywords.kernel_size
        self.out_features = widths[-1]
        self.receptive_field = receptive_field(keywords.kernel_size, len(widths))
        sizes = (in_features, *widths)
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, keywords) for before, after in zip(sizes, widths, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, in_features) → (batch, time, out_features)."""
        return self.suffix(x, x.shape[1])

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        """Return forward(x)[:, -steps:]; compute only the positions that these outputs read."""
        levels = plan(x.shape[1], steps, self.kernel_size, len(self.blocks))
        hidden = x[:, x.shape[1] - levels[0].inputs :]
        for block, level in zip(self.blocks, levels, strict=True):
            hidden = block(hidden, level)
        return hidden

    def scan(self, x: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the outputs over x and, two per level i, the last inputs of each convolution:
        (batch, (k - 1) · 2**i, channels)."""
        before = self._initial_state(x) if state is None else state
        after: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            first, second = before[2 * level : 2 * level + 2]
            x, first, second = cast(ResidualBlock, block).scan(x, 1 << level, first, second)
            after += [first, second]
        return x, tuple(after)

    def stack(self, count: int) -> StackedTcn:
        """Return `count` such backbones as one module; see `harness.Stack`."""
        first = cast(ResidualBlock, self.blocks[0])
        widths = tuple(len(cast(ResidualBlock, block).first.v) for block in self.blocks)
        dropout = first.dropout
        in_features = first.first.v.shape[1]
        stacked = StackedTcn(count, in_features, widths, self.kernel_size, dropout.probability, dropout.kind)
        return stacked.to(first.first.v).train(self.training)

    def _initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the state before a sequence: zeros at the inputs of the convolutions."""
        convolutions = [c for block in self.blocks for c in (block.first, block.second)]
        return tuple(
            x.new_zeros(len(x), (self.kernel_size - 1) << (i // 2), cast(Convolution, c).v.shape[1])
            for i, c in enumerate(convolutions)
        )


class Tcn(Model):
    """The TCN.  A level is a residual block of two convolutions; its width is the number of their filters."""

    name: ClassVar[str] = "tcn"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        """Return the ranges of kernel size and depth.

        Depths range from the fewest levels at the largest kernel to the fewest at the smallest.  So each kernel size
        has a depth that covers the dependency, and none is deeper than necessary.
        """
        if signature.dependency is None:
            fewest = FEWEST_LEVELS_OF_UNKNOWN
            most = min(MOST_LEVELS_OF_UNKNOWN, max(fewest, int(math.log2(signature.length))))
        else:
            fewest = fewest_levels(LARGEST_KERNEL, signature.dependency)
            most = max(fewest_levels(SMALLEST_KERNEL, signature.dependency), fewest + 1)
        return {
            "kernel_size": IntDistribution(SMALLEST_KERNEL, LARGEST_KERNEL),
            "levels": IntDistribution(fewest, most),
        }

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> TcnBackbone:
        """Return a backbone.

        The parameters are `kernel_size`, `levels`, `dropout`, `dropout_kind` (channel | element) and `init` (default |
        normal).
        """
        keywords = read_params(Keywords, self.name, params)
        check_widths(widths, keywords.levels, self.name)
        return TcnBackbone(signature.in_features, widths, keywords)

    def levels(self, **params: Any) -> int:
        return require_param("levels", self.name, params)

    def published(self, row: str) -> Published | None:
        return published.TCN.get(row)

    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        kernel_size = require_param("kernel_size", self.name, params)
        levels = require_param("levels", self.name, params)
        field = receptive_field(kernel_size, levels)
        if signature.dependency is None or field >= signature.dependency:
            return None
        return (
            f"receptive field {field} (kernel size {kernel_size}, {levels} levels) is shorter than the required "
            f"{signature.dependency} steps"
        )
