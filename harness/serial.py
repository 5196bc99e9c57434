"""Trials one after another in this process: for tests, for debugging and for `harness train`."""

from __future__ import annotations

from harness.records import Resources
from harness.trial import Desk, Worker

SLICE_SECONDS = 5.0


def run_serial(desk: Desk, worker: Worker) -> None:
    """Run every trial the desk deals, in order.  An interrupt writes a checkpoint of the trial in training."""
    while (dealt := desk.deal(_always_fits)) is not None:
        trial, attempt = dealt
        active = worker.start(trial, attempt)
        try:
            while True:
                progress = active.advance(SLICE_SECONDS)
                desk.report(trial, progress.points)
                if progress.result is not None:
                    desk.end(trial, progress.result)
                    break
        except KeyboardInterrupt:
            active.save()
            raise


def _always_fits(_: Resources) -> bool:
    return True
