"""The lease of a study's folder: one process at a time may write, and its identity is known."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from harness.errors import LeaseError, LedgerError
from harness.records import Record

HEARTBEAT_SECONDS = 5.0
EXPIRY_SECONDS = 60.0
"""A holder on another host is taken for dead once it has been silent for so long."""


class Holder(Record):
    """The process that holds a lease."""

    host: str
    pid: int
    started: float
    """Start of the process in seconds since 1970, which distinguishes it from a later process with the same pid."""
    heartbeat: float
    """Seconds since 1970."""

    def alive(self) -> bool:
        if self.host != socket.gethostname():
            return time.time() - self.heartbeat < EXPIRY_SECONDS
        try:
            process = psutil.Process(self.pid)
            # A killed process that its parent has not waited for keeps its entry, and writes no more.
            ended = process.status() == psutil.STATUS_ZOMBIE
            return not ended and self.is_process(self.pid, process.create_time())
        except psutil.NoSuchProcess:
            return False

    def is_process(self, pid: int, started: float) -> bool:
        """Return whether this is the present process on this host."""
        return self.host == socket.gethostname() and self.pid == pid and abs(self.started - started) < 1


def _myself() -> Holder:
    process = psutil.Process()
    return Holder(host=socket.gethostname(), pid=process.pid, started=process.create_time(), heartbeat=time.time())


def _holder(text: str) -> Holder | None:
    """Return the holder, or None if a crash left incomplete text."""
    try:
        return Holder.model_validate_json(text)
    except ValueError:
        return None


@contextlib.contextmanager
def leased(folder: Path) -> Iterator[None]:
    """Hold the lease of a folder. The folder is created if missing, and removed afterwards if nothing was written to
    it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{folder}: cannot be made ({error.strerror}); choose another --runs") from error
    lease = Lease(folder)
    try:
        yield
    finally:
        lease.release()
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()


class Lease:
    """A file that names its holder, kept fresh by a thread until `release`."""

    def __init__(self, folder: Path) -> None:
        """Take the lease, or raise LeaseError naming the process that has it."""
        self._path = folder / "lease"
        self._stop = threading.Event()
        self._take()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        mine = self._write_beside()
        try:
            for _ in range(10):
                try:
                    os.link(mine, self._path)  # fails where the lease exists: two drivers cannot both succeed
                    return
                except FileExistsError:
                    self._clear_if_dead()
                except OSError as error:
                    raise LedgerError(
                        f"{self._path}: cannot be made a lease ({error.strerror}); choose another --runs"
                    ) from error
            raise LeaseError(f"{self._path}: the lease is taken and freed too quickly; try again")
        finally:
            mine.unlink(missing_ok=True)

    def _clear_if_dead(self) -> None:
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        holder = _holder(text)
        if holder is not None and holder.alive():
            raise LeaseError(
                f"{self._path.parent}: process {holder.pid} on {holder.host} is running this study; "
                "wait for it or stop it, then run the command again"
            )
        self._remove(text)

    def _remove(self, text: str) -> None:
        """Remove the lease if it still holds `text`: another process may have found the same holder dead and taken the
        lease.
        """
        aside = self._path.with_name(f"lease.{socket.gethostname()}.{os.getpid()}.dead")
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(aside)
            if aside.read_text() != text:
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self._path)
            aside.unlink()

    def _write_beside(self) -> Path:
        mine = self._path.with_name(f"lease.{socket.gethostname()}.{os.getpid()}")
        try:
            mine.write_text(_myself().model_dump_json())
        except OSError as error:
            raise LedgerError(
                f"{self._path.parent}: cannot be written ({error.strerror}); choose another --runs"
            ) from error
        return mine

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # A full disk must not end the study here: the ledger will say so with its own words.
            with contextlib.suppress(OSError, LedgerError):
                if self._is_mine():
                    self._write_beside().replace(self._path)

    def _is_mine(self) -> bool:
        """False once another host has taken it, after this one slept past its expiry."""
        holder, me = _holder(self._path.read_text()), _myself()
        return holder is not None and holder.is_process(me.pid, me.started)

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(FileNotFoundError):
            if self._is_mine():
                self._path.unlink()
