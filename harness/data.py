"""Named data files → verified local paths.

Two folders are looked in, in this order; a file lies in either at its name:

1. the folder that HARNESS_DATA names, where it is set; only ever read;
2. the cache folder, which `fetch` fills: HARNESS_CACHE, else `data` below the user's cache folder for `seqharness`.

The first that holds the name decides: a corrupt file is an error, never a reason to look further.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Literal

from platformdirs import user_cache_path

from harness.errors import DataError
from harness.task import DataFile

if TYPE_CHECKING:
    import requests

DATA = "HARNESS_DATA"
"""Environment variable: a folder of data files, looked in first."""
CACHE = "HARNESS_CACHE"
"""Environment variable: the folder into which data files are downloaded."""

BLOCK_BYTES = 1 << 14
"""Written at a time, and lost at most where a connection breaks."""

State = Literal["present", "missing", "corrupt"]


@dataclass(frozen=True)
class FileStatus:
    """What lies where a data file should be."""

    file: DataFile
    path: Path | None
    """The file found, whole or corrupt; None where missing."""
    state: State
    detail: str
    """Empty where present, else what is wrong and the ways out, in one line."""


def cache_folder() -> Path:
    """Where `fetch` puts files; it need not exist yet."""
    named = os.environ.get(CACHE)
    return Path(named).absolute() if named else user_cache_path("seqharness") / "data"


def folders() -> tuple[Path, ...]:
    """The folders looked in, in order; DataError where HARNESS_DATA names none."""
    named = os.environ.get(DATA)
    if not named:
        return (cache_folder(),)
    folder = Path(named).absolute()
    if not folder.is_dir():
        raise DataError(f"{DATA} names {folder}, which is not a folder; create it, or unset {DATA}")
    return (folder, cache_folder())


def status(file: DataFile) -> FileStatus:
    """Whether the file is there and whole, without any network."""
    _check_name(file)
    places = [folder / file.name for folder in folders()]
    path = next((place for place in places if _exists(place)), None)
    if path is None:
        return FileStatus(file, None, "missing", _missing(file, places))
    fault = _fault(path, file)
    if fault is None:
        return FileStatus(file, path, "present", "")
    return FileStatus(file, path, "corrupt", f"data file {path} {fault}; replace it{_or_download(file)}")


def locate(file: DataFile) -> Path:
    """The verified path of the file, without any network; DataError where it is missing or corrupt."""
    found = status(file)
    if found.path is None or found.state != "present":
        raise DataError(found.detail)
    return found.path


def verify_all(files: Iterable[DataFile]) -> dict[str, str]:
    """Name → sha256 of files that are all there and whole; DataError at the first that is not."""
    checked = tuple(files)
    for file in checked:
        locate(file)
    return {file.name: file.sha256 for file in checked}


def fetch(file: DataFile, *, progress: bool = False, timeout_seconds: float = 60) -> Path:
    """The verified path of the file, downloaded into the cache where it is missing or corrupt there.

    A corrupt file below HARNESS_DATA is an error: that folder is the user's.  `timeout_seconds` bounds each wait
    for the server to connect or to send more, not the whole download.  What a broken one brought lies beside the
    file's place, and the next one goes on from there.
    """
    found = status(file)
    target = cache_folder() / file.name
    if found.state == "present" and found.path is not None:
        return found.path
    if found.state == "corrupt" and found.path != target:
        raise DataError(found.detail)
    if file.url is None:
        raise DataError(found.detail)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{file.sha256[:8]}.part")
        with part.open("ab") as stream:
            _hold(stream, file)
            _download(file, file.url, stream, progress=progress, timeout_seconds=timeout_seconds)
            stream.flush()
            os.fsync(stream.fileno())
            _check_part(file, file.url, part)
            os.replace(part, target)
    except OSError as error:
        full = errno.ENOSPC, errno.EDQUOT
        way_out = f"free {file.bytes:,} bytes there" if error.errno in full else "see that it can be written"
        raise DataError(
            f"data file {file.name} cannot be written below {cache_folder()} ({_reason(error)}); "
            f"{way_out}, or set {CACHE} to another folder"
        ) from error
    return target


def _hold(stream: BinaryIO, file: DataFile) -> None:
    """Two downloads into one file would mix; the system lets go of it when the process ends, however it does."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"data file {file.name} is being fetched by another process; wait for that one") from error


def _download(file: DataFile, url: str, stream: BinaryIO, *, progress: bool, timeout_seconds: float) -> None:
    """Append what `stream` lacks of the file, trying again as long as each try brings some of it."""
    # Imported here: most processes download nothing, and it takes 0.2 s.
    import requests

    while True:
        before = stream.seek(0, os.SEEK_END)
        try:
            return _append(file, url, stream, progress=progress, timeout_seconds=timeout_seconds)
        except requests.RequestException as error:
            held = stream.seek(0, os.SEEK_END)
            if held <= before:
                raise DataError(_not_fetched(file, f"{url} {_answer(error, timeout_seconds)}", held)) from error


def _append(file: DataFile, url: str, stream: BinaryIO, *, progress: bool, timeout_seconds: float) -> None:
    """One request for what comes after the bytes in `stream`; no more is taken than the file has."""
    import requests
    from tqdm import tqdm

    held = stream.tell()
    if held >= file.bytes:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout_seconds) as answer:
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:  # it sends the file from its start
            held = 0
            stream.truncate(0)
        with tqdm(
            desc=file.name, initial=held, total=file.bytes, unit="B", unit_scale=True, disable=not progress
        ) as bar:
            for block in answer.iter_content(BLOCK_BYTES):
                stream.write(block)
                bar.update(len(block))
                if stream.tell() > file.bytes:
                    return


def _check_part(file: DataFile, url: str, part: Path) -> None:
    """What is whole and not the file is no beginning of it either."""
    fault = _fault(part, file)
    if fault is not None:
        part.unlink()
        raise DataError(_not_fetched(file, f"what {url} sends {fault}", 0))


def _answer(error: requests.RequestException, timeout_seconds: float) -> str:
    """What a server did instead of sending the file, as the rest of a sentence about it."""
    if error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    # requests reports a wait in the middle of a body as a ConnectionError, not as a Timeout.
    if "timed out" in str(error):
        return f"sent nothing for {timeout_seconds:g} s"
    return f"could not be read ({_first_line(error)})"


def _fault(path: Path, file: DataFile) -> str | None:
    """What is wrong with the file at `path`, as the rest of a sentence about it; None where it is whole."""
    try:
        facts = path.stat()
        digest = _sha256(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        return f"cannot be read ({_reason(error)})"
    if (facts.st_size, digest) == (file.bytes, file.sha256):
        return None
    return f"has {facts.st_size:,} bytes, sha256 {digest}, but {file.name} has {_expected(file)}"


@lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # size and mtime tell that a file has changed
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError as error:
        raise DataError(f"data file {place} cannot be looked up ({_reason(error)})") from error


def _check_name(file: DataFile) -> None:
    parts = PurePosixPath(file.name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in file.name or ":" in file.name:
        raise DataError(
            f"data file name {file.name!r} leaves the data folder; "
            "a task names its files by relative paths with forward slashes, as 'music/tunes.mat'"
        )


def _missing(file: DataFile, places: list[Path]) -> str:
    looked_in = " and ".join(str(folder) for folder in folders())
    return (
        f"data file {file.name} ({_expected(file)}) is missing; looked in {looked_in}. "
        f"Put it at {places[0]}{_or_download(file)}"
    )


def _not_fetched(file: DataFile, what: str, held: int) -> str:
    place = folders()[0] / file.name
    again = f"Try again, to go on after {held:,} bytes" if held else "Try again"
    return f"data file {file.name} was not fetched: {what}. {again}, or put the file ({_expected(file)}) at {place}"


def _or_download(file: DataFile) -> str:
    return f", or download it from {file.url}" if file.url else "; no open address is known for it"


def _expected(file: DataFile) -> str:
    return f"{file.bytes:,} bytes, sha256 {file.sha256}"


def _reason(error: OSError) -> str:
    return error.strerror or _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
