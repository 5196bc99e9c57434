"""Weights that a run keeps: copies of the best and of the last three."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from harness.training.kept_weights import KeptWeights


def after(scores: list[float], better: Literal["lower", "higher"] = "lower") -> KeptWeights:
    """Scores after updates 1, 2, ..., of a network whose only weight is the update."""
    network = nn.Linear(1, 1, bias=False)
    kept = KeptWeights(better)
    for update, score in enumerate(scores, start=1):
        with torch.no_grad():
            network.weight.fill_(update)
        kept.add(network, update=update, score=score)
    return kept


def updates_of(weights: list[dict[str, torch.Tensor]]) -> list[float]:
    return [float(each["weight"]) for each in weights]


def test_nothing_is_kept_before_the_first_evaluation() -> None:
    kept = after([])
    assert (kept.best, kept.best_update, kept.best_score, kept.last) == ({}, None, None, [])


@pytest.mark.parametrize(("better", "best"), [("lower", 2), ("higher", 1)])
def test_the_best_and_the_last_three_are_copies(better: Literal["lower", "higher"], best: int) -> None:
    scores = [3.0, 1.0, 2.0, 1.0, 3.0]
    kept = after(scores, better)
    assert (kept.best_update, kept.best_score) == (best, scores[best - 1])
    assert updates_of([kept.best]) == [best]
    assert updates_of(kept.last) == [3, 4, 5]


def test_restored_state_trains_as_the_original() -> None:
    scores = [3.0, 1.0, 2.0]
    restored = KeptWeights("lower")
    restored.restore(after(scores).state(), dict(enumerate(scores, start=1)))
    network = nn.Linear(1, 1, bias=False)
    restored.add(network, update=4, score=1.5)
    assert (restored.best_update, restored.best_score) == (2, 1.0)
    restored.add(network, update=5, score=0.5)
    assert (restored.best_update, restored.best_score) == (5, 0.5)
    assert updates_of(restored.last)[0] == 3
