"""Arrays whose shape says what is a sequence and what a step, as a table of one row a time step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness import DataError
from harness_tasks.own.layout import SEQUENCE, STEP, Array, Table


def dense(path: Path, name: str, inputs: Array, lengths: Array | None, others: Mapping[str, Array]) -> Table:
    """(sequences, time, channels) or (sequences, time), all of one length or padded; or frames end to end."""
    if lengths is not None and (lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any()):
        raise DataError(f"{path}: lengths must be one whole number of at least 1 for each sequence")
    if inputs.ndim not in (2, 3):
        raise DataError(
            f"{path}: {name} has the shape {inputs.shape}; give (sequences, time) or (sequences, time, channels)"
        )
    packed = lengths is not None and len(inputs) == lengths.sum() and len(inputs) != len(lengths)
    packed = packed or (lengths is not None and inputs.ndim == 2 and len(inputs) == lengths.sum())
    if packed and lengths is not None:
        frames, steps = inputs.reshape(len(inputs), -1), lengths.astype(np.int64)
        kept = None
    else:
        count, time = inputs.shape[:2]
        steps = np.full(count, time) if lengths is None else lengths.astype(np.int64)
        if len(steps) != count or (count and steps.max() > time):
            raise DataError(
                f"{path}: {name} has the shape {inputs.shape}, but there are {len(steps):,} lengths of up to "
                f"{steps.max():,}, {steps.sum():,} in all"
            )
        frames = inputs.reshape(count * time, -1)
        kept = None if lengths is None else (np.arange(time) < steps[:, None]).ravel()
    return laid_out(path, name, frames, steps, kept, others)


def laid_out(
    path: Path, name: str, frames: Array, steps: Array, kept: npt.NDArray[np.bool_] | None, others: Mapping[str, Array]
) -> Table:
    """Columns over the real steps; arrays of one value a sequence stand at each of its steps."""
    starts = np.cumsum(steps) - steps
    channels = [name or "x"] if frames.shape[1] == 1 else [f"{name}-{n}".strip("-") for n in range(frames.shape[1])]

    def values(column: str) -> Array:
        if column in channels:
            channel = frames[:, channels.index(column)]
            return channel if kept is None else channel[kept]
        if column in others:
            return _spread(path, column, others[column], steps, len(frames), kept)
        sequence = np.repeat(np.arange(len(steps)), steps)
        return sequence if column == SEQUENCE else np.arange(len(sequence)) - starts[sequence]

    return Table(
        path,
        int(steps.sum()),
        (*channels, *others, SEQUENCE, STEP),
        lambda column: pa.array(np.ascontiguousarray(values(column))),
        {"sequence": SEQUENCE, "time": STEP},
        tuple(channels),
    )


def _spread(
    path: Path, name: str, array: Array, steps: Array, frames: int, kept: npt.NDArray[np.bool_] | None
) -> Array:
    """An array of one value a sequence, or one a step, as a column."""
    flat = array.reshape(-1) if array.size in (len(steps), frames) else array
    if flat.ndim == 1 and len(flat) == frames and (array.ndim > 1 or frames != len(steps)):
        return flat if kept is None else flat[kept]
    if flat.ndim == 1 and len(flat) == len(steps):
        return np.repeat(flat, steps)
    raise DataError(
        f"{path}: {name} has the shape {array.shape}; give one value for each of {len(steps):,} sequences, or one for "
        f"each of {frames:,} steps"
    )
