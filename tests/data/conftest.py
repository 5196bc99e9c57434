"""An empty data folder and cache, and a server on this machine that serves one data file."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.api.task import DataFile
from harness.data import files

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = DataFile(name="tunes/a.mat", bytes=len(CONTENT), sha256=SHA256)


class Folders:
    """The two folders that are searched, both empty."""

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
    """A server that answers some paths correctly and others like a broken host, and counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = 0
        self.starts: list[int] = []
        """Position of the first byte of each response."""
        self.archive = b""
        self.released = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        behaviour = self.path.strip("/")
        if behaviour == "absent":
            return self.send_error(404)
        body = {"other": CONTENT[::-1], "longer": CONTENT * 100, "archive": self.server.archive}.get(behaviour, CONTENT)
        requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(requested[1]) if requested and behaviour != "rangeless" else 0
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if behaviour == "silent":
            self.wfile.write(body[:40_000] if start == 0 else b"")
            self.wfile.flush()
            self.server.released.wait(20)
            return None
        first = self.server.requests == 1
        sent = {"broken": 40_000, "truncated": 40_000 if first else 0, "rangeless": 40_000 if first else None}
        self.wfile.write(body[start:][: sent.get(behaviour)])
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
