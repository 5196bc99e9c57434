"""Ctrl-C and SIGTERM: once lets what runs end in good order, twice ends it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interruptible(asked: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether an interrupt has arrived.

    `asked` is called at the first interrupt; the second raises KeyboardInterrupt. Nothing changes outside the main
    thread, which alone receives signals.
    """
    heard = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield heard.is_set
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if heard.is_set():
            raise KeyboardInterrupt
        heard.set()
        asked()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
