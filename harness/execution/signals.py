"""Ctrl-C and SIGTERM: the first lets running work end in good order, the second ends it at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from harness.errors import UserInterrupt


@contextlib.contextmanager
def interruptible(on_interrupt: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether an interrupt has arrived.

    `on_interrupt` is called at the first interrupt; the second raises UserInterrupt.  Outside the main thread,
    which alone receives signals, nothing changes.
    """
    arrived = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield arrived.is_set
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if arrived.is_set():
            raise UserInterrupt
        arrived.set()
        on_interrupt()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def marked_interrupts() -> Iterator[None]:
    """Make Ctrl-C raise UserInterrupt instead of KeyboardInterrupt, which a plugin may raise too."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _raise_user_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _raise_user_interrupt(number: int, frame: FrameType | None) -> None:
    raise UserInterrupt
