"""The common part of the residual backbones: an input projection, blocks on one stream, a normalisation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

EPSILON = 1e-6
"""Added to the mean square before the root, so that small inputs stay small instead of growing to unit size."""

MOST_LAYERS = 6
"""Searched depths are 1 to 6.  S4D's published networks for classification have 6 layers (Gu et al. 2022), and at ten
thousand parameters deeper networks are only a few channels wide."""


class Block(nn.Module):
    """One layer of the stream: a pre-normalised mixer over time with its residual."""

    @abstractmethod
    def forward(self, x: Tensor, state: Any, steps: int, keep: bool) -> tuple[Tensor, Any]:
        """(batch, time, model) and the state before x → the last `steps` of the outputs, and the state after x.

        A state is a tree of tensors (hence Any), None before the first step.  Without `keep`, the returned state is
        None, which saves its cost.
        """


class Stack(nn.Module):
    """An input projection, blocks and RMSNorm.  Every method of the contract is one pass over the blocks."""

    receptive_field: int | None = None

    def __init__(self, in_features: int, model: int, blocks: Sequence[Block], window: int) -> None:
        """window: most steps computed at once; longer inputs carry the state from window to window."""
        super().__init__()
        self.out_features = model
        self.window = window
        self.entry = nn.Linear(in_features, model)
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm(model)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, in_features) → (batch, time, model)."""
        return self.suffix(x, x.shape[1])

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        """Return forward(x)[:, -steps:]; the last block computes no other output."""
        if x.shape[1] <= self.window:
            return self._pass(x, None, steps, keep=False)[0]
        return self.scan(x)[0][:, -steps:]

    def scan(self, x: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...] | None]:
        """Return the outputs over x and the state of each block after it."""
        outputs = []
        for window in torch.split(x, self.window, dim=1):
            y, state = self._pass(window, state, window.shape[1], keep=True)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def _pass(
        self, x: Tensor, state: tuple[Any, ...] | None, steps: int, *, keep: bool
    ) -> tuple[Tensor, tuple[Any, ...]]:
        before = state or (None,) * len(self.blocks)
        after = []
        x = self.entry(x)
        for index, (block, start) in enumerate(zip(self.blocks, before, strict=True)):
            wanted = steps if index == len(self.blocks) - 1 else x.shape[1]
            x, end = block(x, start, wanted, keep)
            after.append(end)
        return cast(Tensor, self.norm(x)), tuple(after)


class Norm(nn.RMSNorm):
    """A root mean square normalisation with a gain (Zhang & Sennrich 2019, equation 4), in the gain's precision.

    Autocast does so by itself on CUDA.  On a CPU it leaves bfloat16, and PyTorch warns of two precisions.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


def norm(features: int) -> Norm:
    """Return the normalisation of a stream with this many features."""
    return Norm(features)


def tail(x: Tensor, steps: int) -> Tensor:
    """Return a copy of the last `steps` of x (fewer if x is shorter), (batch, time, ...): a view would keep all of x in
    memory, and a checkpoint would store it."""
    return x[:, max(x.shape[1] - steps, 0) :].clone(memory_format=torch.contiguous_format)
