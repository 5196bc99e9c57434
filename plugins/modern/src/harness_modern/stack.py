"""What the residual backbones share: a projection in, blocks on one stream of features, a normalisation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

EPSILON = 1e-6
"""Added to the mean square before its root: silence stays small instead of being blown up to unit size."""

MOST_LAYERS = 6
"""Searched depths are 1 to 6; S4D's published networks for classification have 6 (Gu et al. 2022), and at ten
thousand parameters deeper ones are only a few channels wide."""


class Block(nn.Module):
    """One layer of the stream: a pre-normalised mixer over time with its residual."""

    @abstractmethod
    def forward(self, x: Tensor, state: Any, steps: int, keep: bool) -> tuple[Tensor, Any]:
        """(batch, time, model) and the state before x → the last `steps` of the outputs, and the state after x.

        A state is a tree of tensors (hence Any), None before the first step; where not asked to `keep` it, None is
        given back, as what a state costs need not be spent.
        """


class Stack(nn.Module):
    """A projection in, blocks, RMSNorm.  Every verb of the contract is one pass over the blocks."""

    receptive_field: int | None = None

    def __init__(self, in_features: int, model: int, blocks: Sequence[Block], window: int) -> None:
        """window: steps computed at once at most; longer inputs are carried from window to window."""
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
        """forward(x)[:, -steps:]; the last block computes no other output."""
        if x.shape[1] <= self.window:
            return self._pass(x, None, steps, keep=False)[0]
        return self.scan(x)[0][:, -steps:]

    def scan(self, x: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...] | None]:
        """Outputs over x and the state of each block after it."""
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
        for index, (block, entry) in enumerate(zip(self.blocks, before, strict=True)):
            wanted = steps if index == len(self.blocks) - 1 else x.shape[1]
            x, end = block(x, entry, wanted, keep)
            after.append(end)
        return cast(Tensor, self.norm(x)), tuple(after)


def norm(features: int) -> nn.RMSNorm:
    """Root mean square normalisation with a gain (Zhang & Sennrich 2019, equation 4)."""
    return nn.RMSNorm(features, eps=EPSILON)


def tail(x: Tensor, steps: int) -> Tensor:
    """The last `steps` of x (fewer where x is shorter), (batch, time, ...), in memory of their own: a view would keep
    all of x alive, and a checkpoint would store it."""
    return x[:, max(x.shape[1] - steps, 0) :].clone(memory_format=torch.contiguous_format)
