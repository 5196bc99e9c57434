"""Trials one after another in this process: for tests, for debugging and for `harness train`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from harness.records import Resources, Trial
from harness.trial import ActiveTrial, Desk, Worker

SLICE_SECONDS = 5.0


def run_serial(desk: Desk, worker: Worker) -> None:
    """Run every trial the desk deals, in order.  An interrupt writes a checkpoint of the trial in training."""
    with _interrupt_after_slice() as interrupted:
        while (dealt := desk.deal(_always_fits)) is not None:
            trial, attempt = dealt
            active = worker.start(trial, attempt)
            try:
                while not _slice(desk, trial, active):
                    if interrupted():
                        raise KeyboardInterrupt
            except KeyboardInterrupt:
                active.save()
                raise
            if interrupted():
                raise KeyboardInterrupt


def _slice(desk: Desk, trial: Trial, active: ActiveTrial) -> bool:
    """Whether the trial has ended."""
    progress = active.advance(SLICE_SECONDS)
    for note in progress.notes:
        desk.note(trial, note)
    desk.report(trial, progress.points)
    if progress.result is not None:
        desk.end(trial, progress.result)
    return progress.result is not None


@contextlib.contextmanager
def _interrupt_after_slice() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C (or SIGTERM) waits for the end of the slice, as half an update is no checkpoint."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _always_fits(_: Resources) -> bool:
    return True
