"""Send the ledger to MLflow, in a thread of the driver for which training never waits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from harness.errors import HarnessError
from harness.tracking.sync import Tracker
from harness.tracking.system_metrics import start_system_metrics

PASS_SECONDS = 1.0
"""Time after which the thread looks again which trials have ended."""

Tell = Callable[[str], None]
"""Prints one line."""


def silently(text: str) -> None:
    """Print nothing."""


class Replay(threading.Thread):
    """A thread that syncs a tracker during training, which neither waits for the store nor sees it fail."""

    def __init__(self, tracker: Tracker, interval_seconds: float = 1.0, tell: Tell = silently) -> None:
        """tell: is called in this thread when the store fails, once per error, and when it has everything again."""
        super().__init__(name="harness-replay", daemon=True)
        self._tracker = tracker
        self._interval = interval_seconds
        self._tell = tell
        self._told: set[str] = set()
        self._recovery_due = False
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._drained = False
        self._error: str | None = None
        self._stop_monitor: Callable[[], object] | None = None

    def run(self) -> None:
        while not self._closing.is_set():
            self._sync(PASS_SECONDS)
            self._closing.wait(self._interval / 4)  # several events in a short time are sent together
            self._changed.wait(self._interval)
            self._changed.clear()
        if self._stop_monitor is not None:
            self._stop_monitor()  # before the study's run ends
        self._drain()

    def _drain(self) -> None:
        """Send what is left.  If the store fails, try again until the deadline."""
        self._sync()
        while self._error is not None and time.monotonic() + self._interval < self._deadline:
            time.sleep(self._interval)
            self._sync()
        self._drained = True

    def wake(self) -> None:
        """Signal that there is something to send.  Any thread may call this method."""
        self._changed.set()

    def close(self, timeout: float) -> str | None:
        """Send what is left, for at most `timeout` seconds, even if the store fails for a while.

        Return why not everything was sent, None if it was.
        """
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        self._changed.set()
        self.join(timeout)
        if self.is_alive():
            reason = f"; {self._error}" if self._error else ""
            return (
                f"MLflow did not receive everything within {timeout:g} s{reason}; run `harness sync` to send the rest"
            )
        if not self._drained:
            return "the thread that sends to MLflow failed; run `harness sync` to send the rest"
        return self._error

    def _sync(self, seconds: float = math.inf) -> None:
        try:
            complete = self._tracker.sync(seconds)
            if self._stop_monitor is None and not self._closing.is_set():
                self._stop_monitor = start_system_metrics(self._tracker.uri, self._tracker.study_run())
        except HarnessError as error:
            self._error = str(error)
            if self._error not in self._told and not self._closing.is_set():  # at the end, `close` returns it
                self._told.add(self._error)
                self._recovery_due = True
                self._tell(f"{self._error}; training continues")
        else:
            self._error = None
            if not complete:
                self._changed.set()
            elif self._recovery_due:
                self._recovery_due = False
                self._tell("MLflow has all results again")


def start_replay(tracker: Tracker, interval_seconds: float = 1.0, tell: Tell = silently) -> Replay:
    """Start a thread that syncs a tracker.  interval_seconds: maximum time between two syncs.  tell: see `Replay`."""
    replay = Replay(tracker, interval_seconds, tell)
    replay.start()
    return replay
