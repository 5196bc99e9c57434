"""The smallest network that can be trained on a task; it has no memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from harness.api.dataset import Arrays, Dataset, Ragged
from harness.api.model import Model
from harness.api.signature import Signature
from harness.training.network import Network

WIDTH = 12


class Memoryless(nn.Module):
    """A function of the present input alone: tanh(W x[t] + b) at each step."""

    receptive_field = 1

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.out_features = width
        self.linear = nn.Linear(in_features, width)

    def forward(self, x: Tensor) -> Tensor:  # (batch, time, in_features) -> (batch, time, width)
        return torch.tanh(self.linear(x))

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        return self(x[:, -steps:])  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped

    def scan(self, x: Tensor, state: tuple[()] = ()) -> tuple[Tensor, tuple[()]]:
        """Return the outputs and an empty state."""
        return self(x), ()


class Probe(Model):
    """A model for trying out a task; it is not registered."""

    name: ClassVar[str] = "memoryless"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Return a memoryless backbone; `dropout` is accepted and ignored."""
        return Memoryless(signature.in_features, widths[0])


def probe_network(signature: Signature, seed: int = 0) -> Network:
    """Return a memoryless network for a task, in `eval()`; this seeds PyTorch's default generator."""
    torch.manual_seed(seed)
    return Network(signature, Memoryless(signature.in_features, WIDTH)).eval()


def head(dataset: Dataset, sequences: int, tokens: int) -> Dataset:
    """Return the first `sequences` sequences of a split, or the first `tokens` tokens of a stream."""
    if isinstance(dataset, Arrays):
        return replace(dataset, inputs=dataset.inputs[:sequences], targets=dataset.targets[:sequences])
    if isinstance(dataset, Ragged):
        lengths = dataset.lengths[:sequences]
        frames = int(lengths.sum())
        targets = dataset.targets[: len(lengths) if dataset.last else frames]
        return replace(dataset, inputs=dataset.inputs[:frames], targets=targets, lengths=lengths)
    kept = dataset.tokens[:tokens]
    return replace(dataset, tokens=kept, rows=min(dataset.rows, max(len(kept), 1)))
