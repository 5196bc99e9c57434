"""The shapes in which a task provides its data. `training.batches` turns them into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

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
        """First frame of each sequence: (sequences,) int64."""
        return torch.cumsum(self.lengths, 0) - self.lengths


@dataclass(frozen=True)
class Stream:
    """One long sequence of tokens, each a target that is predicted from the tokens before it.

    tokens: (tokens,) of any integer type. Each batch is converted to int64, so they may be memory-mapped.

    Training cuts the stream into as many contiguous rows as a batch has, with lengths that differ by at most one. An
    update scores the next `scored` tokens of every row, so an epoch scores every token once. Evaluation also scores
    every token once, each from all tokens before it in its row if the backbone offers `scan`.
    """

    tokens: Tensor
    before: int
    """The token before the first one, so that the first one is predicted too."""
    scored: int
    """Tokens of a row that an update scores, >= 1."""
    history: int | None
    """Tokens that a training window shows before the scored ones, fewer at the start of a row. None: the state is
    carried from window to window without its gradient, and reset at each epoch."""
    rows: int = 1
    """Contiguous rows in evaluation, each begun without history: more are faster and forget a little."""

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


def first(dataset: Dataset, count: int) -> Dataset:
    """The first `count` sequences, or of a stream as many windows of its scored tokens; views, no copies."""
    match dataset:
        case Arrays():
            return replace(dataset, inputs=dataset.inputs[:count], targets=dataset.targets[:count])
        case Ragged():
            lengths = dataset.lengths[:count]
            frames = int(lengths.sum())
            targets = dataset.targets[: len(lengths) if dataset.last else frames]
            return replace(dataset, inputs=dataset.inputs[:frames], targets=targets, lengths=lengths)
        case Stream():
            tokens = dataset.tokens[: count * dataset.scored]
            return replace(dataset, tokens=tokens, rows=min(dataset.rows, len(tokens)))


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
    """Outputs are read at the last so many steps alone, and targets are as many; None: at every step."""
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
