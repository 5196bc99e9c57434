"""Weights that a run keeps for the end: those of its best evaluation and those of its last three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from harness.training.evaluation import Weights

KEPT_FOR_LAST = 3
"""Bai et al. report the mean over the last three epochs (locuslab/TCN issue 40)."""


class KeptWeights:
    """The weights of the best evaluation so far, and of the last three."""

    def __init__(self, better: Literal["lower", "higher"]) -> None:
        self._sign = 1 if better == "lower" else -1
        self.best: Weights = {}
        self.best_update: int | None = None
        """The update after which the best weights were evaluated; None before the first evaluation."""
        self.best_score: float | None = None
        self.last: list[Weights] = []
        """Weights of the last three evaluations, oldest first."""

    def add(self, network: nn.Module, *, update: int, score: float) -> None:
        """Copy the weights that were evaluated after `update`; of equal scores the earliest is the best."""
        weights = copy_weights(network)
        self.last = [*self.last, weights][-KEPT_FOR_LAST:]
        if self.best_score is None or self._sign * score < self._sign * self.best_score:
            self.best, self.best_update, self.best_score = weights, update, score

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores (a tree, hence Any); the best score is that of a stored point."""
        return {"best": self.best, "best_update": self.best_update, "last": self.last}

    def restore(self, state: Mapping[str, Any], scores: Mapping[int, float]) -> None:
        """Take over a stored state.  scores: validation score after each evaluated update."""
        self.best, self.best_update, self.last = state["best"], state["best_update"], state["last"]
        self.best_score = None if self.best_update is None else scores[self.best_update]


def copy_weights(network: nn.Module) -> Weights:
    """Return a copy of all parameters and buffers, by name."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
