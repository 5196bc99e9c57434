"""Arrays on disk, parsed once from data files. The workers of a machine memory-map them and so share their pages.

They are stored below `parsed` in the cache folder, one folder per set: <name>-<version>-<digest of the
sources>/<array>.npy. A folder is complete or absent, so several processes may parse at the same time; that only costs
time.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from harness.data.files import CACHE, cache_folder
from harness.errors import DataError

Array = npt.NDArray[np.generic]

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
"""Errors of rename(2) onto a folder that another process completed first."""


def parsed_arrays(
    name: str, sources: Sequence[Path], parse: Callable[[], Iterable[tuple[str, Array]]], *, version: int
) -> dict[str, Array]:
    """Return the arrays that `parse` yields, by name, memory-mapped copy-on-write: a write stays in this process.

    name: a file name in kebab-case. version: to be raised whenever `parse` yields something else. `parse` runs only if
    the cache has no arrays of sources with the same content. Its arrays are written one by one, so it need not hold
    them all.
    """
    folder = cache_folder() / "parsed" / f"{name}-{version}-{_digest(sources)}"
    if not folder.is_dir():
        _store(folder, parse())
    return {path.stem: _mapped(path) for path in sorted(folder.glob("*.npy"))}


def _digest(sources: Sequence[Path]) -> str:
    """Return a digest of the sources' content in their order, independent of their paths: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sources:
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise DataError(f"data file {path} cannot be read ({_reason(error)})") from error
    return digest.hexdigest()[:16]


def _store(folder: Path, arrays: Iterable[tuple[str, Array]]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".parse-") as temporary:
            partial = Path(temporary) / folder.name
            partial.mkdir()
            for name, array in arrays:
                _write(partial / f"{name}.npy", array)
            _publish(partial, folder)
    except OSError as error:
        raise DataError(
            f"parsed data cannot be written to {folder} ({_reason(error)}); "
            f"see that there is room and that it can be written, or set {CACHE} to another folder"
        ) from error


def _write(path: Path, array: Array) -> None:
    """Write and flush an array to disk before its folder is published, so that a power cut leaves no partial folder."""
    with path.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())


def _publish(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise


def _mapped(path: Path) -> Array:
    # Mode "r" would share pages as well, but torch warns of tensors on memory that it must not write.
    try:
        array: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"parsed data {path} cannot be read ({_reason(error)}); delete the folder {path.parent} to parse them again"
        ) from error
    return array


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or (str(error).splitlines() or [type(error).__name__])[0]
