"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math

import torch
from torch import nn

from harness.records import Optimisation, Schedule


def make_optimizer(network: nn.Module, optimisation: Optimisation) -> torch.optim.Optimizer:
    """PyTorch's own, fused where it offers that: one kernel for all tensors of a small network."""
    parameters, rate = network.parameters(), optimisation.learning_rate
    match optimisation.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=rate, foreach=True)
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, fused=True)
        case "adagrad":
            return torch.optim.Adagrad(parameters, lr=rate, foreach=True)


def schedule_factor(schedule: Schedule, losses: list[float], progress: float) -> float:
    """The factor on the learning rate after evaluations with these losses, at `progress` in [0, 1] of all updates."""
    match schedule.kind:
        case "constant":
            return 1.0
        case "step":
            return float(schedule.factor ** (len(losses) // schedule.every))
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "plateau":
            return float(schedule.factor ** _plateaus(losses, schedule.start, schedule.window))


def _plateaus(losses: list[float], start: int, window: int) -> int:
    """How often a loss past the first `start` was worse than all of the `window` before it."""
    return sum(
        loss > max(losses[max(0, index - window) : index])
        for index, loss in enumerate(losses)
        if index >= max(start, 1)
    )
