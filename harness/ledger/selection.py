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
    orders = ((selection_order(entry, better, rungs), entry) for entry in entries)
    scored = [(order, entry) for order, entry in orders if order is not None]
    return min(scored, key=lambda item: item[0])[1] if scored else None


def selection_order(
    entry: TrialEntry, better: Literal["lower", "higher"], rungs: Sequence[Rung] = ()
) -> tuple[float, int] | None:
    """Return the sort key of a trial in the selection of the winner, the best first; None if it cannot win."""
    trial, result = entry.trial, entry.result
    if trial.phase != "search" or result is None or result.outcome not in SCORED_OUTCOMES:
        return None
    if result.score is None or not math.isfinite(result.score):
        return None
    if len(rungs) >= 2 and result.updates <= last_start(rungs):
        return None
    return (result.score if better == "lower" else -result.score), trial.number
