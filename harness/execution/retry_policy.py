"""The retry policy: what happens to a trial whose worker failed.

Pure: the failures of a trial in, a decision out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

CRASHES = 2
"""Failures with a trace and without progress in between after which the trial counts as their cause."""
SILENT_FAILURES = 4
"""The same number for failures without a trace.  It is larger, because a process that kills others at random may hit
one trial more than once."""
MAX_FAILURES = 10
"""Failures after which this command retries the trial no more, even if there was progress in between."""

FailureKind = Literal["memory", "crash", "silent", "early", "node", "unusable"]
"""How a worker failed.

memory: Ray ended it, because its node ran out of memory.  crash: a fatal signal, an error or a hang, with a trace.
silent: without a trace, as after kill -9.  early: before its trial had started.  node: its whole machine was lost.
unusable: an earlier trial has changed the process for good, so it did not start this one.
"""

_OF_OTHERS: frozenset[FailureKind] = frozenset({"node", "unusable"})
"""Failures that are not the trial's."""

RetryDecision = Literal["retry", "out-of-memory", "failed", "postpone"]
"""What happens to a trial whose worker failed.

retry: it is retried.  out-of-memory, failed: this is its outcome, which spends budget.  postpone: it has no outcome,
and the next run of the command retries it.
"""


@dataclass(frozen=True)
class WorkerFailure:
    """One failure of a trial's worker."""

    kind: FailureKind
    points: int
    """Points on the trial's curve at that time."""


def retry_decision(failures: Sequence[WorkerFailure]) -> RetryDecision:
    """Return what happens to a trial after these failures of its workers, the latest of which comes last.

    The loss of a machine, or what an earlier trial did to the worker, says nothing about the trial.
    """
    counted = [failure for failure in failures if failure.kind not in _OF_OTHERS]
    if not counted or failures[-1].kind in _OF_OTHERS:
        return "retry"
    last = counted[-1]
    if last.kind == "memory":
        return "out-of-memory"
    during_training = [failure for failure in counted if failure.kind != "early"]
    without_progress = list(takewhile(lambda failure: failure.points == last.points, reversed(during_training)))
    crashes = sum(failure.kind == "crash" for failure in without_progress)
    if crashes >= CRASHES or len(without_progress) >= SILENT_FAILURES:
        return "failed"
    return "postpone" if len(counted) >= MAX_FAILURES else "retry"
