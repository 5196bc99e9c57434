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
    wrong_output: str
    """What is wrong with what `forward` returns; "" if nothing is."""
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
        first, second = (backbone(sequence.unsqueeze(0).to(device)) for sequence in inputs)
    after = _global_states()
    backbone.train(training)
    touches = tuple(name for name, state in before.items() if state != after[name])
    wrong = _wrong_output(first, steps, getattr(backbone, "out_features", None))
    return Findings(not wrong and _differ(first[:, :half], second[:, :half]), wrong, touches)


def _wrong_output(output: object, steps: int, out_features: object) -> str:
    """Return what is wrong with the output for one sequence; "" if nothing is."""
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        return f"forward returns a {kind}, not a tensor; return the outputs alone (scan returns a state)"
    shape, expected = tuple(output.shape), (1, steps, out_features)
    if shape == expected:
        return ""
    return (
        f"forward returns {shape} for 1 sequence of {steps} steps; return (batch, time, out_features), here {expected}"
    )


def _differ(outputs: Tensor, other: Tensor) -> bool:
    return bool((outputs - other).abs().max() > TOLERANCE * outputs.abs().max())


def _global_states() -> dict[str, object]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state(legacy=False)["state"]),
        "random": random.getstate(),
    }
