"""The lifecycle listener that sends a study to MLflow while it runs."""

from __future__ import annotations

from harness.ledger.ledger import Ledger
from harness.plugin.hookspecs import hookimpl
from harness.tracking.replay import Replay, Tell, silently, start_replay
from harness.tracking.sync import Tracker


class TrackingListener:
    """Wakes the thread that sends the ledger to MLflow, at every event of a trial."""

    def __init__(self, uri: str, tell: Tell = silently) -> None:
        """tell: prints a line when the store fails, and when it has everything again; any thread may call it."""
        self._uri = uri
        self._tell = tell
        self._tracker: Tracker | None = None
        self._replay: Replay | None = None

    def begin(self, ledger: Ledger) -> TrackingListener:
        """Start the thread for a ledger, and return this listener."""
        self._tracker = Tracker(ledger, self._uri)
        self._replay = start_replay(self._tracker, tell=self._tell)
        return self

    def keep_report(self, texts: dict[str, str | bytes], description: str = "") -> None:
        """Store a report with the study's run: see `Tracker.log_report`."""
        if self._tracker is not None:
            self._tracker.log_report(texts, description)

    @hookimpl
    def harness_trial_started(self) -> None:
        self._wake()

    @hookimpl
    def harness_trial_reported(self) -> None:
        self._wake()

    @hookimpl
    def harness_trial_finished(self) -> None:
        self._wake()

    def _wake(self) -> None:
        if self._replay is not None:
            self._replay.wake()

    def close(self, timeout: float) -> str | None:
        """Send what is left, for at most `timeout` seconds.  Return why not everything was sent, None if it was."""
        return self._replay.close(timeout) if self._replay is not None else None
