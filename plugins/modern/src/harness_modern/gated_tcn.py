"""The TCN with gated linear units of Bai, Kolter & Koltun 2018, supplement D (arXiv:1803.01271)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution, IntDistribution
from pydantic import Field
from torch import Tensor, nn

from harness import Model, Record, Signature, check_widths, read_params, require_param
from harness_modern.sizing import outside, sizes, spread
from harness_modern.stack import tail

SMALLEST_KERNEL, LARGEST_KERNEL = 2, 8
"""The kernel sizes of the paper: Table 2 and the ablation of Figure 6."""
FEWEST_LEVELS_OF_UNKNOWN, MOST_LEVELS_OF_UNKNOWN = 2, 6
"""Depths searched if the dependency is unknown; the paper takes 2 to 5 on music and language."""
SKIP_STD = 0.01
"""Standard deviation of the initial weights of a residual's projection: section 5, as the released code reads it."""


def receptive_field(kernel_size: int, levels: int) -> int:
    """Return the number of input steps, including the present one; a gate reads the same steps as what it gates."""
    return 1 + 2 * (kernel_size - 1) * ((1 << levels) - 1)


class Keywords(Record):
    """Parameters of `GatedTcn.build` besides the widths."""

    kernel_size: int = Field(ge=1)
    levels: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of whole channels, as in section 3.3."""


class GatedConvolution(nn.Module):
    """conv(x) ⊙ σ(gate(x)), both dilated, causal and weight-normalised, computed as one convolution.

    v: (2 · out, in, k), the gates last.  g: (2 · out, 1, 1), the norm of each filter.  bias: (2 · out,).
    It calls `torch._weight_norm` directly, because a parametrized module cannot be pickled whole.
    """

    def __init__(self, in_features: int, out_features: int, kernel_size: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features * kernel_size)  # PyTorch's value for `nn.Conv1d`
        self.v = nn.Parameter(torch.empty(2 * out_features, in_features, kernel_size).uniform_(-bound, bound))
        self.g = nn.Parameter(torch.linalg.vector_norm(self.v.detach(), dim=(1, 2), keepdim=True))
        self.bias = nn.Parameter(torch.empty(2 * out_features).uniform_(-bound, bound))

    def forward(self, x: Tensor, past: Tensor | None, dilation: int) -> tuple[Tensor, Tensor]:
        """Return the outputs, (batch, time, out), and `past` joined with x.

        x: (batch, time, in).  past: the steps before x, (batch, (k - 1) · dilation, in); None means zeros.
        """
        history = (self.v.shape[2] - 1) * dilation
        joined = F.pad(x, (0, 0, history, 0)) if past is None else torch.cat((past, x), dim=1)
        # A two-dimensional convolution with channels-last storage, which is (batch, time, channels) in memory.
        images = joined.transpose(1, 2).unsqueeze(2)  # (batch, in, 1, time)
        filters = torch._weight_norm(self.v, self.g, 0).unsqueeze(2)  # (2 · out, in, 1, k)
        y = F.conv2d(images, filters, self.bias, dilation=(1, dilation)).squeeze(2).transpose(1, 2)
        return F.glu(y, dim=-1), joined


class GatedBlock(nn.Module):
    """relu(x + F(x)), where F is twice [gated convolution, dropout]; at the first level x passes a 1x1 convolution.

    The supplement replaces the relu of a convolution.  The relu of the sum stays, as in section 3.3.
    """

    def __init__(self, in_features: int, middle: int, out_features: int, *, first: bool, keywords: Keywords) -> None:
        super().__init__()
        self.first = GatedConvolution(in_features, middle, keywords.kernel_size)
        self.second = GatedConvolution(middle, out_features, keywords.kernel_size)
        self.dropout = nn.Dropout1d(keywords.dropout)
        self.skip: nn.Module = nn.Identity()
        if first:
            self.skip = nn.Linear(in_features, out_features)
            nn.init.normal_(self.skip.weight, 0, SKIP_STD)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, dilation: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(batch, time, in) → (batch, time, out), and the inputs of both convolutions with those before x."""
        before = (None, None) if past is None else past
        middle, inputs = self.first(x, before[0], dilation)
        hidden, middles = self.second(self._drop(middle), before[1], dilation)
        return F.relu(self._drop(hidden) + self.skip(x)), (inputs, middles)

    def _drop(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.dropout(x.transpose(1, 2)).transpose(1, 2))


class GatedTcnBackbone(nn.Module):
    """Gated blocks with dilation 2**i at level i."""

    def __init__(self, in_features: int, model: int, middles: Sequence[int], keywords: Keywords) -> None:
        super().__init__()
        self.kernel_size = keywords.kernel_size
        self.out_features = model
        self.receptive_field = receptive_field(keywords.kernel_size, len(middles))
        self.blocks = nn.ModuleList(
            GatedBlock(model if level else in_features, middle, model, first=not level, keywords=keywords)
            for level, middle in enumerate(middles)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, in_features) → (batch, time, model)."""
        for level, block in enumerate(self.blocks):
            x, _ = block(x, None, 1 << level)
        return x

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        """Return forward(x)[:, -steps:]; skip the inputs that these outputs do not read."""
        if steps > 1:
            return self.forward(x[:, -(self.receptive_field - 1 + steps) :])[:, -steps:]
        for block in self.blocks:
            # Level l runs on every 2**l-th step, counted from the last, where its dilation is 1.  This convolves at
            # most 4 positions per input step, instead of 2 per level.
            x, _ = block(x, None, 1)
            x = x[:, (x.shape[1] - 1) % 2 :: 2]
        return x[:, -1:]

    def scan(
        self, x: Tensor, state: tuple[tuple[Tensor, Tensor], ...] | None = None
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        """Return the outputs over x and, per level i, the last inputs of both convolutions:
        (batch, (k - 1) · 2**i, channels)."""
        before = state or (None,) * len(self.blocks)
        after = []
        for level, (block, past) in enumerate(zip(self.blocks, before, strict=True)):
            x, (inputs, middles) = block(x, past, 1 << level)
            history = (self.kernel_size - 1) << level
            after.append((tail(inputs, history), tail(middles, history)))
        return x, tuple(after)


class GatedTcn(Model):
    """Residual blocks of two gated convolutions, all with the same number of filters at their end.

    The width counts the filters of the first convolution of a block, over all blocks except the first: that block reads
    the input, so its filters cost more (see `sizing`).  At an equal number of parameters there are about 1/√2 as many
    channels as without gates, because each convolution comes twice.  Table 5 compares the two in this way.
    """

    name: ClassVar[str] = "gated-tcn"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        """Return the TCN's ranges: depths from the fewest levels at the largest kernel to those at the smallest."""
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

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> GatedTcnBackbone:
        """Return a backbone; the parameters are `kernel_size`, `levels` and `dropout`."""
        keywords = read_params(Keywords, self.name, params)
        check_widths(widths, 1, self.name)
        later = keywords.levels - 1

        def count(model: int, further: int) -> int:
            first = _block_count(signature.in_features, model + (0 if later else further), model, keywords.kernel_size)
            # The count is linear in the filters between the two convolutions, so all later levels are counted together.
            rest = later * _block_count(model, model, model, keywords.kernel_size)
            more = further * (4 * keywords.kernel_size * model + 4) if later else 0
            return first + rest + more + model * outside(signature)

        model, further = sizes(widths[0], signature, count)
        middles = [model + more for more in ([0, *spread(further, later)] if later else [further])]
        return GatedTcnBackbone(signature.in_features, model, middles, keywords)

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


def _block_count(in_features: int, middle: int, out_features: int, kernel_size: int) -> int:
    """Return the parameters of a block without its projection: filters with their gates, norms and biases."""
    first = 2 * middle * (in_features * kernel_size + 2)
    return first + 2 * out_features * (middle * kernel_size + 2)


def fewest_levels(kernel_size: int, steps: int) -> int:
    """Return the smallest depth >= 1 whose receptive field covers `steps`; kernel_size >= 2."""
    levels = 1
    while receptive_field(kernel_size, levels) < steps:
        levels += 1
    return levels
