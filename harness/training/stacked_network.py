"""Several networks of one shape as one: their weights with one more axis in front, the member's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.model import Stack
from harness.training.network import Network


class StackedLinear(nn.Module):
    """`nn.Linear` of each member.  weight: (members, out, in).  bias: (members, out)."""

    def __init__(self, members: int, single: nn.Linear) -> None:
        super().__init__()
        self.weight = _stacked(single.weight, members)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None if single.bias is None else _stacked(single.bias, members))

    def forward(self, x: Tensor) -> Tensor:
        """(members, ..., in) → (members, ..., out)."""
        rows = x.flatten(1, -2)
        weight = self.weight.mT  # (members, in, out)
        y = torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias[:, None], rows, weight)
        return y.view(*x.shape[:-1], -1)


class StackedEmbedding(nn.Module):
    """`nn.Embedding` of each member.  weight: (members, vocabulary, features)."""

    def __init__(self, members: int, single: nn.Embedding) -> None:
        super().__init__()
        self.weight = _stacked(single.weight, members)

    def forward(self, tokens: Tensor) -> Tensor:
        """(members, ...) int64 → (members, ..., features), looked up in all members' vocabularies end to end."""
        members, vocabulary, _ = self.weight.shape
        first = torch.arange(0, members * vocabulary, vocabulary, device=tokens.device)
        return F.embedding(tokens + first.view(-1, *[1] * (tokens.ndim - 1)), self.weight.flatten(0, 1))


class StackedNetwork(Network):
    """Networks of one shape, whose backbone offers `stack`, as one.

    inputs: (members, batch, time, ...); lengths: (members, batch); outputs and states have the same axis in front.
    Its parameters have the names of a member's.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        nn.Module.__init__(self)
        first, members = networks[0], len(networks)
        self.encoder = _stacked_part(first.encoder, members)
        self.embedding_dropout = copy.deepcopy(first.embedding_dropout)  # elementwise: it draws for each member
        self.backbone = cast(Stack, first.backbone).stack(members)
        self.projection = _stacked_part(first.projection, members)
        self.decoder = _stacked_part(first.decoder, members)
        if first.tied:
            self.encoder.weight = self.decoder.weight
        states = [network.state_dict() for network in networks]
        self.load_state_dict({name: torch.stack([state[name] for state in states]) for name in states[0]})
        self.train(first.training)


def _stacked_part(part: nn.Module, members: int) -> Any:  # typed Any, since it takes the place of what it stacks
    """An encoder, a projection or a decoder of each member."""
    if isinstance(part, nn.Linear):
        return StackedLinear(members, part)
    return StackedEmbedding(members, part) if isinstance(part, nn.Embedding) else nn.Identity()


def _stacked(single: Tensor, members: int) -> nn.Parameter:
    return nn.Parameter(single.new_empty(members, *single.shape))
