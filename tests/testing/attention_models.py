"""Models with attention: a sound one, one whose width must be divisible, and one of lazy modules."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from harness import Model, Signature


class Causal(nn.Module):
    """Attention of 4 heads over the steps so far."""

    def __init__(self, inputs: int, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.out_features = width
        self.enter = nn.Linear(inputs, inner)
        self.attention = nn.MultiheadAttention(inner, 4, batch_first=True, dropout=dropout)
        self.leave = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(x)
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        mixed, _ = self.attention(hidden, hidden, hidden, attn_mask=later, need_weights=False)
        return torch.as_tensor(self.leave(hidden + mixed))


class Attention(Model):
    """Takes every width: the heads share four times as many features."""

    name: ClassVar[str] = "attention"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return Causal(signature.in_features, widths[0], 4 * widths[0], params.get("dropout", 0.0))


class Divisible(Attention):
    name: ClassVar[str] = "divisible"

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return Causal(signature.in_features, widths[0], widths[0], params.get("dropout", 0.0))


class LazyLinear(nn.LazyLinear):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.out_features = width


class Lazy(Attention):
    name: ClassVar[str] = "lazy"

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return LazyLinear(widths[0])
