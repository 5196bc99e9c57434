"""The smallest network that can read a task: it remembers nothing."""

from __future__ import annotations

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
    """tanh(W x[t] + b) at each step: what can be known of the present input alone."""

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
        """The state has nothing to hold."""
        return self(x), ()


class Probe(Model):
    """What a task is tried with; registered nowhere."""

    name: ClassVar[str] = "memoryless"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Takes `dropout`, and drops nothing: there is nothing to regularise."""
        return Memoryless(signature.in_features, widths[0])


def probe_network(signature: Signature, seed: int = 0) -> Network:
    """A memoryless network for a task, in `eval()`; the global random state moves."""
    torch.manual_seed(seed)
    return Network(signature, Memoryless(signature.in_features, WIDTH)).eval()


def head(dataset: Dataset, sequences: int, tokens: int) -> Dataset:
    """The first sequences of a split, or the first tokens of a stream; itself where it has no more."""
    if isinstance(dataset, Arrays):
        return Arrays(dataset.inputs[:sequences], dataset.targets[:sequences], dataset.prepare)
    if isinstance(dataset, Ragged):
        lengths = dataset.lengths[:sequences]
        frames = int(lengths.sum())
        targets = dataset.targets[: len(lengths) if dataset.last else frames]
        return Ragged(dataset.inputs[:frames], targets, lengths, dataset.last)
    kept = dataset.tokens[:tokens]
    return type(dataset)(
        kept, dataset.before, dataset.scored, dataset.history, rows=min(dataset.rows, max(len(kept), 1))
    )
