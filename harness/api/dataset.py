"""The shapes in which a task provides its data. `training.batches` turns them into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Arrays:
    """Sequences of one length.

    inputs: (sequences, time, channels) float32, or (sequences, time) int64 tokens. Another type or shape is allowed if
    `prepare` converts it. Nothing writes to the arrays, so they may be memory-mapped. targets: (sequences, ...), as the
    task's loss reads them.
    """

    inputs: Tensor
    targets: Tensor
    prepare: Callable[[Batch], Batch] | None = None
    """A transformation of every batch on its device, in training and evaluation alike; None: no transformation.

    For data that are stored in a smaller form, such as bytes to be scaled batch by batch. It draws no random numbers.
    """

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} input sequences but {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths, concatenated, with a target at each step or at the last one.

    inputs: (frames, channels) float32, or (frames,) int64 tokens. targets: (frames, ...), or (sequences, ...) if
    `last`. lengths: (sequences,) int64, > 0, with sum `frames`.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor
    last: bool = False
    """Whether a sequence has one target, read at its last step, even if the task's readout is `each`."""

    def __post_init__(self) -> None:
        frames = int(self.lengths.sum())
        targets = len(self.lengths) if self.last else frames
        if len(self.inputs) != frames or len(self.targets) != targets or bool((self.lengths < 1).any()):
            raise ValueError(f"{len(self.inputs)} inputs, {len(self.targets)} targets, lengths that sum to {frames}")

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> Tensor:
        """Index of the first frame of each sequence: (sequences,) int64."""
        return torch.cumsum(self.lengths, 0) - self.lengths


@dataclass(frozen=True)
class Stream:
    """One long sequence of tokens, each a target that is predicted from the tokens before it.

    tokens: (tokens,) of any integer type. Each batch is converted to int64, so they may be memory-mapped.

    Training cuts the stream into as many contiguous rows as a batch has, of lengths that differ by one at most; an
    update scores the next `scored` tokens of every row, so that an epoch scores every token once.  Evaluation scores
    every token once too, from the tokens before it: all that its window or the backbone's state holds.
    """

    tokens: Tensor
    before: int
    """The token before the first one, so that the first one is predicted too."""
    scored: int
    """Tokens per row that an update scores, >= 1."""
    history: int | None
    """Tokens that a training window shows before the scored ones, fewer at the start of a row. None: the state is
    carried from window to window without its gradient, and reset at each epoch."""
    rows: int = 1
    """Contiguous rows in evaluation, at most: more are faster.  Each reads the tokens before it first, and a short
    stream has fewer, so that scores do not depend on them."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 1 or self.tokens.is_floating_point() or self.scored < 1 or (self.history or 0) < 0:
            raise ValueError(
                f"tokens {tuple(self.tokens.shape)} {self.tokens.dtype}, scored {self.scored}, history {self.history}"
            )

    def __len__(self) -> int:
        return len(self.tokens)


Dataset = Arrays | Ragged | Stream


def resident(dataset: Dataset, device: torch.device) -> Dataset:
    """Return the data in the memory of a device, from which batches are cut. Lengths stay on the host."""
    if isinstance(dataset, Stream):
        return replace(dataset, tokens=dataset.tokens.to(device))
    return replace(dataset, inputs=dataset.inputs.to(device), targets=dataset.targets.to(device))


def sample(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Draw `count` sequences without replacement; itself where the dataset has no more.

    They keep their order.  Of a stream: `count` windows of its scored tokens side by side, from a drawn token on.
    """
    if isinstance(dataset, Stream):
        return _piece(dataset, count * dataset.scored, seed)
    if len(dataset) <= count:
        return dataset
    drawn = torch.zeros(len(dataset), dtype=torch.bool)
    drawn[np.random.default_rng(seed).permutation(len(dataset))[:count]] = True
    if isinstance(dataset, Arrays):
        return replace(dataset, inputs=dataset.inputs[drawn], targets=dataset.targets[drawn])
    frames = drawn.repeat_interleave(dataset.lengths)
    targets = dataset.targets[drawn if dataset.last else frames]
    return replace(dataset, inputs=dataset.inputs[frames], targets=targets, lengths=dataset.lengths[drawn])


def _piece(stream: Stream, tokens: int, seed: int) -> Stream:
    """Return a contiguous piece of a stream, with the token before it."""
    if len(stream) <= tokens:
        return stream
    first = int(np.random.default_rng(seed).integers(len(stream) - tokens + 1))
    before = int(stream.tokens[first - 1]) if first else stream.before
    kept = stream.tokens[first : first + tokens]
    return replace(stream, tokens=kept, before=before, rows=min(stream.rows, len(kept)))


@dataclass(frozen=True)
class Batch:
    """What one update or one evaluation step reads; all tensors are on one device.

    inputs: (batch, time, channels) float32 or (batch, time) int64. targets: as the dataset's, padded on the right.
    lengths: (batch,) int64 if sequences differ in length, else None: every step is real. For a stream, time covers the
    scored steps.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    scored: int | None = None
    """Number of last steps at which outputs are read; `targets` has as many steps.  None: every step."""
    last: bool = False
    """Whether only the output at each sequence's last step is read, (batch, n), whatever the task's readout."""
    continues: bool | None = None
    """Whether the sequences continue those of the previous batch; None if no state is carried."""

    @property
    def mask(self) -> Tensor | None:
        """Return (batch, time) bool, true at real steps; None if all steps are real, or only the last one is read."""
        if self.lengths is None or self.last:
            return None
        steps = torch.arange(self.targets.shape[1], device=self.targets.device)
        return steps < self.lengths[:, None]
