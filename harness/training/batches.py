"""Arrays, ragged sequences and token streams → batches, every sequence and every token once an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.api.dataset import Arrays, Batch, Dataset, Ragged, Stream
from harness.seeds import derive

POOL_BATCHES = 16
"""Batches' worth of shuffled sequences that are sorted by length together: more pads less and mixes less."""

Members = npt.NDArray[np.int64]
"""Which sequences make a batch."""


@dataclass(frozen=True)
class _Epoch:
    """The batches of one epoch, as indices here and on the device."""

    number: int
    members: list[Members]
    indices: tuple[Tensor, ...]


class TrainingBatches:
    """The batches of a training run.

    `at(update)` depends on nothing but the dataset, the batch size, the seed and the update, so a trial resumes
    anywhere; only the epoch last asked for is kept.
    """

    def __init__(self, dataset: Arrays | Ragged, *, batch_size: int, order_seed: int, device: torch.device) -> None:
        self._lengths = dataset.lengths.numpy() if isinstance(dataset, Ragged) else None
        self._store = _store(dataset, device)
        self._count = len(dataset)
        self._batch_size = batch_size
        self._order_seed = order_seed
        self._device = device
        self._epoch: _Epoch | None = None

    @property
    def per_epoch(self) -> int:
        """Updates in an epoch; where the batch size does not divide the sequences, one batch is smaller."""
        return -(-self._count // self._batch_size)

    @property
    def padding(self) -> float | None:
        """Padded over real frames of the first epoch, minus 1; None where all sequences have one length."""
        if self._lengths is None:
            return None
        padded = sum(len(members) * int(self._lengths[members].max()) for members in self._members(0))
        return padded / int(self._lengths.sum()) - 1

    def at(self, update: int) -> Batch:
        """The batch of an update, counted from 0."""
        number, position = divmod(update, self.per_epoch)
        if self._epoch is None or self._epoch.number != number:
            self._epoch = self._make_epoch(number)
        return self._store.take(self._epoch.members[position], self._epoch.indices[position])

    def _make_epoch(self, number: int) -> _Epoch:
        members = self._members(number)
        order = torch.from_numpy(np.concatenate(members)).to(self._device)  # (sequences,): one transfer an epoch
        return _Epoch(number, members, torch.split(order, [len(batch) for batch in members]))

    def _members(self, number: int) -> list[Members]:
        random = np.random.default_rng(derive(self._order_seed, number))
        if self._lengths is None:
            return _cut(random.permutation(self._count), self._batch_size)
        return _bucketed(self._lengths, self._batch_size, random)


class StreamBatches:
    """The windows of a stream in `rows` contiguous rows, epoch after epoch in the same order.

    `at(update)` depends on nothing but the update, so a trial resumes anywhere; the state that a backbone carries is
    the loop's to keep.
    """

    padding = None

    def __init__(
        self, stream: Stream, *, rows: int, scored: int, history: int | None, device: torch.device, lead: int = 0
    ) -> None:
        """scored: tokens of a row that a window scores.  history: see `Stream`.

        lead: tokens that every row reads in windows of their own before those that it scores.  The rows are cut from
        the stream after its first `lead` tokens, which the first row scores too: so every token is scored once, and
        every row has as long a past.
        """
        shorter, longer_rows = divmod(len(stream) - lead, rows)
        if shorter < 1:
            raise ValueError(f"a stream of {len(stream)} tokens cannot be cut into {rows} rows after {lead} tokens")
        self._tokens = stream.tokens.to(device)
        self._before = stream.before
        self._scored = scored
        self._history = history
        self._lead = lead
        self._lead_windows = -(-lead // scored)
        self._longest = shorter + (longer_rows > 0)
        self._shortest = shorter
        lengths = torch.full((rows,), shorter)
        lengths[:longer_rows] += 1
        self._lengths = lengths.to(device)  # (rows,)
        starts = torch.cumsum(lengths, 0) - lengths + lead
        self._starts = starts.to(device)  # (rows,): where in the stream a row begins
        self._is_first = (torch.arange(rows) == 0).to(device)  # (rows,)

    @property
    def per_epoch(self) -> int:
        """Windows in an epoch; the last one is shorter where `scored` does not divide the rows."""
        return self._lead_windows + -(-self._longest // self._scored)

    def at(self, update: int) -> Batch:
        """The batch of an update, counted from 0: inputs (rows, history + scored), targets (rows, scored)."""
        first, stop = self._positions(update % self.per_epoch)
        history = min(self._history or 0, first + self._lead)
        steps = torch.arange(first - history, stop, device=self._starts.device)
        places = self._starts[:, None] + steps  # (rows, history + scored): of the targets
        return Batch(
            self._inputs(places),
            self._tokens[places[:, history:].clamp(max=len(self._tokens) - 1)].long(),
            lengths=self._scored_steps(first, stop),
            scored=None if self._history is None else stop - first,
            continues=first > -self._lead if self._history is None else None,
        )

    def _positions(self, window: int) -> tuple[int, int]:
        """Return where in the rows a window begins and stops; below 0 in their lead."""
        if window < self._lead_windows:
            first = window * self._scored - self._lead
            return first, min(first + self._scored, 0)
        first = (window - self._lead_windows) * self._scored
        return first, min(first + self._scored, self._longest)

    def _scored_steps(self, first: int, stop: int) -> Tensor | None:
        """Return how many of these positions each row scores: (rows,); None where all."""
        if first < 0:
            return self._is_first * (stop - first)
        return (self._lengths - first).clamp(max=stop - first) if stop > self._shortest else None

    def _inputs(self, places: Tensor) -> Tensor:
        """The tokens before those at `places`."""
        return torch.where(places == 0, self._before, self._tokens[(places - 1).clamp(min=0)].long())

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""
        return (self.at(update) for update in range(self.per_epoch))


def training_batches(
    dataset: Dataset, *, batch_size: int, order_seed: int, device: torch.device
) -> TrainingBatches | StreamBatches:
    """Batches in an order drawn again each epoch from `order_seed`, a stream's in its own order; data on `device`."""
    if isinstance(dataset, Stream):
        return StreamBatches(dataset, rows=batch_size, scored=dataset.scored, history=dataset.history, device=device)
    return TrainingBatches(dataset, batch_size=batch_size, order_seed=order_seed, device=device)


def evaluation_batches(dataset: Arrays | Ragged, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """Every sequence once: in order, or from the shortest to the longest where lengths differ."""
    store = _store(dataset, device)
    order = np.argsort(dataset.lengths.numpy(), kind="stable") if isinstance(dataset, Ragged) else None
    for members in _cut(np.arange(len(dataset)) if order is None else order, batch_size):
        yield store.take(members, torch.from_numpy(members).to(device))


def _cut(order: Members, batch_size: int) -> list[Members]:
    return np.split(order, range(batch_size, len(order), batch_size))


def _bucketed(lengths: Members, batch_size: int, random: np.random.Generator) -> list[Members]:
    """Sequences of like length together: shuffle, sort within pools, cut, shuffle the batches."""
    batches: list[Members] = []
    for pool in _cut(random.permutation(len(lengths)), POOL_BATCHES * batch_size):
        batches += _cut(pool[np.argsort(lengths[pool], kind="stable")], batch_size)
    return [batches[place] for place in random.permutation(len(batches))]


class _Rows:
    """Sequences of one length, on the device."""

    def __init__(self, data: Arrays, device: torch.device) -> None:
        self._inputs = data.inputs.to(device)
        self._targets = data.targets.to(device)
        self._prepare = data.prepare

    def take(self, members: Members, index: Tensor) -> Batch:  # `_Frames` needs it on the host
        batch = Batch(self._inputs.index_select(0, index), self._targets.index_select(0, index))
        return batch if self._prepare is None else self._prepare(batch)


class _Frames:
    """Frames laid end to end on the device, with one frame of zeros behind them that padding points at."""

    def __init__(self, data: Ragged, device: torch.device) -> None:
        self._host_lengths = data.lengths.numpy()
        self._inputs = _with_zero_frame(data.inputs, device)
        self._last = data.last
        self._targets = data.targets.to(device) if data.last else _with_zero_frame(data.targets, device)
        self._lengths = data.lengths.to(device)
        self._host_starts = data.starts.numpy()
        self._starts = data.starts.to(device)
        self._zero_frame = len(data.inputs)

    def take(self, members: Members, index: Tensor) -> Batch:
        return self._one(int(members[0])) if len(members) == 1 else self._several(members, index)

    def _one(self, member: int) -> Batch:
        """Views of one sequence: nothing to pad, nothing copied."""
        first = int(self._host_starts[member])
        frames = slice(first, first + int(self._host_lengths[member]))
        targets = self._targets[member, None] if self._last else self._targets[None, frames]
        return Batch(self._inputs[None, frames], targets, last=self._last)

    def _several(self, members: Members, index: Tensor) -> Batch:
        lengths = self._host_lengths[members]  # on the host: reading `longest` from a device would wait for it
        longest = int(lengths.max())
        steps = torch.arange(longest, device=index.device)
        real = steps < self._lengths[index][:, None]  # (batch, longest)
        frames = torch.where(real, self._starts[index][:, None] + steps, self._zero_frame)
        return Batch(
            _gather(self._inputs, frames),
            self._targets.index_select(0, index) if self._last else _gather(self._targets, frames),
            None if int(lengths.min()) == longest else self._lengths[index],
            last=self._last,
        )


def _store(dataset: Arrays | Ragged, device: torch.device) -> _Rows | _Frames:
    return _Rows(dataset, device) if isinstance(dataset, Arrays) else _Frames(dataset, device)


def _with_zero_frame(frames: Tensor, device: torch.device) -> Tensor:
    return torch.cat([frames.to(device), torch.zeros_like(frames[:1], device=device)])


def _gather(flat: Tensor, frames: Tensor) -> Tensor:
    """(frames, ...) at (batch, time) → (batch, time, ...)."""
    return flat.index_select(0, frames.flatten()).reshape(*frames.shape, *flat.shape[1:])
