"""Successive halving in one cell: which trials train on after a rung, and which are pruned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from harness.halving import Rung
from harness.ledger.journal import TrialEntry


@dataclass(frozen=True)
class Decisions:
    """What becomes of the trials that wait at the end of a rung."""

    promoted: tuple[str, ...] = ()
    """Keys of the trials that train on, the best first."""
    pruned: tuple[str, ...] = ()
    """Keys of the trials that end."""


def decide(searched: Sequence[TrialEntry], rungs: Sequence[Rung], better: Literal["lower", "higher"]) -> Decisions:
    """Return the decisions of every rung that all its trials have reached, or ended before.

    searched: the search trials of the cell so far.  A rung is decided once and for all of its trials together, so the
    decisions are a function of the scores alone, whatever the order in which trials end.  Of equal scores the lower
    number trains on.
    """
    promoted: list[str] = []
    pruned: list[str] = []
    members = list(searched)
    for index, (rung, following) in enumerate(pairwise(rungs)):
        if index == 0 and len(members) < rung.trials:
            break
        if any(entry.result is None and len(entry.rungs) <= index for entry in members):
            break
        ranked = _ranked([entry for entry in members if len(entry.rungs) > index], index, better)
        members = ranked[: following.trials]
        promoted += [entry.trial.key for entry in members if _waits(entry, index)]
        pruned += [entry.trial.key for entry in ranked[following.trials :] if _waits(entry, index)]
    return Decisions(tuple(promoted), tuple(pruned))


def _waits(entry: TrialEntry, index: int) -> bool:
    """Return whether a trial has trained to the rung of this index and not further."""
    return entry.result is None and len(entry.rungs) == index + 1


def _ranked(entries: Sequence[TrialEntry], index: int, better: Literal["lower", "higher"]) -> list[TrialEntry]:
    """Return the entries in the order of their scores at a rung, the best first."""
    sign = 1 if better == "lower" else -1

    def place(entry: TrialEntry) -> tuple[float, int]:
        score = entry.rungs[index].score
        assert score is not None  # a trial that reaches a rung has been evaluated there
        return sign * score, entry.trial.number

    return sorted(entries, key=place)
