"""A cache of arrays parsed from data files.

The arrays are stored on disk and memory-mapped, so the workers of a machine hold them in memory once.  Each set has
one folder below `parsed` in the cache folder: <name>-<version>-<digest of the sources>/<array>.npy.  A folder is
either complete or absent.  If several processes parse the same files at once, they only lose time.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from harness.data.files import CACHE, cache_folder, reason
from harness.errors import DataError

Array = npt.NDArray[np.generic]

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
"""Errors of a rename onto a folder that another process has completed first, see rename(2)."""


def parsed_arrays(
    name: str, sources: Sequence[Path], parse: Callable[[], Iterable[tuple[str, Array]]], *, version: int
) -> dict[str, Array]:
    """Return the arrays that `parse` yields, by name, from the cache.

    name: name of the set, a file name in kebab-case.
    sources: the files that `parse` reads, in a fixed order; their content is part of the key of the cache.
    parse: function that yields (name, array).  It runs only if no process has cached sources of the same content.
    Its arrays are written one by one, so it need not hold all of them.
    version: increase it whenever `parse` yields something else.

    The arrays are mapped copy-on-write: a write affects only this process and costs it one page of memory.

    Raises DataError if a source or the cache cannot be read or written.
    """
    folder = cache_folder() / "parsed" / f"{name}-{version}-{_digest(sources)}"
    if not folder.is_dir():
        _store(folder, parse())
    return {path.stem: _mapped(path) for path in sorted(folder.glob("*.npy"))}


def _digest(sources: Sequence[Path]) -> str:
    """Return a digest of the content of the sources, in their order, as 16 hexadecimal digits.

    Their paths do not matter.
    """
    digest = hashlib.sha256()
    for path in sources:
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise DataError(f"data file {path} cannot be read ({reason(error)})") from error
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
            f"parsed data cannot be written to {folder} ({reason(error)}); "
            f"check free space and write permission, or set {CACHE} to another folder"
        ) from error


def _write(path: Path, array: Array) -> None:
    """Write an array and flush it to disk, so that a folder that is complete after a power cut has its content."""
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
    # Mode "r" would share pages as well, but PyTorch warns about tensors on read-only memory.
    try:
        array: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, TokenError) as error:
        raise DataError(
            f"parsed data {path} cannot be read ({reason(error)}); delete the folder {path.parent}; it will be rebuilt"
        ) from error
    return array
