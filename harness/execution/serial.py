"""Trials one after another in this process: for tests, for debugging and for `harness train`."""

from __future__ import annotations

import contextlib
import time

from harness.errors import PluginError
from harness.execution.crash_trace import StackRecorder, crashes_before
from harness.execution.retry_policy import CRASHES
from harness.execution.signals import interruptible
from harness.execution.trial import Worker
from harness.execution.trial_group import ActiveGroup
from harness.execution.trial_source import TrialSource
from harness.plugin.registry import names_of
from harness.records import Resources, Trial, TrialResult

SLICE_SECONDS = 5.0


def run_serial(source: TrialSource, worker: Worker) -> None:
    """Run every trial of the source, in order.

    An interrupt takes effect at the end of the slice, because half an update is no checkpoint; a checkpoint of the
    running trial is then written.  A trial that hangs is not ended, because there is no other process.  A fatal signal,
    such as a segmentation fault, ends this process.  The next run trains the trial alone, and after `CRASHES` such
    signals a run counts them as the result of the trial, as it does with parallel workers.
    Raises KeyboardInterrupt after an interrupt, PluginError if a trial changed this process for good and others are
    left, and whatever the source raises.
    """
    recorder = StackRecorder(worker.folder)
    with interruptible() as interrupted, contextlib.closing(recorder):
        while left := _next_stack(source, worker):
            group = ActiveGroup([worker.start(*member) for member in left])
            try:
                while not group.ended:
                    recorder.of(*left[0])
                    ended = _train_slice(source, group)
                    left = [member for member in left if member[0].key not in ended]
                    if interrupted():
                        raise KeyboardInterrupt
            except KeyboardInterrupt:
                group.save()
                raise


def _next_stack(source: TrialSource, worker: Worker) -> list[tuple[Trial, int]]:
    """Return the next trial and those that train beside it, each with its attempt; none if no trial is left.

    A trial that ended `CRASHES` processes gets its result instead.
    """
    if worker.lost and not source.finished():
        raise PluginError(
            f"{worker.lost}; run the same command again to resume; without --serial, a new worker takes the next trial"
        )
    while (assigned := source.ask(_always_fits)) is not None:
        trial, attempt = assigned
        crashes = crashes_before(worker.folder, trial, attempt)
        if len(crashes) < CRASHES:
            # After a crash the trial trains alone, so that another one is due to that trial.
            return [assigned] if crashes else [assigned, *source.companions(trial)]
        reason = f"{crashes[-1]} in a trial of {names_of(trial.plugins)} ended the process"
        source.tell(trial, TrialResult(outcome="failed", reason=reason, ended=time.time()))
    return []


def _train_slice(source: TrialSource, group: ActiveGroup) -> set[str]:
    """Train for one slice, and pass the progress of each trial to the source.  Return the keys of those that ended."""
    ended = set()
    for trial, progress in group.advance(SLICE_SECONDS):
        for note in progress.notes:
            source.note(trial, note)
        source.report(trial, progress.points)
        if progress.result is not None:
            source.tell(trial, progress.result)
            ended.add(trial.key)
    return ended


def _always_fits(_: Resources) -> bool:
    return True
