"""Notice that Ray has ended while a study runs, and leave nothing of it running afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import ray

from harness.errors import ClusterError

POLL_SECONDS = 1.0
"""Time between two looks at Ray's processes."""
UNANSWERED_SECONDS = 15.0
"""Time without an answer after which Ray at an address counts as ended; Ray itself waits for a minute."""
SHUTDOWN_SECONDS = 10.0
"""Time within which Ray disconnects from a cluster that has ended."""
VITAL = {"raylet": "raylet", "gcs_server": "GCS server"}
"""Ray's processes without which no study goes on, and their names in messages."""


def own_processes() -> dict[str, subprocess.Popen[bytes]]:
    """Return Ray's processes that this one started, by Ray's name for their kind; empty for a cluster of others."""
    node: Any = ray._private.worker._global_node  # Ray has no public way
    started = {} if node is None else node.all_processes
    return {kind: information.process for kind, items in started.items() for information in items}


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """End what is left of the cluster that this process started, however this process ends."""
    numbers = [str(process.pid) for process in own_processes().values()]
    if not numbers:
        yield
        return
    script = str(Path(__file__).with_name("guard.py"))
    guard = subprocess.Popen(
        [sys.executable, "-P", script, str(os.getpid()), *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and the end of a terminal do not reach it
    )
    threading.Thread(target=guard.wait, name="guard of Ray", daemon=True).start()
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep Ray's own error messages off standard output, such as the log of a raylet that was killed."""
    module: Any = ray._private.worker  # Ray has no public way
    before = module.print_to_stdstream
    module.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        module.print_to_stdstream = before


def what_ended(address: str | None) -> str:
    """Return which vital process of the cluster has ended or does not answer now; '' if none."""
    if address is None:
        own = own_processes()
        return next((f"the {name} has ended" for kind, name in VITAL.items() if _has_ended(own.get(kind))), "")
    for name, (host, port) in _ports().items():
        if not _listens(host, port):
            return f"the {name} at {host}:{port} does not answer"
    return ""


def shutdown_after_end() -> None:
    """Disconnect from a cluster that has ended.

    The rest of a cluster that this process started is killed first; otherwise Ray waits for it.  Ray is given some
    seconds, since it may wait for a process that is gone.
    """
    for process in own_processes().values():
        process.kill()
    thread = threading.Thread(target=ray.shutdown, name="shutdown of Ray", daemon=True)
    thread.start()
    thread.join(SHUTDOWN_SECONDS)


class ClusterEnded(BaseException):
    """Raised inside Tune, which swallows any Exception."""


class Watch:
    """A thread that looks at Ray's processes, and interrupts the thread that runs the study once one has ended."""

    def __init__(self, address: str | None) -> None:
        self.ended = ""
        """What has ended, in words; '' while Ray runs."""
        self._address = address
        self._answered_at = time.monotonic()
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="watch of Ray", daemon=True)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Raise ClusterError from the block if Ray ends in it."""
        try:
            with self._interruptible():
                self._thread.start()
                try:
                    yield
                finally:
                    self._stopped.set()
                    with self._lock:
                        pass  # no interrupt is on its way
        except ClusterEnded:
            pass
        except Exception:  # of Ray or Tune, which find that the cluster has ended before the watch does
            self.ended = self.ended or what_ended(self._address)
            if not self.ended:
                raise
        if self.ended:
            where = "Ray on this machine" if self._address is None else f"--address {self._address}"
            raise ClusterError(
                f"{where}: {self.ended}; trials in training continue from their last checkpoint: "
                "run the same command again to resume"
            )

    def _run(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self.ended = self.ended or self._find_ended()
            with self._lock:
                if self.ended and not self._stopped.is_set():
                    self._interrupt()

    def _find_ended(self) -> str:
        """Return what has ended.  Ray at an address may be restarted, so it has some seconds to answer again."""
        ended, now = what_ended(self._address), time.monotonic()
        if not ended:
            self._answered_at = now
        patience = 0.0 if self._address is None else UNANSWERED_SECONDS
        return ended if now - self._answered_at >= patience else ""

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let SIGUSR1 raise ClusterEnded in the main thread, also in a call of Ray that waits."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGUSR1, self._raise)
        try:
            yield
        finally:
            signal.signal(signal.SIGUSR1, before)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self.ended and not self._stopped.is_set():
            raise ClusterEnded

    def _interrupt(self) -> None:
        if self._watched == threading.main_thread().ident:
            signal.pthread_kill(self._watched, signal.SIGUSR1)
        else:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._watched), ctypes.py_object(ClusterEnded))


def _has_ended(process: subprocess.Popen[bytes] | None) -> bool:
    return process is not None and process.poll() is not None


def _ports() -> dict[str, tuple[str, int]]:
    """Return where the vital processes of a cluster listen; empty for a client of Ray's, which has its own proxy."""
    node: Any = ray._private.worker._global_node  # Ray has no public way
    if node is None:
        return {}
    host, _, port = node.gcs_address.rpartition(":")
    return {VITAL["gcs_server"]: (host, int(port)), VITAL["raylet"]: (node.node_ip_address, node.node_manager_port)}


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=POLL_SECONDS).close()
    except OSError:
        return False
    return True
