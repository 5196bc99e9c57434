"""Batches of several runs joined along a leading dimension."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from harness.api.dataset import Batch


def are_static(batches: list[Batch]) -> bool:
    """Whether nothing but numbers differs between these batches, and from those of another update."""
    first = batches[0]
    return first.continues is None and all(
        batch.lengths is None
        and batch.inputs.shape == first.inputs.shape
        and batch.targets.shape == first.targets.shape
        for batch in batches
    )


def join_batches(batches: list[Batch]) -> Batch:
    """Inputs (runs, batch, time, ...), padded on the right where the runs' shapes differ.

    The targets, and with them what a loss masks, stay with the runs' own batches.
    """
    first = batches[0]
    if len({(batch.scored, batch.continues, batch.last) for batch in batches}) > 1:
        raise ValueError("the runs read their streams at different places")
    rows, steps = (max(batch.inputs.shape[axis] for batch in batches) for axis in (0, 1))
    inputs = torch.stack([_padded(batch.inputs, rows, steps) for batch in batches])
    lengths = None
    if any(batch.lengths is not None or batch.inputs.shape[:2] != (rows, steps) for batch in batches):
        lengths = torch.stack([_padded_lengths(batch, rows) for batch in batches])
    return replace(first, inputs=inputs, targets=inputs, lengths=lengths)


def _padded(x: Tensor, rows: int, steps: int) -> Tensor:
    """(batch, time, ...) with zeros up to (rows, steps, ...)."""
    if x.shape[:2] == (rows, steps):
        return x
    padded = x.new_zeros(rows, steps, *x.shape[2:])
    padded[: x.shape[0], : x.shape[1]] = x
    return padded


def _padded_lengths(batch: Batch, rows: int) -> Tensor:
    """(rows,): of a row that is padding, one step."""
    lengths = batch.lengths
    if lengths is None:
        lengths = torch.full((len(batch.inputs),), batch.inputs.shape[1], device=batch.inputs.device)
    return torch.cat([lengths, lengths.new_ones(rows - len(lengths))])


def without_padding(output: Tensor, batch: Batch) -> Tensor:
    """A run's outputs without what its batch was padded by: (batch, n), or (batch, time, n)."""
    output = output[: len(batch.inputs)]
    return output if output.ndim == 2 else output[:, : batch.inputs.shape[1]]


def count_on_device(count: Tensor | int, like: Tensor) -> Tensor:
    return count if isinstance(count, Tensor) else torch.full((), count, device=like.device)


def broadcast_over_runs(values: Tensor, like: Tensor) -> Tensor:
    """(runs,) → (runs, 1, ...), as many axes as `like` has."""
    return values.view(-1, *[1] * (like.ndim - 1))
