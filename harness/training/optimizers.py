"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from harness.records import Optimisation, Schedule


def make_optimizer(network: nn.Module, optimisation: Optimisation) -> torch.optim.Optimizer:
    """Return PyTorch's optimizer, fused where it offers that: one kernel for all tensors of a small network."""
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


class LearningRate:
    """The learning rate of a run: its reference rate times the factor of its schedule."""

    def __init__(self, optimisation: Optimisation, updates: int) -> None:
        """updates: of the whole run, over which a cosine falls."""
        self._rate = optimisation.learning_rate
        self._schedule = optimisation.schedule
        self._updates = updates
        self._losses: Sequence[float] = ()
        self._factor = self._factor_at(0)

    def follow(self, losses: Sequence[float]) -> None:
        """Continue after evaluations with these losses, the smaller the better."""
        self._losses = losses
        self._factor = self._factor_at(0)

    def after(self, update: int) -> float:
        """Return the rate of the next update after `update` updates."""
        # Only a cosine moves between two evaluations; the others are computed once for each.
        return self._rate * (self._factor_at(update) if self._schedule.kind == "cosine" else self._factor)

    def _factor_at(self, update: int) -> float:
        return schedule_factor(self._schedule, self._losses, update / self._updates)


def schedule_factor(schedule: Schedule, losses: Sequence[float], progress: float) -> float:
    """Return the factor on the learning rate after evaluations with these losses.

    progress: share of all updates that is past, in [0, 1].
    """
    match schedule.kind:
        case "constant":
            return 1.0
        case "step":
            return float(schedule.factor ** (len(losses) // schedule.every))
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "plateau":
            return float(schedule.factor ** _plateaus(losses, schedule.start, schedule.window))


def _plateaus(losses: Sequence[float], start: int, window: int) -> int:
    """Count the losses past the first `start` that are worse than all of the `window` before them."""
    return sum(
        loss > max(losses[max(0, index - window) : index])
        for index, loss in enumerate(losses)
        if index >= max(start, 1)
    )
