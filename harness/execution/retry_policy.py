"""The retry policy: when the failure of its worker is a trial's own fault. Pure: the failures in, a decision out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from harness.records import Death

CRASHES = 2
"""Failures with a trace, without progress on its curve in between, after which a trial counts as the cause."""
SILENT_DEATHS = 4
"""The same without a trace: whoever kills processes may hit one trial more than once."""
MOST_DEATHS = 10
"""Failures of any cause after which this command does not retry a trial."""

RetryDecision = Literal["again", "out-of-memory", "failed", "aside"]
"""again: the trial is retried. out-of-memory, failed: its outcome, which spends budget. aside: it has no outcome and is
postponed to the next run of the command."""


@dataclass(frozen=True)
class WorkerFailure:
    """One failure of a trial's worker."""

    death: Death
    points: int
    """Points on the trial's curve at that time."""


def retry_decision(history: Sequence[WorkerFailure]) -> RetryDecision:
    """Return what happens to the trial after these failures. A lost machine says nothing about the trial."""
    told = [lost for lost in history if lost.death != "node"]
    if not told or history[-1].death == "node":
        return "again"
    last = told[-1]
    if last.death == "memory":
        return "out-of-memory"
    begun = [lost for lost in told if lost.death != "early"]
    stuck = list(takewhile(lambda lost: lost.points == last.points, reversed(begun)))
    if sum(lost.death == "crash" for lost in stuck) >= CRASHES or len(stuck) >= SILENT_DEATHS:
        return "failed"
    return "aside" if len(told) >= MOST_DEATHS else "again"
