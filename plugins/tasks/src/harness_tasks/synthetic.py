"""Base class of the tasks on generated sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness import Plateau, PublishedRow, Seeds, Split, Task, derive
from harness_tasks.paper import published_row


class Synthetic(Task):
    """Sequences of one length, drawn from a seed for each split.

    The paper trains on a fixed set, tests on 1,000 sequences and has no validation set; here one is drawn in addition
    to the training set.  The test set depends only on the `fixed` seed.
    """

    title: ClassVar[str]
    """Title of the row in the paper's tables."""
    size: ClassVar[str]
    """Parameters as Table 1 prints them, rounded."""
    parameters: ClassVar[Mapping[int, int]]
    """Length → trainable parameters of the published TCN (Table 2), counted on the released code (locuslab/TCN)."""
    results: ClassVar[Mapping[int, Mapping[str, float]]]
    """Length → model → test metric of Table 1."""

    plateaus: ClassVar[Mapping[int, Plateau]]
    """Length → how long training stays at the floor."""

    length: int
    sequences: int = Field(ge=1)
    """Training sequences."""
    validation: int = Field(default=1000, ge=1)
    """Validation sequences."""
    test: int = Field(default=1000, ge=1)
    """Test sequences."""

    def training_sequences(self) -> int:
        return self.sequences

    def count(self, split: Split) -> int:
        """Return the number of sequences in a split."""
        return {"train": self.sequences, "validation": self.validation, "test": self.test}[split]

    def row(self) -> str:
        return f"{self.name}-{self.length}"

    def plateau(self) -> Plateau | None:
        """Return the plateau at the longest measured length that is not longer: a longer sequence is not easier."""
        measured = max((length for length in self.plateaus if length <= self.length), default=None)
        return None if measured is None else self.plateaus[measured]

    def published(self) -> PublishedRow | None:
        """Return the size at a length of Table 2, and the results of Table 1 at its number of training sequences."""
        if self.length not in self.parameters:
            return None
        as_published = self.sequences == type(self).model_fields["sequences"].default
        return published_row(
            1 if self.length in self.results else 2,
            f"{self.title} T={self.length}",
            parameters=self.parameters[self.length],
            results=self.results.get(self.length, {}) if as_published else {},
            note=f"parameters: count of the published TCN at Table 2's setting; Table 1 says {self.size}",
        )

    def generator(self, split: Split, seeds: Seeds) -> np.random.Generator:
        """Return the generator of a split; nothing else draws from it."""
        root = seeds.fixed if split == "test" else seeds.data
        return np.random.default_rng(derive(root, self.name, split))
