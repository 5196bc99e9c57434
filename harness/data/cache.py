"""Data files → arrays on disk, parsed once, which the workers of a machine map and so hold in memory once.

They lie below `parsed` in the cache folder, one folder a set: <name>-<version>-<digest of the sources>/<array>.npy.
A folder is complete or not there, so parsing at the same moment in several processes costs time and nothing else.
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
"""What a rename onto a folder that another process completed first fails with, rename(2)."""


def parsed_arrays(
    name: str, sources: Sequence[Path], parse: Callable[[], Iterable[tuple[str, Array]]], *, version: int
) -> dict[str, Array]:
    """The arrays that `parse` yields, by name, mapped copy-on-write: a write stays in this process and costs it a page.

    name: a file name, kebab-case.  version: to be raised whenever `parse` comes to yield something else.
    `parse` runs where no process of this cache has parsed sources of the same content; its arrays are written one by
    one, so it need not hold them all.
    """
    folder = cache_folder() / "parsed" / f"{name}-{version}-{_digest(sources)}"
    if not folder.is_dir():
        _store(folder, parse())
    return {path.stem: _mapped(path) for path in sorted(folder.glob("*.npy"))}


def _digest(sources: Sequence[Path]) -> str:
    """Of the content of the sources in their order, wherever they lie: 16 hexadecimal digits."""
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
    """On the disk before it is published: a folder that survives a power cut holds what was parsed."""
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
            f"parsed data {path} cannot be read ({_reason(error)}); delete the folder {path.parent}: it is made anew"
        ) from error
    return array


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or (str(error).splitlines() or [type(error).__name__])[0]
