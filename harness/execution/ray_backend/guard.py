"""A process of its own that ends what is left of a Ray cluster after its driver.

    python guard.py DRIVER PROCESS ...

It knows the processes that the driver started, by their ids, and all below them.  When the driver closes the pipe to
its standard input, or has ended, it waits some seconds and kills those that still run: Ray's agents run on for a minute
after kill -9 of the driver, and a worker may ignore SIGTERM.  It imports neither Ray nor the harness, to stay small.
"""

from __future__ import annotations

import contextlib
import select
import sys
import time
from collections.abc import Iterable

import psutil

GRACE_SECONDS = 4.0
"""Time that processes have to end by themselves."""
POLL_SECONDS = 0.5


def main() -> None:
    driver, *roots = [process for number in sys.argv[1:] for process in _processes(int(number))]
    known = set(roots)
    while _runs(driver) and not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
        known = _with_children(known)
    until = time.monotonic() + GRACE_SECONDS
    while known and time.monotonic() < until:
        time.sleep(POLL_SECONDS / 5)
        known = _with_children(known)
    for process in known:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _processes(number: int) -> list[psutil.Process]:
    """Return the process with this id, or nothing if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [psutil.Process(number)]
    return []


def _with_children(known: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Return those of the processes that run, and all processes below them."""
    running = {process for process in known if _runs(process)}
    for process in tuple(running):
        with contextlib.suppress(psutil.NoSuchProcess):
            running.update(process.children(recursive=True))
    return running


def _runs(process: psutil.Process) -> bool:
    """Return whether a process has not ended; an id that another process has now does not count."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main()
