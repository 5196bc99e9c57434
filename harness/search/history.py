"""The trials of one cell, with what the scheduler asks of them at each event: counts and the winner are kept up."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Literal

from harness.halving import Rung
from harness.ledger.journal import TrialEntry
from harness.ledger.selection import selection_order, winner


class History(MutableMapping[str, TrialEntry]):
    """Key of a trial → its entry, in the order in which the trials started.  Entries are set, never deleted."""

    def __init__(self, better: Literal["lower", "higher"], rungs: Sequence[Rung] = ()) -> None:
        self._better: Literal["lower", "higher"] = better
        self._rungs = rungs
        self._entries: dict[str, TrialEntry] = {}
        self.searched: list[TrialEntry] = []
        """The search trials so far, ended or not."""
        self.open_searches = 0
        """Search trials that have not ended."""
        self.final_count = 0
        """Final trials, those of earlier winners included."""
        self.winner: TrialEntry | None = None
        """The best search trial so far, as `selection.winner` defines it."""
        self._places: dict[str, int] = {}
        """Key of a search trial → its place in `searched`."""
        self._finals: dict[str | None, list[str]] = {}
        """Key of a winner, or None for a published setting → keys of its final trials."""

    def __getitem__(self, key: str) -> TrialEntry:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __delitem__(self, key: str) -> None:
        raise TypeError("a history keeps every trial")

    def __setitem__(self, key: str, entry: TrialEntry) -> None:
        before = self._entries.get(key)
        self._entries[key] = entry
        if entry.trial.phase == "search":
            self._set_search(key, before, entry)
        elif before is None:
            self.final_count += 1
            self._finals.setdefault(entry.trial.winner, []).append(key)

    def finals(self, winner: str | None) -> list[TrialEntry]:
        """Return the final trials of a winner, given by its key; None: of the published setting."""
        return [self._entries[key] for key in self._finals.get(winner, ())]

    def _set_search(self, key: str, before: TrialEntry | None, entry: TrialEntry) -> None:
        if before is None:
            self._places[key] = len(self.searched)
            self.searched.append(entry)
        else:
            self.searched[self._places[key]] = entry
            self.open_searches -= before.result is None
        self.open_searches += entry.result is None
        if before is not None and before is self.winner:
            self.winner = winner(self.searched, self._better, self._rungs)
        elif self._order(entry) < self._order(self.winner):
            self.winner = entry

    def _order(self, entry: TrialEntry | None) -> tuple[float, float]:
        order = selection_order(entry, self._better, self._rungs) if entry is not None else None
        return order if order is not None else (float("inf"), float("inf"))
