"""Look-up of data files by name; it returns verified local paths.

Two folders are searched, in this order; the name of a file is its path below either of them:

1. the folder that HARNESS_DATA names, if it is set; the harness only reads it;
2. the cache folder, which `download` fills: HARNESS_CACHE, else `data` below the user's cache folder for `seqharness`.

The first folder that contains the name decides: a corrupt file there is an error, even if the other folder has a
valid one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from platformdirs import user_cache_path

from harness.api.task import DataFile
from harness.errors import DataError

DATA = "HARNESS_DATA"
"""Environment variable: a folder of data files, searched first."""
CACHE = "HARNESS_CACHE"
"""Environment variable: the folder for downloaded data files."""

State = Literal["present", "missing", "corrupt"]


@dataclass(frozen=True)
class FileStatus:
    """The state of a data file on this machine."""

    file: DataFile
    path: Path | None
    """Path of the file, whole or corrupt; None if missing."""
    state: State
    detail: str
    """Empty if present, else what is wrong and what to do, in one line."""


def cache_folder() -> Path:
    """Return the folder for downloads; it need not exist yet."""
    named = os.environ.get(CACHE)
    return Path(named).absolute() if named else user_cache_path("seqharness") / "data"


def folders() -> tuple[Path, ...]:
    """Return the folders to search, in order.

    Raises DataError if HARNESS_DATA is set to something that is not a folder.
    """
    named = os.environ.get(DATA)
    if not named:
        return (cache_folder(),)
    folder = Path(named).absolute()
    if not folder.is_dir():
        raise DataError(f"{DATA} names {folder}, which is not a folder; create it, or unset {DATA}")
    return (folder, cache_folder())


def file_status(file: DataFile) -> FileStatus:
    """Return whether the file is present and whole, without using the network.

    Raises DataError if its name points outside the data folder, or if HARNESS_DATA is not a folder.
    """
    if file.own:
        candidates = [Path(file.name)]
    else:
        _check_name(file)
        candidates = [folder / file.name for folder in folders()]
    path = next((candidate for candidate in candidates if _exists(candidate)), None)
    if path is None:
        return FileStatus(file, None, "missing", _missing(file, candidates))
    wrong = fault(path, file)
    if wrong is None:
        return FileStatus(file, path, "present", "")
    way_out = "restore the original content" if file.own else f"replace it{_or_download(file)}"
    return FileStatus(file, path, "corrupt", f"data file {path} {wrong}; {way_out}")


def own_file(path: str | Path) -> DataFile:
    """Return the record of a user-supplied file, with its present size and hash.

    path: absolute, or relative to the current folder.

    Raises DataError if it is empty or cannot be read.
    """
    absolute = Path(path).absolute()
    try:
        stat = absolute.stat()
        if absolute.is_dir():
            raise DataError(f"{absolute}: is a folder; name a file in it")
        digest = _sha256(absolute, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DataError(
            f"{absolute}: cannot be read ({reason(error)}); relative paths start at the current folder"
        ) from error
    if stat.st_size == 0:
        raise DataError(f"{absolute}: is empty; name a file with data")
    return DataFile(str(absolute), stat.st_size, digest, own=True)


def locate(file: DataFile) -> Path:
    """Return the verified path of the file, without using the network.

    Raises DataError if the file is missing or corrupt.
    """
    status = file_status(file)
    if status.path is None or status.state != "present":
        raise DataError(status.detail)
    return status.path


def verify_all(files: Iterable[DataFile]) -> dict[str, str]:
    """Return the sha256 of each file by name, after checking that all are present and whole.

    Raises DataError at the first file that is missing or corrupt.
    """
    checked = tuple(files)
    for file in checked:
        locate(file)
    return {file.name: file.sha256 for file in checked}


def fault(path: Path, file: DataFile) -> str | None:
    """Return what is wrong with the file at `path`, as the rest of a sentence about it; None if it is whole."""
    try:
        stat = path.stat()
        digest = _sha256(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        return f"cannot be read ({reason(error)})"
    if (stat.st_size, digest) == (file.bytes, file.sha256):
        return None
    return f"has {stat.st_size:,} bytes, sha256 {digest}, but {file.name} has {expected(file)}"


@lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # size and mtime: a changed file is read again
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"data file {path} cannot be looked up ({reason(error)})") from error


def _check_name(file: DataFile) -> None:
    parts = PurePosixPath(file.name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in file.name or ":" in file.name:
        raise DataError(
            f"data file name {file.name!r} points outside the data folder; "
            "use a relative path with forward slashes, such as 'music/tunes.mat'"
        )


def _missing(file: DataFile, candidates: list[Path]) -> str:
    if file.own:
        return f"data file {file.name} ({expected(file)}) is missing; restore it on every machine that trains"
    searched = " and ".join(str(folder) for folder in folders())
    return (
        f"data file {file.name} ({expected(file)}) is missing; searched {searched}. "
        f"Put it at {candidates[0]}{_or_download(file)}"
    )


def _or_download(file: DataFile) -> str:
    if file.archive is not None:
        return f", or extract {file.member} from {file.archive.url}, as `harness data fetch` does"
    return f", or download it from {file.url}" if file.url else "; no open address is known for it"


def expected(file: DataFile) -> str:
    """Return the size and hash of the whole file, as text."""
    return f"{file.bytes:,} bytes, sha256 {file.sha256}"


def reason(error: Exception) -> str:
    """Return the message of the operating system, or the first line of another error."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or first_line(error)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the name of its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
