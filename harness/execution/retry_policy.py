"""When the death of its worker is a trial's own doing.  Pure: how its workers died in, what becomes of it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from harness.records import Death

CRASHES = 2
"""A trial that so often ends its worker with a trace, and nothing new on its curve in between, is the cause."""
SILENT_DEATHS = 4
"""The same where no trace tells: whoever kills processes may strike one trial more than once."""
MOST_DEATHS = 10
"""A trial whose worker died so often is not dealt again by this run of the command, whatever the cause."""

RetryDecision = Literal["again", "out-of-memory", "failed", "aside"]
"""again: it is dealt again.  out-of-memory, failed: its outcome, which spends budget.  aside: it has no outcome, and
the next run of the command deals it."""


@dataclass(frozen=True)
class WorkerFailure:
    """One death of a trial's worker."""

    death: Death
    points: int
    """On the trial's curve by then."""


def retry_decision(history: Sequence[WorkerFailure]) -> RetryDecision:
    """What the last of these deaths makes of their trial; a lost machine says nothing of it."""
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
