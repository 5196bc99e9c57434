"""What a study stands on and a backbone might break, seen on a few steps at the start of every trial."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

STEPS = 64
"""Steps that are looked at, of a task with more."""
TOLERANCE = 1e-3
"""Share of the largest output that rounding may move (a convolution by FFT does); causal layers move nothing."""


@dataclass(frozen=True)
class Findings:
    """What a backbone does that it must not."""

    reads_future: bool
    """Outputs change with inputs that come after them."""
    touches: tuple[str, ...]
    """Global random generators that its `forward` moves in `eval()`: another trial of the worker would see them moved,
    and a trial that is continued would draw otherwise."""


def inspect_backbone(backbone: nn.Module, in_features: int, length: int, device: torch.device) -> Findings:
    """Two passes of one sequence whose second halves differ; leaves the training mode as it was."""
    steps = max(min(length, STEPS), 2)
    half = steps // 2
    inputs = torch.randn((2, steps, in_features), generator=torch.Generator().manual_seed(0))
    inputs[1, :half] = inputs[0, :half]
    training = backbone.training
    before = _global_states()
    backbone.eval()
    with torch.no_grad():
        first, second = (backbone(one.unsqueeze(0).to(device)) for one in inputs)
    after = _global_states()
    backbone.train(training)
    touches = tuple(name for name, state in before.items() if state != after[name])
    return Findings(_differ(first[:, :half], second[:, :half]), touches)


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() > TOLERANCE * one.abs().max())


def _global_states() -> dict[str, object]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state(legacy=False)["state"]),
        "random": random.getstate(),
    }
