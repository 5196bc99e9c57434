"""Data that a caller has in memory, as the files that tasks read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    DataLike = str | os.PathLike[str] | pd.DataFrame | Mapping[str, ArrayLike]
    """The path of a file, a data frame, or arrays by name as a NumPy file has them."""


def data_file(data: DataLike, folder: Path, name: str) -> Path:
    """Return a file with these data: their own path, or a new file in `folder` named by its content.

    Raises DataError if the data cannot be written, such as a frame with a column of Python objects.
    """
    if isinstance(data, str | os.PathLike):
        return Path(data)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{name}.writing"
    ending = ".npz" if isinstance(data, Mapping) else ".parquet"
    try:
        write_data(data, temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()[:12]
    return temporary.replace(folder / f"{name}-{digest}{ending}")


def write_data(data: pd.DataFrame | Mapping[str, ArrayLike], path: Path) -> None:
    """Write a frame as Parquet, or arrays as an uncompressed NumPy file, whatever the path's ending.

    The index of a frame is left out, as in a CSV file without it.  Raises DataError if the data cannot be written.
    """
    try:
        with path.open("wb") as file:
            if isinstance(data, Mapping):
                arrays: dict[str, Any] = {key: np.asarray(values) for key, values in data.items()}
                np.savez(file, **arrays)
            else:
                data.to_parquet(file, index=False)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"data: cannot be stored as a file ({reason}); give columns of numbers, text or times"
        ) from error
