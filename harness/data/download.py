"""Downloads of data files into the cache folder: verified, resumable, extracted from archives."""

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
"""Bytes written at a time; an interrupted connection loses at most this many."""


def fetch(file: DataFile, *, progress: bool = False, timeout_seconds: float = 60) -> Path:
    """Return the verified path of the file; download it into the cache if it is missing or corrupt there.

    progress: whether to show a progress bar.
    timeout_seconds: limit on each wait for the server to connect or to send more, not on the whole download.

    The part that an interrupted download received is kept next to the target, and the next call resumes after it.

    Raises DataError if the download fails.  Also if the file is corrupt below HARNESS_DATA: that folder is the user's.
    """
    status = file_status(file)
    target = cache_folder() / file.name
    if status.state == "present" and status.path is not None:
        return status.path
    if (status.state == "corrupt" and status.path != target) or (file.url is None and file.archive is None):
        raise DataError(status.detail)
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
    """Open the partial file to append to it; afterwards verify it and move it to `target`, or delete it if wrong.

    If the body raises, the partial file stays.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{file.sha256[:8]}.part")
        with part.open("ab") as stream:
            _lock(stream, file)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            wrong = fault(part, file)
            if wrong is not None:
                part.unlink()
                raise DataError(_not_fetched(file, f"the file {_origin(file)} {wrong}", 0))
            os.replace(part, target)
    except OSError as error:
        disk_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way_out = f"free {file.bytes:,} bytes there" if disk_full else "check its write permission"
        raise DataError(
            f"data file {file.name} cannot be written below {cache_folder()} ({reason(error)}); "
            f"{way_out}, or set {CACHE} to another folder"
        ) from error


def _origin(file: DataFile) -> str:
    return f"{file.member} in {file.archive.name}" if file.archive is not None else f"from {file.url}"


def _lock(stream: BinaryIO, file: DataFile) -> None:
    """Lock the partial file, since two downloads into it would mix.

    The operating system releases the lock when the process ends, also after a crash.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(
            f"data file {file.name} is being fetched by another process; wait until it has finished"
        ) from error


def _unpacked(file: DataFile, archive: Path) -> Iterator[bytes]:
    """Yield the member of the archive in blocks, and at most one block more than the expected size.

    The path of the member only selects it; it does not decide where the file is written.
    """
    try:
        with _member(archive, file.member) as packed:
            for _ in range(0, file.bytes + 1, BLOCK_BYTES):
                yield packed.read(BLOCK_BYTES)
    except (KeyError, ValueError, EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        text = f"{type(error).__name__}: {first_line(error)}"
        raise DataError(_not_fetched(file, f"{file.member} cannot be read from {archive} ({text})", 0)) from error


@contextmanager
def _member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped, zipped.open(name) as packed:
            yield packed
        return
    with tarfile.open(archive) as tar:
        stream = tar.extractfile(name)
        if stream is None:
            raise ValueError("it is not a file")
        yield stream


def _download(file: DataFile, url: str, stream: BinaryIO, *, progress: bool, timeout_seconds: float) -> None:
    """Append the missing bytes of the file to `stream`; repeat the request as long as each one adds some."""
    # Imported here: most processes download nothing, and it takes 0.2 s.
    import requests

    while True:
        before = stream.seek(0, os.SEEK_END)
        try:
            return _append(file, url, stream, progress=progress, timeout_seconds=timeout_seconds)
        except requests.RequestException as error:
            received = stream.seek(0, os.SEEK_END)
            if received <= before:
                raise DataError(_not_fetched(file, f"{url} {_failure(error, timeout_seconds)}", received)) from error


def _append(file: DataFile, url: str, stream: BinaryIO, *, progress: bool, timeout_seconds: float) -> None:
    """Send one request for the bytes after those in `stream`, and stop once there are more than the file has."""
    import requests
    from tqdm import tqdm

    received = stream.tell()
    if received >= file.bytes:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received}-"} if received else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout_seconds) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:  # the server sends the file from its start
            received = 0
            stream.truncate(0)
        with tqdm(
            desc=file.name, initial=received, total=file.bytes, unit="B", unit_scale=True, disable=not progress
        ) as bar:
            for block in response.iter_content(BLOCK_BYTES):
                stream.write(block)
                bar.update(len(block))
                if stream.tell() > file.bytes:
                    return


def _failure(error: requests.RequestException, timeout_seconds: float) -> str:
    """Return what the server did instead of sending the file, as the rest of a sentence about it."""
    if error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    # requests reports a wait in the middle of a body as a ConnectionError, not as a Timeout.
    if "timed out" in str(error):
        return f"sent nothing for {timeout_seconds:g} s"
    return f"could not be read ({first_line(error)})"


def _not_fetched(file: DataFile, why: str, received: int) -> str:
    path = folders()[0] / file.name
    retry = f"Try again to resume after {received:,} bytes" if received else "Try again"
    return f"data file {file.name} was not fetched: {why}. {retry}, or put the file ({expected(file)}) at {path}"
