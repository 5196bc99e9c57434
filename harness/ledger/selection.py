"""Selection of the winner of a cell, by validation score alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from harness.halving import Rung, last_start
from harness.ledger.journal import TrialEntry
from harness.records import SCORED_OUTCOMES


def winner(
    entries: Iterable[TrialEntry], better: Literal["lower", "higher"], rungs: Sequence[Rung] = ()
) -> TrialEntry | None:
    """Return the complete search trial with the best finite validation score, or None if there is none.

    rungs: of successive halving; then only trials that entered the last rung can win.  Ties go to the lower trial
    number.
    """
    sign = 1 if better == "lower" else -1
    scored = [
        (sign * entry.result.score, entry.trial.number, entry)
        for entry in entries
        if entry.trial.phase == "search"
        and entry.result is not None
        and entry.result.outcome in SCORED_OUTCOMES
        and entry.result.score is not None
        and math.isfinite(entry.result.score)
        and (len(rungs) < 2 or entry.result.updates > last_start(rungs))
    ]
    return min(scored, key=lambda item: item[:2])[2] if scored else None
