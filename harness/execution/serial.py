"""Trials one after another in this process: for tests, for debugging and for `harness train`."""

from __future__ import annotations

from harness.execution.signals import interruptible
from harness.execution.trial import Worker
from harness.execution.trial_group import ActiveGroup
from harness.execution.trial_source import TrialSource
from harness.records import Resources

SLICE_SECONDS = 5.0


def run_serial(source: TrialSource, worker: Worker) -> None:
    """Run every trial of the source in order.

    An interrupt waits for the end of the slice, because half an update cannot be saved, and then writes a checkpoint. A
    trial that hangs is not ended, because this is the only process.
    """
    with interruptible() as interrupted:
        while (dealt := source.ask(_always_fits)) is not None:
            group = ActiveGroup([worker.start(*each) for each in (dealt, *source.companions(dealt[0]))])
            try:
                while not group.ended:
                    _slice(source, group)
                    if interrupted():
                        raise KeyboardInterrupt
            except KeyboardInterrupt:
                group.save()
                raise


def _slice(source: TrialSource, group: ActiveGroup) -> None:
    for trial, progress in group.advance(SLICE_SECONDS):
        for note in progress.notes:
            source.note(trial, note)
        source.report(trial, progress.points)
        if progress.result is not None:
            source.tell(trial, progress.result)


def _always_fits(_: Resources) -> bool:
    return True
