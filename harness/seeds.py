"""Seeds by axis: each axis determines one part of an experiment.

Search trials use stream 0 of every axis, so all configurations of a study have the same data, order and
initialisation noise.  Repetition r of the final phase uses stream r + 1, which is the same for all models, so their
runs are paired.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

Axis = Literal["fixed", "data", "order", "init", "noise"]


def derive(root: int, *path: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on `root` and on every element of `path`.

    It is the start of a SHA-256 digest, so neighbouring roots and paths give unrelated seeds, and every process and
    version gives the same ones.
    """
    text = "/".join([str(root), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Seeds(BaseModel):
    """One seed per axis, each in [0, 2**63)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fixed: int
    """Permutations and synthetic test sets; the same for a whole study."""
    data: int
    """Synthetic training and validation sets, validation splits."""
    order: int
    """The order of training batches."""
    init: int
    """Initial weights."""
    noise: int
    """Dropout."""

    @classmethod
    def of(cls, study_seed: int, stream: int) -> Seeds:
        """Return the seeds of a stream: 0 for search, repetition + 1 for a final trial."""
        return cls(
            fixed=derive(study_seed, "fixed"),
            data=derive(study_seed, "data", stream),
            order=derive(study_seed, "order", stream),
            init=derive(study_seed, "init", stream),
            noise=derive(study_seed, "noise", stream),
        )


def evaluation_seed(seeds: Seeds, split: str) -> int:
    """Return the seed of the sample of a split that `evaluation_limit` scores: one per study."""
    return derive(seeds.fixed, "evaluation", split)
