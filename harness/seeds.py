"""Randomness by axis: which part of an experiment a seed controls.

Search trials use stream 0 of every axis, so all configurations of a study see the same data, order and initialization
noise. Repetition r of the final phase uses stream r + 1, the same for every model, which pairs the models.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

Axis = Literal["fixed", "data", "order", "init", "noise"]


def derive(root: int, *path: str | int) -> int:
    """A seed in [0, 2**63) that depends on `root` and on every element of `path`.

    SHA-256 rather than arithmetic: neighbouring roots and paths share no bits, in any process or version.
    """
    text = "/".join([str(root), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Seeds(BaseModel):
    """One seed an axis, each in [0, 2**63)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fixed: int
    """Permutations and synthetic test sets: one per study."""
    data: int
    """Synthetic training and validation sets, validation cuts."""
    order: int
    """The order of training batches."""
    init: int
    """Initial weights."""
    noise: int
    """Dropout."""

    @classmethod
    def of(cls, study_seed: int, stream: int) -> Seeds:
        """The seeds of `stream`: 0 for search, repetition + 1 for a final trial."""
        return cls(
            fixed=derive(study_seed, "fixed"),
            data=derive(study_seed, "data", stream),
            order=derive(study_seed, "order", stream),
            init=derive(study_seed, "init", stream),
            noise=derive(study_seed, "noise", stream),
        )
