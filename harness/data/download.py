"""Downloads of data files into the cache folder: verified, resumed after a broken connection,
extracted from archives.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from harness.api.task import DataFile
from harness.data.files import CACHE, cache_folder, expected, fault, file_status, first_line, folders, reason
from harness.errors import DataError

if TYPE_CHECKING:
    import requests

BLOCK_BYTES = 1 << 14
"""Bytes per write: the most that a broken connection loses."""


def fetch(file: DataFile, *, progress: bool = False, timeout_seconds: float = 60) -> Path:
    """Return the verified path of the file; download it if it is missing or corrupt in the cache.

    A corrupt file below HARNESS_DATA is an error, because that folder belongs to the user. `timeout_seconds` bounds
    each wait for the server, not the whole download. A partial download is kept and resumed by the next call.
    """
    found = file_status(file)
    target = cache_folder() / file.name
    if found.state == "present" and found.path is not None:
        return found.path
    if (found.state == "corrupt" and found.path != target) or (file.url is None and file.archive is None):
        raise DataError(found.detail)
    if file.archive is not None:
        archive = fetch(file.archive, progress=progress, timeout_seconds=timeout_seconds)
        with _part(file, target) as stream:
            stream.truncate(0)
            stream.writelines(_unpacked(file, archive))
    if file.url is not None:
        with _part(file, target) as stream:
            _download(file, file.url, stream, progress=progress, timeout_seconds=timeout_seconds)
    return target


@contextmanager
def _part(file: DataFile, target: Path) -> Iterator[BinaryIO]:
    """Yield the partial file to append to. It is renamed to its final path once it is complete, and deleted if its
    content is wrong.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{file.sha256[:8]}.part")
        with part.open("ab") as stream:
            _hold(stream, file)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            wrong = fault(part, file)
            if wrong is not None:
                part.unlink()
                raise DataError(_not_fetched(file, f"what {_origin(file)} brings {wrong}", 0))
            os.replace(part, target)
    except OSError as error:
        full = errno.ENOSPC, errno.EDQUOT
        way_out = f"free {file.bytes:,} bytes there" if error.errno in full else "see that it can be written"
        raise DataError(
            f"data file {file.name} cannot be written below {cache_folder()} ({reason(error)}); "
            f"{way_out}, or set {CACHE} to another folder"
        ) from error


def _origin(file: DataFile) -> str:
    return f"{file.archive.name} under {file.member}" if file.archive is not None else str(file.url)


def _hold(stream: BinaryIO, file: DataFile) -> None:
    """Two downloads into one file would mix; the system lets go of it when the process ends, however it does."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"data file {file.name} is being fetched by another process; wait for that one") from error


def _unpacked(file: DataFile, archive: Path) -> Iterator[bytes]:
    """Yield the one member in blocks, whatever path the archive gives it, and not much more than the expected size."""
    try:
        with _member(archive, file.member) as packed:
            for _ in range(0, file.bytes + 1, BLOCK_BYTES):
                yield packed.read(BLOCK_BYTES)
    except (KeyError, ValueError, EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise DataError(_not_fetched(file, f"{archive} gives no {file.member} ({what})", 0)) from error


@contextmanager
def _member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped, zipped.open(name) as packed:
            yield packed
        return
    with tarfile.open(archive) as tar:
        stream = tar.extractfile(name)
        if stream is None:
            raise ValueError("it is no file")
        yield stream


def _download(file: DataFile, url: str, stream: BinaryIO, *, progress: bool, timeout_seconds: float) -> None:
    """Append what is missing of the file from `stream`; retry as long as each attempt makes progress."""
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


def _answer(error: requests.RequestException, timeout_seconds: float) -> str:
    """Return what a server did instead of sending the file, as the rest of a sentence about it."""
    if error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    # requests reports a wait in the middle of a body as a ConnectionError, not as a Timeout.
    if "timed out" in str(error):
        return f"sent nothing for {timeout_seconds:g} s"
    return f"could not be read ({first_line(error)})"


def _not_fetched(file: DataFile, what: str, held: int) -> str:
    place = folders()[0] / file.name
    again = f"Try again to resume after {held:,} bytes" if held else "Try again"
    return f"data file {file.name} was not fetched: {what}. {again}, or put the file ({expected(file)}) at {place}"
