"""Arrays whose shape defines sequences and steps, as a table of one row per time step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness import DataError
from harness_tasks.own.layout import SEQUENCE, STEP, Array, Column, Table
from harness_tasks.own.plain_types import from_numpy


def dense(
    path: Path,
    name: str,
    inputs: Array,
    lengths: Array | None,
    others: Mapping[str, Array],
    *,
    notes: tuple[str, ...] = (),
) -> Table:
    """Return a table of (sequences, time, channels) or (sequences, time), of one length or padded; or of concatenated
    steps.

    Without `lengths`, a sequence ends where NaN begins in all channels, as in the UCR archive.
    """
    if lengths is not None and (lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any()):
        raise DataError(f"{path}: lengths are not valid; give one whole number of at least 1 for each sequence")
    if inputs.ndim not in (2, 3) or 0 in inputs.shape:
        raise DataError(
            f"{path}: {name or 'the array'} has the shape {inputs.shape}; give (sequences, time) or (sequences, time, "
            "channels), none of them 0"
        )
    if lengths is not None and _is_packed(inputs, lengths):
        return _laid_out(path, name, _Frames(inputs.reshape(len(inputs), -1), lengths.astype(np.int64)), others, notes)
    count, time = inputs.shape[:2]
    steps = real_steps(inputs) if lengths is None else lengths.astype(np.int64)
    if len(steps) != count or steps.max() > time:
        raise DataError(
            f"{path}: {name} has the shape {inputs.shape}, but there are {len(steps):,} lengths of up to "
            f"{steps.max():,}, {steps.sum():,} in all"
        )
    if lengths is None and steps.min() < time:
        notes = (*notes, f"sequences end where NaN begins: {steps.min():,} to {steps.max():,} steps")
    kept = (np.arange(time) < steps[:, None]).ravel()
    frames = _Frames(inputs.reshape(count * time, -1), steps, None if kept.all() else kept)
    return _laid_out(path, name, frames, others, notes)


def _is_packed(inputs: Array, lengths: Array) -> bool:
    """Return whether sequences are concatenated: the array has as many rows as the sum of the lengths."""
    return len(inputs) == lengths.sum() and (len(inputs) != len(lengths) or inputs.ndim == 2)


def real_steps(inputs: Array) -> npt.NDArray[np.int64]:
    """Return (sequences,): steps up to the last value.  A sequence without any value keeps all steps."""
    count, time = inputs.shape[:2]
    if inputs.dtype.kind != "f":
        return np.full(count, time)
    last = np.flip(~np.isnan(inputs.reshape(count, time, -1)), axis=1).any(-1)
    return np.asarray(time - np.argmax(last, axis=1))


@dataclass(frozen=True)
class _Frames:
    """Steps of all sequences, one after another."""

    values: Array
    """(steps, channels), with padding if there is any."""
    steps: Array
    """Real steps of each sequence: (sequences,)."""
    kept: npt.NDArray[np.bool_] | None = None
    """Which rows of `values` are real; None: all."""

    def real(self, values: Array) -> Array:
        return values if self.kept is None else values[self.kept]


def _laid_out(path: Path, name: str, frames: _Frames, others: Mapping[str, Array], notes: tuple[str, ...]) -> Table:
    """Return a table of the real steps; a value per sequence is repeated at each of its steps."""
    steps, count = frames.steps, frames.values.shape[1]
    channels = [name or "x"] if count == 1 else [f"{name}-{n}".strip("-") for n in range(count)]

    def values(column: str) -> Array:
        if column in channels:
            return frames.real(frames.values[:, channels.index(column)])
        if column in others:
            return _spread(path, column, others[column], frames)
        sequence = np.repeat(np.arange(len(steps)), steps)
        return sequence if column == SEQUENCE else np.arange(len(sequence)) - (np.cumsum(steps) - steps)[sequence]

    def read(column: str) -> Column:
        cells = values(column)
        return pa.array(cells) if cells.dtype == object else from_numpy(cells)

    return Table(
        path,
        int(steps.sum()),
        (*channels, *others, SEQUENCE, STEP),
        read,
        {"sequence": SEQUENCE, "time": STEP},
        tuple(channels),
        notes=notes,
    )


def _spread(path: Path, name: str, array: Array, frames: _Frames) -> Array:
    """Return an array of one value per sequence or per step as a column."""
    steps, rows = frames.steps, len(frames.values)
    flat = array.reshape(-1) if array.size in (len(steps), rows) else array
    if flat.ndim == 1 and len(flat) == rows and (array.ndim > 1 or rows != len(steps)):
        return frames.real(flat)
    if flat.ndim == 1 and len(flat) == len(steps):
        return np.repeat(flat, steps)
    raise DataError(
        f"{path}: {name} has the shape {array.shape}; give one value for each of {len(steps):,} sequences, or one for "
        f"each of {rows:,} steps"
    )
