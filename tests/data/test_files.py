"""Data files, found in real folders and fetched from a real server on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.api.task import DataFile
from harness.data import download, files
from harness.data.download import fetch
from harness.data.files import file_status, locate, verify_all
from harness.errors import DataError

CONTENT = bytes(range(256)) * 400
KEPT = 40_000 // download.BLOCK_BYTES * download.BLOCK_BYTES
"""Of the 40,000 bytes that a broken answer brings."""
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = DataFile(name="tunes/a.mat", bytes=len(CONTENT), sha256=SHA256)


class Folders:
    """The two folders that are looked in, empty."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.cache = root / "cache"
        self.data.mkdir()

    def put(self, folder: Path, content: bytes = CONTENT) -> Path:
        path = folder / FILE.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    made = Folders(tmp_path)
    monkeypatch.setenv(files.DATA, str(made.data))
    monkeypatch.setenv(files.CACHE, str(made.cache))
    return made


class Server(ThreadingHTTPServer):
    """Answers each path as a good or a broken host would, and counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = 0
        self.starts: list[int] = []
        """The first byte of each answer."""
        self.archive = b""
        self.released = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        what = self.path.strip("/")
        if what == "absent":
            return self.send_error(404)
        body = {"other": CONTENT[::-1], "longer": CONTENT * 100, "archive": self.server.archive}.get(what, CONTENT)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and what != "rangeless" else 0
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if what == "silent":
            self.wfile.write(body[:40_000] if start == 0 else b"")
            self.wfile.flush()
            self.server.released.wait(20)
            return None
        first = self.server.requests == 1
        sent = {"broken": 40_000, "truncated": 40_000 if first else 0, "rangeless": 40_000 if first else None}
        self.wfile.write(body[start:][: sent.get(what)])
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def test_locate_finds_the_file_in_the_data_folder_before_the_cache(folders: Folders) -> None:
    in_cache = folders.put(folders.cache)
    assert locate(FILE) == in_cache
    in_data = folders.put(folders.data)
    assert locate(FILE) == in_data


def test_locate_without_data_folder_finds_the_file_in_the_cache(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(files.DATA)
    path = folders.put(folders.cache)
    assert locate(FILE) == path


def test_cache_folder_is_the_users_unless_named(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.cache_folder() == folders.cache
    monkeypatch.delenv(files.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folders.data))
    assert files.cache_folder().parts[-2:] == ("seqharness", "data")


def test_missing_file_names_what_is_expected_and_where_to_put_it(folders: Folders) -> None:
    with pytest.raises(DataError, match="is missing") as caught:
        locate(replace(FILE, url="https://example.org/a.mat"))
    message = str(caught.value)
    for part in (
        FILE.name,
        "102,400 bytes",
        SHA256,
        f"looked in {folders.data} and {folders.cache}",
        f"Put it at {folders.data / FILE.name}",
        "https://example.org/a.mat",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[::-1]], ids=["size", "digest"])
def test_corrupt_file_names_path_and_both_digests(folders: Folders, content: bytes) -> None:
    path = folders.put(folders.data, content)
    with pytest.raises(DataError, match="has 102,") as caught:
        locate(FILE)
    message = str(caught.value)
    for part in (str(path), f"{len(content):,} bytes", hashlib.sha256(content).hexdigest(), "102,400 bytes", SHA256):
        assert part in message
    assert "\n" not in message


def test_corrupt_file_is_not_replaced_by_a_good_one_further_on(folders: Folders) -> None:
    folders.put(folders.cache)
    folders.put(folders.data, b"other")
    with pytest.raises(DataError, match=str(folders.data)):
        locate(FILE)


def test_folder_in_place_of_the_file_is_an_error(folders: Folders) -> None:
    (folders.data / FILE.name).mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read"):
        locate(FILE)


def test_changed_file_is_verified_again(folders: Folders) -> None:
    path = folders.put(folders.data)
    locate(FILE)
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="sha256"):
        locate(FILE)


def test_verification_is_remembered_while_size_and_time_stay(folders: Folders) -> None:
    path = folders.put(folders.data)
    os.utime(path, ns=(2, 2))
    locate(FILE)
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(2, 2))
    assert locate(FILE) == path


@pytest.mark.parametrize("name", ["../a.mat", "/etc/passwd", "tunes/../../a.mat", "..\\a.mat", "C:/a.mat", "", "."])
def test_name_that_leaves_the_folder_is_refused(folders: Folders, server: Server, name: str) -> None:
    file = replace(FILE, name=name, url=server.url("good"))
    for operation in (locate, file_status, fetch):
        with pytest.raises(DataError, match="leaves the data folder"):
            operation(file)
    assert server.requests == 0


def test_data_folder_that_does_not_exist_is_an_error(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.put(folders.cache)
    monkeypatch.setenv(files.DATA, str(folders.data / "absent"))
    for operation in (locate, file_status, fetch):
        with pytest.raises(DataError, match=f"{files.DATA} names .*absent, which is not a folder"):
            operation(FILE)


def test_status_tells_the_three_states(folders: Folders) -> None:
    assert (file_status(FILE).state, file_status(FILE).path) == ("missing", None)
    path = folders.put(folders.cache, b"other")
    assert (file_status(FILE).state, file_status(FILE).path) == ("corrupt", path)
    assert "5 bytes" in file_status(FILE).detail
    folders.put(folders.cache)
    assert file_status(FILE) == files.FileStatus(FILE, path, "present", "")


def test_verify_all_maps_names_to_digests(folders: Folders) -> None:
    folders.put(folders.data)
    assert verify_all(file for file in [FILE]) == {FILE.name: SHA256}
    with pytest.raises(DataError, match=r"data file b\.mat .* is missing"):
        verify_all([FILE, replace(FILE, name="b.mat")])


def test_fetch_puts_the_whole_file_into_the_cache(folders: Folders, server: Server) -> None:
    file = replace(FILE, url=server.url("good"))
    path = fetch(file)
    assert path == folders.cache / FILE.name
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["a.mat"]
    assert locate(file) == path


def test_fetch_of_a_present_file_asks_no_server(folders: Folders, server: Server) -> None:
    path = folders.put(folders.data)
    assert fetch(replace(FILE, url=server.url("good"))) == path
    assert server.requests == 0


def test_fetch_replaces_a_corrupt_file_in_the_cache_only(folders: Folders, server: Server) -> None:
    file = replace(FILE, url=server.url("good"))
    folders.put(folders.cache, b"other")
    assert fetch(file).read_bytes() == CONTENT
    theirs = folders.put(folders.data, b"other")
    with pytest.raises(DataError, match=str(theirs)):
        fetch(file)
    assert theirs.read_bytes() == b"other"


def test_fetch_shows_progress_where_asked(folders: Folders, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
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
def test_fetch_that_fails_says_why_and_how_to_go_on(folders: Folders, server: Server, what: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        fetch(replace(FILE, url=server.url(what)), timeout_seconds=0.2)
    kept = KEPT if what in ("truncated", "silent") else 0
    again = f"Try again to resume after {KEPT:,} bytes" if kept else "Try again"
    assert f"{again}, or put the file (102,400 bytes, sha256 {SHA256}) at" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file_status(FILE).state == "missing"
    assert sum(path.stat().st_size for path in folders.cache.rglob("*") if path.is_file()) == kept


def test_fetch_goes_on_where_the_connection_broke(folders: Folders, server: Server) -> None:
    assert fetch(replace(FILE, url=server.url("broken"))).read_bytes() == CONTENT
    assert server.starts == [0, KEPT, 2 * KEPT]


def test_fetch_goes_on_where_an_earlier_one_stopped(folders: Folders, server: Server) -> None:
    with pytest.raises(DataError, match=f"Try again to resume after {KEPT:,} bytes"):
        fetch(replace(FILE, url=server.url("truncated")))
    server.starts.clear()
    path = fetch(replace(FILE, url=server.url("good")))
    assert path.read_bytes() == CONTENT
    assert server.starts == [KEPT]
    assert os.listdir(path.parent) == ["a.mat"]


def test_fetch_begins_anew_where_the_server_knows_no_ranges(folders: Folders, server: Server) -> None:
    assert fetch(replace(FILE, url=server.url("rangeless"))).read_bytes() == CONTENT
    assert server.starts == [0, 0]


def test_fetch_takes_no_more_than_the_file_has(folders: Folders, server: Server) -> None:
    with pytest.raises(DataError, match=r"longer brings has \d+,\d+ bytes"):
        fetch(replace(FILE, url=server.url("longer")))
    assert [path for path in folders.cache.rglob("*") if path.is_file()] == []


def test_fetch_of_a_file_that_another_process_fetches_is_refused(folders: Folders, server: Server) -> None:
    with pytest.raises(DataError, match=f"{KEPT:,} bytes"):
        fetch(replace(FILE, url=server.url("truncated")))
    (part,) = folders.cache.rglob("*.part")
    with part.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"tunes/a\.mat is being fetched by another process"):
            fetch(replace(FILE, url=server.url("good")))


def test_failed_fetch_keeps_the_file_that_was_there(folders: Folders, server: Server) -> None:
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


def test_fetch_into_a_place_that_takes_no_folder_is_an_error(
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
def test_fetch_that_the_disk_does_not_hold_is_an_error(folders: Folders, server: Server) -> None:
    arguments = [server.url("good"), str(len(CONTENT)), SHA256]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot be written below {folders.cache} (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert file_status(FILE).state == "missing"
    # With room it goes on after what the disk held.
    file = replace(FILE, name="a.mat", url=server.url("good"))
    assert fetch(file).read_bytes() == CONTENT
    assert server.starts == [0, 1000]


# A file in an archive.


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
def test_fetch_takes_a_file_out_of_its_archive_and_puts_it_in_its_own_place(
    folders: Folders, server: Server, pack: Callable[[dict[str, bytes]], bytes], member: str
) -> None:
    file = packed_file(server, pack({"other": b"x", member: CONTENT}), member)
    assert fetch(file) == folders.cache / FILE.name
    assert (folders.cache / FILE.name).read_bytes() == CONTENT
    assert sorted(path.name for path in folders.cache.rglob("*") if path.is_file()) == ["a.mat", "set.zip"]
    assert sorted(path.name for path in folders.cache.parent.iterdir()) == ["cache", "data"]
    assert fetch(file) == folders.cache / FILE.name
    assert server.requests == 1


def test_fetch_reads_an_archive_that_lies_in_the_data_folder(folders: Folders, server: Server) -> None:
    file = packed_file(server, zipped({"in/a.mat": CONTENT}))
    (folders.data / "set.zip").write_bytes(server.archive)
    assert fetch(file).read_bytes() == CONTENT
    assert server.requests == 0


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (zipped({"else": CONTENT}), "gives no in/a.mat .KeyError"),
        (tarred({"else": CONTENT}), "gives no in/a.mat .KeyError"),
        (tarred({"in/a.mat": CONTENT})[:-40], "gives no in/a.mat .EOFError"),
        (b"no archive", "gives no in/a.mat .ReadError"),
        (zipped({"in/a.mat": CONTENT[:-1]}), "set.zip under in/a.mat brings has 102,399 bytes"),
        (zipped({"in/a.mat": CONTENT * 1000}), "set.zip under in/a.mat brings has 114,688 bytes"),
    ],
    ids=["zip-without", "tar-without", "cut", "other", "shorter", "bomb"],
)
def test_archive_that_does_not_hold_the_file_is_an_error_in_one_line(
    folders: Folders, server: Server, archive: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        fetch(packed_file(server, archive))
    assert "\n" not in str(caught.value)
    assert file_status(FILE).state == "missing"


def test_missing_file_of_an_archive_says_where_to_take_it_from(folders: Folders, server: Server) -> None:
    found = file_status(packed_file(server, b""))
    assert found.detail.endswith(f", or take in/a.mat out of {server.url('archive')}, as `harness data fetch` does")
