"""The shapes in which a task hands over its data; `batches` turns them into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Arrays:
    """Sequences of one length.

    inputs: (sequences, time, channels) float32, or (sequences, time) int64 tokens; of another type or shape where
    `prepare` makes these of it.  Nothing writes to them, so they may lie in a mapped file.
    targets: (sequences, ...), as the task's loss reads them.
    """

    inputs: Tensor
    targets: Tensor
    prepare: Callable[[Batch], Batch] | None = None
    """What every batch goes through on its device, in training and evaluation alike; None leaves it as it is.

    For data that are smaller as they are stored: bytes, to be scaled a batch at a time.  It draws nothing.
    """

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} input sequences but {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths, laid end to end, with a target at each step.

    inputs: (frames, channels) float32.  targets: (frames, ...).  lengths: (sequences,) int64, > 0, summing to frames.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor

    def __post_init__(self) -> None:
        frames = int(self.lengths.sum())
        if not len(self.inputs) == len(self.targets) == frames or bool((self.lengths < 1).any()):
            raise ValueError(f"{len(self.inputs)} inputs, {len(self.targets)} targets, lengths that sum to {frames}")

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> Tensor:
        """First frame of each sequence: (sequences,) int64."""
        return torch.cumsum(self.lengths, 0) - self.lengths


Dataset = Arrays | Ragged


@dataclass(frozen=True)
class Batch:
    """What one update or one evaluation step reads; everything on one device.

    inputs: (batch, time, channels) float32 or (batch, time) int64.  targets: as the dataset's, padded on the right.
    lengths: (batch,) int64 where sequences differ in length, else None: every step is real.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None

    @property
    def mask(self) -> Tensor | None:
        """(batch, time) bool: true at real steps; None where all are."""
        if self.lengths is None:
            return None
        steps = torch.arange(self.inputs.shape[1], device=self.inputs.device)
        return steps < self.lengths[:, None]
