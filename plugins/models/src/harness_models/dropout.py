"""Dropout of single elements or of whole channels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["channel", "element"]

_LEVELS = 1 << 16
_INT64_MIN = -(1 << 63)


class Dropout(nn.Module):
    """Dropout with `probability` in [0, 1): in training, it zeroes values and scales the others to keep the mean.

    channel: drops whole channels over time, drawn for each sequence (Bai, Kolter & Koltun 2018, section 3.3).
    element: drops single numbers (the released code, and after each layer of the recurrent models).
    """

    def __init__(self, probability: float, kind: Kind) -> None:
        super().__init__()
        self.probability = probability
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, channels), contiguous
        if not self.training or self.probability == 0:
            return x
        if self.kind == "channel":
            return _drop_channels(x, self.probability)
        if x.device.type == "cpu":
            return _drop_elements_on_cpu(x, self.probability)
        return F.dropout(x, self.probability)

    def extra_repr(self) -> str:
        return f"{self.probability}, kind={self.kind!r}"


def quantised(probability: float) -> float:
    """Return the nearest multiple of 2**-16 below 1: a probability that 16 random bits can decide."""
    return min(round(probability * _LEVELS), _LEVELS - 1) / _LEVELS


def _drop_channels(x: Tensor, probability: float) -> Tensor:
    kept = x.new_empty(x.shape[0], 1, x.shape[2]).bernoulli_(1 - probability)
    return x * kept.div_(1 - probability)


def _drop_elements_on_cpu(x: Tensor, probability: float) -> Tensor:
    """Compute `F.dropout` with four 16-bit decisions per 64-bit draw, compared directly into numbers of x's type.

    The scale is that of the quantised probability, so the mean is exact; the probability is off by at most 2**-17.
    """
    dropped = quantised(probability)
    if dropped == 0:
        return x
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
    draws.random_(_INT64_MIN, None)  # without bounds the sign bit, the top bit of each fourth lane, would stay 0
    lanes = draws.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-2**15, 2**15)
    kept = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(lanes, round(dropped * _LEVELS) - _LEVELS // 2, out=kept)
    return x * kept.mul_(1 / (1 - dropped))
