"""The containers in which a task returns its data; `harness.training.batches` cuts them into batches."""

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

    inputs: (sequences, time, channels) float32, or (sequences, time) int64 tokens.  Another type or shape is allowed
    if `prepare` converts it.  Nothing writes to the inputs, so they may be memory-mapped.
    targets: (sequences, ...), as the task's loss reads them.

    Raises ValueError if the numbers of inputs and targets differ.
    """

    inputs: Tensor
    targets: Tensor
    prepare: Callable[[Batch], Batch] | None = None
    """Function applied to every batch on its device, in training and in evaluation; None: no conversion.

    Use it for data that are stored in a compact form, such as bytes that are scaled one batch at a time.  It must
    not draw random numbers.
    """

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} input sequences but {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths, concatenated along time, with a target at each step or at the last one.

    inputs: (frames, channels) float32, or (frames,) int64 tokens.
    targets: (frames, ...), or (sequences, ...) if `last` is true.
    lengths: (sequences,) int64, each > 0; they sum to frames.

    Raises ValueError if inputs, targets and lengths do not fit together.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor
    last: bool = False
    """Whether each sequence has one target, read at its last step; overrides the readout of the task."""

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
    """One long sequence of tokens; each token is predicted from the tokens before it.

    tokens: (tokens,) of any integer type.  They are converted to int64 one batch at a time, so they may be
    memory-mapped.

    Training cuts the stream into `batch_size` contiguous rows, whose lengths differ by at most one.  An update scores
    the next `scored` tokens of every row, so an epoch scores every token once.  Evaluation also scores every token
    once.  If the backbone offers `scan`, each token is predicted from all earlier tokens of its row.

    Raises ValueError if a field is out of range or `tokens` is not a vector of integers.
    """

    tokens: Tensor
    before: int
    """The token that precedes the first one, so that the first one is predicted too."""
    scored: int
    """Tokens per row that an update scores, >= 1."""
    history: int | None
    """Tokens per row that a training window includes before the scored ones (fewer at the start of a row), >= 0.
    None: the state is carried from window to window instead, without gradient, and is reset at each epoch."""
    rows: int = 1
    """Contiguous rows in evaluation, each started without history.  More rows are faster but lose some context."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 1 or self.tokens.is_floating_point() or self.scored < 1 or (self.history or 0) < 0:
            raise ValueError(
                f"tokens {tuple(self.tokens.shape)} {self.tokens.dtype}, scored {self.scored}, history {self.history}"
            )

    def __len__(self) -> int:
        return len(self.tokens)


Dataset = Arrays | Ragged | Stream


def resident(dataset: Dataset, device: torch.device) -> Dataset:
    """Return the dataset in the memory of `device`.

    Batches are cut there.  Lengths stay on the host, which decides where to cut.
    """
    if isinstance(dataset, Stream):
        return replace(dataset, tokens=dataset.tokens.to(device))
    return replace(dataset, inputs=dataset.inputs.to(device), targets=dataset.targets.to(device))


def first(dataset: Dataset, count: int) -> Dataset:
    """Return the first `count` sequences, or the first `count` windows of scored tokens of a stream.

    The result holds views, not copies.
    """
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
    """The data of one update or one evaluation step, all on one device.

    inputs: (batch, time, channels) float32 or (batch, time) int64.
    targets: as in the dataset, padded on the right.
    lengths: (batch,) int64 if sequences differ in length; None: every step is real.  For a stream, the number of
    scored steps.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    scored: int | None = None
    """Number of last steps at which outputs are read; `targets` has as many steps.  None: every step."""
    last: bool = False
    """Whether outputs are read only at each sequence's last step, (batch, n); overrides the readout of the task."""
    continues: bool | None = None
    """Whether the sequences continue those of the previous batch; None if no state is carried."""

    @property
    def mask(self) -> Tensor | None:
        """Mask of real steps, (batch, time) bool; None if all steps are real or only the last one is read."""
        if self.lengths is None or self.last:
            return None
        steps = torch.arange(self.targets.shape[1], device=self.targets.device)
        return steps < self.lengths[:, None]
