"""Trials one after another in this process: for tests, for debugging and for `harness train`."""

from __future__ import annotations

from harness.errors import PluginError
from harness.execution.signals import interruptible
from harness.execution.trial import Worker
from harness.execution.trial_group import ActiveGroup
from harness.execution.trial_source import TrialSource
from harness.records import Resources, Trial

SLICE_SECONDS = 5.0


def run_serial(source: TrialSource, worker: Worker) -> None:
    """Run every trial of the source, in order.

    An interrupt takes effect at the end of the slice, because half an update is no checkpoint; a checkpoint of the
    running trial is then written.  A trial that hangs is not ended, because there is no other process.
    Raises KeyboardInterrupt after an interrupt, PluginError if a trial changed this process for good and others are
    left, and whatever the source raises.
    """
    with interruptible() as interrupted:
        while (assigned := _next_trial(source, worker)) is not None:
            trial, _ = assigned
            group = ActiveGroup([worker.start(*member) for member in (assigned, *source.companions(trial))])
            try:
                while not group.ended:
                    _train_slice(source, group)
                    if interrupted():
                        raise KeyboardInterrupt
            except KeyboardInterrupt:
                group.save()
                raise


def _next_trial(source: TrialSource, worker: Worker) -> tuple[Trial, int] | None:
    if worker.lost and not source.finished():
        raise PluginError(
            f"{worker.lost}; run the same command again to resume; without --serial, a new worker takes the next trial"
        )
    return source.ask(_always_fits)


def _train_slice(source: TrialSource, group: ActiveGroup) -> None:
    """Train for one slice, and pass the progress of each trial to the source."""
    for trial, progress in group.advance(SLICE_SECONDS):
        for note in progress.notes:
            source.note(trial, note)
        source.report(trial, progress.points)
        if progress.result is not None:
            source.tell(trial, progress.result)


def _always_fits(_: Resources) -> bool:
    return True
