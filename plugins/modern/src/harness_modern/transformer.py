"""A causal transformer with rotary positions: pre-normalised, without biases."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from pydantic import Field
from torch import Tensor, nn

from harness import Model, Record, Signature, check_widths, read_params
from harness_modern.sizing import outside, sizes, spread
from harness_modern.stack import MOST_LAYERS, Block, Stack, norm, tail

ROTARY_BASE = 10_000.0
"""Su et al. 2021, section 3.2.2: pair i of d numbers turns by base**(-2i / d) per step."""

SHORTEST_SPAN = 2
"""The smallest span: with a span of one step, queries and keys would have no effect."""

Cache = tuple[Tensor, Tensor]
"""Keys, not yet rotated, and values of the latest steps: (batch, at most span - 1, heads · head size) each."""


class Keywords(Record):
    """Parameters of `Transformer.build` besides the widths."""

    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    expansion: int = Field(default=4, ge=1)
    """Hidden units of the feed-forward net per channel of the model width; 4 in Vaswani et al. 2017."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on what each sub-layer adds to the stream (Vaswani et al. 2017, section 5.4)."""


class TransformerBlock(Block):
    """x + attention(norm(x)), then x + feed-forward(norm(x)) (Xiong et al. 2020, Figure 1b).

    Each step attends to the latest `span` steps, including itself.
    """

    def __init__(self, model: int, hidden: int, *, heads: int, span: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.span = span
        width = attention_width(model, heads)
        self.attention_norm = norm(model)
        self.query = nn.Linear(model, width, bias=False)
        self.key_value = nn.Linear(model, 2 * width, bias=False)
        self.output = nn.Linear(width, model, bias=False)
        self.feed_norm = norm(model)
        self.widen = nn.Linear(model, hidden, bias=False)
        self.narrow = nn.Linear(hidden, model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: Cache | None, steps: int, keep: bool) -> tuple[Tensor, Cache | None]:
        normed = self.attention_norm(x)
        keys, values = self.key_value(normed).chunk(2, dim=-1)
        if state is not None:
            keys, values = torch.cat((state[0], keys), dim=1), torch.cat((state[1], values), dim=1)
        attended = self._attend(self.query(normed[:, -steps:]), keys, values)
        x = x[:, -steps:] + self.dropout(self.output(attended))
        x = x + self.dropout(self.narrow(F.gelu(self.widen(self.feed_norm(x)))))
        return x, (tail(keys, self.span - 1), tail(values, self.span - 1)) if keep else None

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend with `queries`, (batch, steps, width), of the last steps of `keys` and `values`, (batch, time, width).

        Returns (batch, steps, width).  Positions count from the first key.  Only their differences matter, so the state
        holds no position, and no angle grows with the length of a stream.
        """
        steps, time = queries.shape[1], keys.shape[1]
        q = rotated(self._split(queries), first=time - steps)
        k, v = rotated(self._split(keys), first=0), self._split(values)
        whole = steps == time <= self.span
        mask = None if whole else _band(steps, time, self.span, queries.device)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=whole)
        return attended.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """(batch, time, heads · head size) → (batch, heads, time, head size)."""
        return torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2)


def attention_width(model: int, heads: int) -> int:
    """Return heads · head size, nearest to the model width; the head size is even, because rotation acts on pairs."""
    return heads * 2 * max(round(model / (2 * heads)), 1)


def rotated(x: Tensor, first: int) -> Tensor:
    """Return the rotary position embedding (Su et al. 2021, equation 15) of x at positions first, first + 1, …

    x: (batch, heads, time, head size), head size even.  Number i is paired with number i + head size / 2, as in
    GPT-NeoX.  The paper pairs neighbours, which is the same up to the order of the rows of the weights.
    """
    half = x.shape[-1] // 2
    place = torch.arange(first, first + x.shape[2], device=x.device, dtype=x.dtype)
    speed = ROTARY_BASE ** (-torch.arange(half, device=x.device, dtype=x.dtype) / half)
    angle = torch.outer(place, speed)  # (time, head size / 2)
    cos, sin = angle.cos(), angle.sin()
    real, imaginary = x.chunk(2, dim=-1)
    return torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)


def _band(steps: int, time: int, span: int, device: torch.device) -> Tensor:
    """Return (steps, time): whether each of the last `steps` of `time` positions attends to each position."""
    place = torch.arange(time, device=device)
    distance = place[time - steps :, None] - place
    return (distance >= 0) & (distance < span)


class Transformer(Model):
    """Layers of attention and feed-forward.

    This is the decoder of Vaswani et al. 2017 (arXiv:1706.03762) without a memory, with the changes of later language
    models (as Touvron et al. 2023, arXiv:2302.13971, section 2.2): root mean square normalisation before each
    sub-layer, no biases, rotary positions.  The feed-forward net is the original one, with GELU.

    Attention spans `signature.length` steps: all of a whole sequence, and in a stream as many as one training window,
    so that the state of `scan` is bounded (a sliding window, Beltagy et al. 2020, arXiv:2004.05150, section 3.1).

    The width counts hidden units of the feed-forward nets (see `sizing`).  The head size is independent of the model
    width, which therefore need not be a multiple of anything.
    """

    name: ClassVar[str] = "transformer"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:  # the same for every task
        return {
            "layers": IntDistribution(1, MOST_LAYERS),
            "heads": CategoricalDistribution((1, 2, 4, 8)),
            "expansion": CategoricalDistribution((2, 4)),
        }

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> Stack:
        """Return a backbone; the parameters are `layers`, `heads`, `expansion` and `dropout`."""
        keywords = read_params(Keywords, self.name, params)
        check_widths(widths, 1, self.name)
        layers, heads = keywords.layers, keywords.heads
        span = max(signature.length, SHORTEST_SPAN)

        def count(model: int, further: int) -> int:
            hidden = layers * keywords.expansion * model + further  # of all layers together
            attention = layers * attention_width(model, heads)
            return model * (4 * attention + 2 * hidden + 2 * layers + 1 + outside(signature))

        model, further = sizes(widths[0], signature, count)
        blocks = [
            TransformerBlock(model, keywords.expansion * model + more, heads=heads, span=span, dropout=keywords.dropout)
            for more in spread(further, layers)
        ]
        stack = Stack(signature.in_features, model, blocks, window=span)
        stack.receptive_field = 1 + keywords.layers * (span - 1)
        return stack
