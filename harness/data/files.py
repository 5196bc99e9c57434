"""Named data files and their verified local paths.

Two folders are searched, in this order, for a file at its name:

1. the folder in HARNESS_DATA, if set; it is only read;
2. the cache folder, which `download` fills: HARNESS_CACHE, else `data` below the user's cache folder for `seqharness`.

The first folder that has the name decides: a corrupt file is an error and the search stops.
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
"""Environment variable: a folder of data files, looked in first."""
CACHE = "HARNESS_CACHE"
"""Environment variable: the folder into which data files are downloaded."""

State = Literal["present", "missing", "corrupt"]


@dataclass(frozen=True)
class FileStatus:
    """The state of a data file on this machine."""

    file: DataFile
    path: Path | None
    """The file found, complete or corrupt; None if missing."""
    state: State
    detail: str
    """Empty if present, else what is wrong and what to do, in one line."""


def cache_folder() -> Path:
    """Return the folder for downloads; it may not exist yet."""
    named = os.environ.get(CACHE)
    return Path(named).absolute() if named else user_cache_path("seqharness") / "data"


def folders() -> tuple[Path, ...]:
    """Return the folders to search, in order. Raises DataError if HARNESS_DATA is not a folder."""
    named = os.environ.get(DATA)
    if not named:
        return (cache_folder(),)
    folder = Path(named).absolute()
    if not folder.is_dir():
        raise DataError(f"{DATA} names {folder}, which is not a folder; create it, or unset {DATA}")
    return (folder, cache_folder())


def file_status(file: DataFile) -> FileStatus:
    """Return whether the file is present and complete, without network access."""
    if file.own:
        places = [Path(file.name)]
    else:
        _check_name(file)
        places = [folder / file.name for folder in folders()]
    path = next((place for place in places if _exists(place)), None)
    if path is None:
        return FileStatus(file, None, "missing", _missing(file, places))
    wrong = fault(path, file)
    if wrong is None:
        return FileStatus(file, path, "present", "")
    way_out = "put that content back" if file.own else f"replace it{_or_download(file)}"
    return FileStatus(file, path, "corrupt", f"data file {path} {wrong}; {way_out}")


def own_file(path: str | Path) -> DataFile:
    """Return a user-supplied file with its present size and digest. Raises DataError if it cannot be
    read or is empty.
    """
    place = Path(path).absolute()
    try:
        facts = place.stat()
        if place.is_dir():
            raise DataError(f"{place}: is a folder; name a file in it")
        digest = _sha256(place, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be read ({reason(error)}); paths are taken from the current folder"
        ) from error
    if facts.st_size == 0:
        raise DataError(f"{place}: is empty")
    return DataFile(str(place), facts.st_size, digest, own=True)


def locate(file: DataFile) -> Path:
    """Return the verified path of the file, without network access. Raises DataError if it is missing or corrupt."""
    found = file_status(file)
    if found.path is None or found.state != "present":
        raise DataError(found.detail)
    return found.path


def verify_all(files: Iterable[DataFile]) -> dict[str, str]:
    """Name → sha256 of files that are all there and whole; DataError at the first that is not."""
    checked = tuple(files)
    for file in checked:
        locate(file)
    return {file.name: file.sha256 for file in checked}


def fault(path: Path, file: DataFile) -> str | None:
    """Return what is wrong with the file at `path`, as the rest of a sentence about it; None if it is complete."""
    try:
        facts = path.stat()
        digest = _sha256(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        return f"cannot be read ({reason(error)})"
    if (facts.st_size, digest) == (file.bytes, file.sha256):
        return None
    return f"has {facts.st_size:,} bytes, sha256 {digest}, but {file.name} has {expected(file)}"


@lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # size and mtime tell that a file has changed
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError as error:
        raise DataError(f"data file {place} cannot be looked up ({reason(error)})") from error


def _check_name(file: DataFile) -> None:
    parts = PurePosixPath(file.name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in file.name or ":" in file.name:
        raise DataError(
            f"data file name {file.name!r} leaves the data folder; "
            "a task names its files by relative paths with forward slashes, as 'music/tunes.mat'"
        )


def _missing(file: DataFile, places: list[Path]) -> str:
    if file.own:
        return f"data file {file.name} ({expected(file)}) is missing; put it back, on every machine that trains"
    looked_in = " and ".join(str(folder) for folder in folders())
    return (
        f"data file {file.name} ({expected(file)}) is missing; looked in {looked_in}. "
        f"Put it at {places[0]}{_or_download(file)}"
    )


def _or_download(file: DataFile) -> str:
    if file.archive is not None:
        return f", or take {file.member} out of {file.archive.url}, as `harness data fetch` does"
    return f", or download it from {file.url}" if file.url else "; no open address is known for it"


def expected(file: DataFile) -> str:
    """Return the expected size and digest as text."""
    return f"{file.bytes:,} bytes, sha256 {file.sha256}"


def reason(error: OSError) -> str:
    return error.strerror or first_line(error)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
