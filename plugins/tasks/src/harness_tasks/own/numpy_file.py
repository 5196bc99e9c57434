"""Arrays of NumPy files, .npy and .npz, as a table of one row per time step.  Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness import DataError
from harness_tasks.own.dense import dense
from harness_tasks.own.layout import Array, Layout, Table
from harness_tasks.own.plain_types import from_numpy

INPUTS = ("x", "X", "inputs", "data", "features")
"""Names that the inputs of an .npz file may have."""


def read_npy(path: Path, layout: Layout, folder: Path) -> Table:
    array = _without_pickle(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays; rename it to {path.stem}.npz")
    if array.dtype.names and array.ndim == 1:
        return Table(path, len(array), array.dtype.names, lambda name: from_numpy(array[name]))
    if array.ndim == 3:
        return dense(path, "", array, None, {})
    if array.ndim not in (1, 2):
        raise DataError(f"{path}: has {array.ndim} axes; give (time,), (time, columns) or (sequences, time, columns)")
    columns = array[:, None] if array.ndim == 1 else array
    names = tuple(str(number) for number in range(columns.shape[1]))
    return Table(path, len(columns), names, lambda name: from_numpy(columns[:, int(name)]))


def read_npz(path: Path, layout: Layout, folder: Path) -> Table:
    with path.open("rb") as content:  # NumPy leaves a damaged archive open if it opens the path itself
        opened = _without_pickle(path, lambda: np.load(content, allow_pickle=False))
        if isinstance(opened, np.ndarray):
            raise DataError(f"{path}: holds one array without a name; rename it to {path.stem}.npy")
        with opened as file:
            members = {name: _without_pickle(path, partial(file.__getitem__, name)) for name in file.files}
    arrays = {name: array for name, array in members.items() if isinstance(array, np.ndarray)}
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    name = layout.inputs or next((name for name in INPUTS if name in arrays), None)
    if name is None or name not in arrays:
        raise DataError(f"{path}: which array holds the inputs? Say inputs = NAME; it has {shapes or 'none'}")
    inputs = arrays.pop(name)
    lengths_name = layout.lengths or ("lengths" if "lengths" in arrays else None)
    if lengths_name is not None and lengths_name not in arrays:
        raise DataError(f"{path}: has no array {lengths_name!r} of lengths; it has {shapes}")
    lengths = None if lengths_name is None else arrays.pop(lengths_name)
    if layout.target is not None and layout.target in arrays:
        _check_target(path, name, inputs, lengths, layout.target, arrays[layout.target])
    return dense(path, name, inputs, lengths, arrays)


def _check_target(path: Path, name: str, inputs: Array, lengths: Array | None, target_name: str, target: Array) -> None:
    """Raise DataError if the arrays look like concatenated sequences without their lengths."""
    if lengths is None and inputs.ndim == 2 and target.ndim == 1 and len(target) not in (len(inputs), 1):
        raise DataError(
            f"{path}: {name} has {len(inputs):,} rows and {target_name} {len(target):,}; if these are frames of "
            "concatenated sequences of different lengths, add an array lengths with the frames of each"
        )


def _without_pickle(path: Path, read: Callable[[], Any]) -> Any:
    """Return what NumPy reads.  Raises DataError for Python objects: unpickling them could run code."""
    try:
        return read()
    except ValueError as error:
        if not any(word in str(error) for word in ("pickle", "Python objects")):
            raise
        raise DataError(
            f"{path}: holds Python objects (a list of sequences of different lengths?), which are not read, as that "
            "could run code; concatenate the sequences in one array and add an array lengths"
        ) from error
