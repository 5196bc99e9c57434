"""Ctrl-C and SIGTERM: the first lets running work end in good order, the second ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from harness.errors import UserInterrupt

REDELIVERY_SECONDS = 0.02
"""Time after which an interrupt is delivered again."""


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


@contextlib.contextmanager
def redelivered_interrupts() -> Iterator[None]:
    """Deliver an interrupt again if it arrived in a destructor or in the callback of a weak reference.

    Python ignores exceptions there, prints their traceback, and the interrupt would be lost.
    """
    before = sys.unraisablehook

    def redeliver(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            before(unraisable)
            return
        # From a thread and a little later: sent here, the signal would arrive in this hook.
        again = threading.Timer(REDELIVERY_SECONDS, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = redeliver
    try:
        yield
    finally:
        sys.unraisablehook = before


def _raise_user_interrupt(number: int, frame: FrameType | None) -> None:
    raise UserInterrupt
