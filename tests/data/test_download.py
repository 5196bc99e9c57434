"""Downloads of data files from a real server on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.api.task import DataFile
from harness.data import download, files
from harness.data.download import fetch
from harness.data.files import file_status, locate
from harness.errors import DataError
from tests.data.conftest import CONTENT, FILE, SHA256, Folders, Server

KEPT = 40_000 // download.BLOCK_BYTES * download.BLOCK_BYTES
"""Bytes kept of the 40,000 that an interrupted response sends."""


def test_fetch_puts_the_whole_file_into_the_cache(folders: Folders, server: Server) -> None:
    file = replace(FILE, url=server.url("good"))
    path = fetch(file)
    assert path == folders.cache / FILE.name
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["a.mat"]
    assert locate(file) == path


def test_fetch_of_a_present_file_sends_no_request(folders: Folders, server: Server) -> None:
    path = folders.put(folders.data)
    assert fetch(replace(FILE, url=server.url("good"))) == path
    assert server.requests == 0


def test_fetch_replaces_a_corrupt_file_in_the_cache_only(folders: Folders, server: Server) -> None:
    file = replace(FILE, url=server.url("good"))
    folders.put(folders.cache, b"other")
    assert fetch(file).read_bytes() == CONTENT
    users = folders.put(folders.data, b"other")
    with pytest.raises(DataError, match=str(users)):
        fetch(file)
    assert users.read_bytes() == b"other"


def test_fetch_shows_progress_on_request(folders: Folders, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(replace(FILE, url=server.url("good")), progress=True)
    assert "100%" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("absent", "answered 404 Not Found"),
        ("other", f"has 102,400 bytes, sha256 {hashlib.sha256(CONTENT[::-1]).hexdigest()}, but .* sha256 {SHA256}"),
        ("truncated", "IncompleteRead"),
        ("silent", "sent nothing for 0.2 s"),
    ],
)
def test_failed_fetch_says_why_and_how_to_resume(folders: Folders, server: Server, what: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        fetch(replace(FILE, url=server.url(what)), timeout_seconds=0.2)
    kept = KEPT if what in ("truncated", "silent") else 0
    again = f"Try again to resume after {KEPT:,} bytes" if kept else "Try again"
    assert f"{again}, or put the file (102,400 bytes, sha256 {SHA256}) at" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file_status(FILE).state == "missing"
    assert sum(path.stat().st_size for path in folders.cache.rglob("*") if path.is_file()) == kept


def test_fetch_resumes_after_a_broken_connection(folders: Folders, server: Server) -> None:
    assert fetch(replace(FILE, url=server.url("broken"))).read_bytes() == CONTENT
    assert server.starts == [0, KEPT, 2 * KEPT]


def test_fetch_resumes_after_an_earlier_fetch(folders: Folders, server: Server) -> None:
    with pytest.raises(DataError, match=f"resume after {KEPT:,} bytes"):
        fetch(replace(FILE, url=server.url("truncated")))
    server.starts.clear()
    path = fetch(replace(FILE, url=server.url("good")))
    assert path.read_bytes() == CONTENT
    assert server.starts == [KEPT]
    assert os.listdir(path.parent) == ["a.mat"]


def test_fetch_starts_over_if_the_server_ignores_ranges(folders: Folders, server: Server) -> None:
    assert fetch(replace(FILE, url=server.url("rangeless"))).read_bytes() == CONTENT
    assert server.starts == [0, 0]


def test_fetch_stops_after_the_expected_size(folders: Folders, server: Server) -> None:
    with pytest.raises(DataError, match=r"the file from http\S+/longer has \d+,\d+ bytes"):
        fetch(replace(FILE, url=server.url("longer")))
    assert [path for path in folders.cache.rglob("*") if path.is_file()] == []


def test_fetch_of_a_file_that_another_process_fetches_is_an_error(folders: Folders, server: Server) -> None:
    with pytest.raises(DataError, match=f"{KEPT:,} bytes"):
        fetch(replace(FILE, url=server.url("truncated")))
    (part,) = folders.cache.rglob("*.part")
    with part.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"tunes/a\.mat is being fetched by another process"):
            fetch(replace(FILE, url=server.url("good")))


def test_failed_fetch_keeps_the_existing_file(folders: Folders, server: Server) -> None:
    path = folders.put(folders.cache, b"other")
    with pytest.raises(DataError, match="404"):
        fetch(replace(FILE, url=server.url("absent")))
    assert path.read_bytes() == b"other"


def test_fetch_from_a_closed_port_is_an_error(folders: Folders, server: Server) -> None:
    with Server() as closed:
        url = closed.url("good")
    with pytest.raises(DataError, match=r"could not be read .*refused"):
        fetch(replace(FILE, url=url))


def test_fetch_without_address_is_an_error(folders: Folders) -> None:
    with pytest.raises(DataError, match="no open address is known"):
        fetch(FILE)


def test_fetch_into_a_cache_that_is_not_a_folder_is_an_error(
    folders: Folders, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.cache.write_bytes(b"a file")
    with pytest.raises(DataError, match=f"cannot be written below {folders.cache}.*set {files.CACHE}"):
        fetch(replace(FILE, url=server.url("good")))


FULL_DISK = """
import resource, sys
from harness.data.download import fetch
from harness.errors import DataError
from harness.api.task import DataFile
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the system refuses the 1,001st byte of a file
try:
    fetch(DataFile(name="a.mat", bytes=int(sys.argv[2]), sha256=sys.argv[3], url=sys.argv[1]))
except DataError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits act otherwise elsewhere")
def test_fetch_onto_a_full_disk_is_an_error_and_resumes_later(folders: Folders, server: Server) -> None:
    arguments = [server.url("good"), str(len(CONTENT)), SHA256]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot be written below {folders.cache} (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert file_status(FILE).state == "missing"
    # With enough space, the next call resumes.
    file = replace(FILE, name="a.mat", url=server.url("good"))
    assert fetch(file).read_bytes() == CONTENT
    assert server.starts == [0, 1000]


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            archive.addfile(facts, io.BytesIO(content))
    return buffer.getvalue()


def packed_file(server: Server, archive: bytes, member: str = "in/a.mat") -> DataFile:
    server.archive = archive
    whole = DataFile("set.zip", len(archive), hashlib.sha256(archive).hexdigest(), url=server.url("archive"))
    return replace(FILE, archive=whole, member=member)


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("member", ["in/a.mat", "../../a.mat"])
def test_fetch_extracts_a_file_from_its_archive_to_its_own_path(
    folders: Folders, server: Server, pack: Callable[[dict[str, bytes]], bytes], member: str
) -> None:
    file = packed_file(server, pack({"other": b"x", member: CONTENT}), member)
    assert fetch(file) == folders.cache / FILE.name
    assert (folders.cache / FILE.name).read_bytes() == CONTENT
    assert sorted(path.name for path in folders.cache.rglob("*") if path.is_file()) == ["a.mat", "set.zip"]
    assert sorted(path.name for path in folders.cache.parent.iterdir()) == ["cache", "data"]
    assert fetch(file) == folders.cache / FILE.name
    assert server.requests == 1


def test_fetch_reads_an_archive_in_the_data_folder(folders: Folders, server: Server) -> None:
    file = packed_file(server, zipped({"in/a.mat": CONTENT}))
    (folders.data / "set.zip").write_bytes(server.archive)
    assert fetch(file).read_bytes() == CONTENT
    assert server.requests == 0


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (zipped({"else": CONTENT}), "in/a.mat cannot be read from .*set.zip .KeyError"),
        (tarred({"else": CONTENT}), "in/a.mat cannot be read from .*set.zip .KeyError"),
        (tarred({"in/a.mat": CONTENT})[:-40], "in/a.mat cannot be read from .*set.zip .EOFError"),
        (b"no archive", "in/a.mat cannot be read from .*set.zip .ReadError"),
        (zipped({"in/a.mat": CONTENT[:-1]}), "the file in/a.mat in set.zip has 102,399 bytes"),
        (zipped({"in/a.mat": CONTENT * 1000}), "the file in/a.mat in set.zip has 114,688 bytes"),
    ],
    ids=["zip-without", "tar-without", "cut", "other", "shorter", "bomb"],
)
def test_archive_without_the_file_is_an_error_in_one_line(
    folders: Folders, server: Server, archive: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        fetch(packed_file(server, archive))
    assert "\n" not in str(caught.value)
    assert file_status(FILE).state == "missing"
