"""Trials one after another in this process: for tests, for debugging and for `harness train`."""

from __future__ import annotations

from harness.interrupt import interruptible
from harness.records import Resources, Trial
from harness.trial import ActiveTrial, Desk, Worker

SLICE_SECONDS = 5.0


def run_serial(desk: Desk, worker: Worker) -> None:
    """Run every trial the desk deals, in order.

    An interrupt waits for the end of the slice, as half an update is no checkpoint, and writes one of the trial in
    training.  A trial that hangs is not ended: there is no process but this one.
    """
    with interruptible() as interrupted:
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


def _always_fits(_: Resources) -> bool:
    return True
