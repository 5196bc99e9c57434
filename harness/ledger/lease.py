"""The lease of a study's folder: it names the only process that may write there."""

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
"""A holder on another host counts as dead after this time without a heartbeat."""


class Holder(Record):
    """The process that holds a lease."""

    host: str
    pid: int
    started: float
    """Start of the process in seconds since 1970; it distinguishes the process from a later one with the same pid."""
    heartbeat: float
    """Time of the latest heartbeat in seconds since 1970."""

    def alive(self) -> bool:
        """Return whether the process runs; for another host, whether its heartbeat is recent."""
        if self.host != socket.gethostname():
            return time.time() - self.heartbeat < EXPIRY_SECONDS
        try:
            process = psutil.Process(self.pid)
            # A killed process that its parent has not waited for is still listed, but writes no more.
            ended = process.status() == psutil.STATUS_ZOMBIE
            return not ended and self.is_process(self.pid, process.create_time())
        except psutil.NoSuchProcess:
            return False

    def is_process(self, pid: int, started: float) -> bool:
        """Return whether the holder is this process of this host."""
        return self.host == socket.gethostname() and self.pid == pid and abs(self.started - started) < 1


def _this_process() -> Holder:
    process = psutil.Process()
    return Holder(host=socket.gethostname(), pid=process.pid, started=process.create_time(), heartbeat=time.time())


def _parse_holder(text: str) -> Holder | None:
    """Return the holder, or None if a crash interrupted the writing of the text."""
    try:
        return Holder.model_validate_json(text)
    except ValueError:
        return None


@contextlib.contextmanager
def leased(folder: Path) -> Iterator[None]:
    """Hold the lease of a folder.

    The folder is created if it does not exist, and removed afterwards if it is empty.

    Raises LeaseError if another process holds the lease, and LedgerError if the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{folder}: cannot be created ({error.strerror}); choose another --runs") from error
    lease = Lease(folder)
    try:
        yield
    finally:
        lease.release()
        with contextlib.suppress(OSError):  # the folder is not empty
            folder.rmdir()


class Lease:
    """A file that names its holder; a thread updates its heartbeat until `release`."""

    def __init__(self, folder: Path) -> None:
        """Take the lease.

        Raises LeaseError, which names the holder, if another process has it, and LedgerError if it cannot be written.
        """
        self._path = folder / "lease"
        self._stop = threading.Event()
        self._take()
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        own = self._write_own_file()
        try:
            for _ in range(10):
                try:
                    os.link(own, self._path)  # fails if the lease exists: two drivers cannot both succeed
                    return
                except FileExistsError:
                    self._remove_if_dead()
                except OSError as error:
                    raise LedgerError(
                        f"{self._path}: the lease cannot be created ({error.strerror}); choose another --runs"
                    ) from error
            raise LeaseError(f"{self._path}: the lease was taken and released by others 10 times; try again")
        finally:
            own.unlink(missing_ok=True)

    def _remove_if_dead(self) -> None:
        """Remove the lease if its holder is dead; raise LeaseError if it is alive."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        holder = _parse_holder(text)
        if holder is not None and holder.alive():
            raise LeaseError(
                f"{self._path.parent}: process {holder.pid} on {holder.host} is running this study; "
                "wait for it or stop it, then run the command again"
            )
        self._remove(text)

    def _remove(self, text: str) -> None:
        """Remove the lease if its content is still `text`.

        Another process may have seen the same dead holder and taken the lease in the meantime.
        """
        renamed = self._path.with_name(f"lease.{socket.gethostname()}.{os.getpid()}.dead")
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(renamed)
            if renamed.read_text() != text:
                with contextlib.suppress(FileExistsError):
                    os.link(renamed, self._path)
            renamed.unlink()

    def _write_own_file(self) -> Path:
        """Write a file with this process as the holder, in the folder of the lease, and return its path."""
        own = self._path.with_name(f"lease.{socket.gethostname()}.{os.getpid()}")
        try:
            own.write_text(_this_process().model_dump_json())
        except OSError as error:
            raise LedgerError(
                f"{self._path.parent}: cannot be written ({error.strerror}); choose another --runs"
            ) from error
        return own

    def _keep_alive(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # A full disk must not end the study here: the ledger reports it at its next write.
            with contextlib.suppress(OSError, LedgerError):
                if self._is_held():
                    self._write_own_file().replace(self._path)

    def _is_held(self) -> bool:
        """Return whether this process still holds the lease.

        If this host was suspended past the expiry, another host may have taken it.
        """
        holder, this = _parse_holder(self._path.read_text()), _this_process()
        return holder is not None and holder.is_process(this.pid, this.started)

    def release(self) -> None:
        """Stop the heartbeat, and remove the lease if this process still holds it."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(FileNotFoundError):
            if self._is_held():
                self._path.unlink()
