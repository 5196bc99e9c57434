"""What a store has been sent of a ledger, so that the next sync sends what has changed."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import compress, count

from harness.analysis.cell_result import CellResult, summarize_cells
from harness.ledger.journal import TrialEntry
from harness.records import Cell, Manifest
from harness.tracking.store import Store


class Sent:
    """A store, and what it has been sent of the ledger."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.manifest: Manifest | None = None
        self.entries: list[TrialEntry | None] = []
        """The entries as they were sent, in the order of the ledger; None: not sent yet."""
        self.summarized: tuple[TrialEntry, ...] | None = None
        """The entries from which `cell_results` and `superseded` were computed."""
        self.cell_results: tuple[CellResult, ...] = ()
        self.superseded: frozenset[str] = frozenset()
        """Keys of the final trials of an earlier winner."""
        self.cells_sent: dict[Cell, CellResult] = {}
        self.summary_sent: tuple[TrialEntry, ...] = ()
        self.summary_due = 0.0
        """Time of the tracker's clock at which a call with a time limit may send the next summary."""
        self.progress_due = 0.0
        """The same for trials in training."""
        self.latest = -1
        """Index of the trial in training that was sent last: the next one has its turn."""

    def changed(self, entries: tuple[TrialEntry, ...]) -> list[int]:
        """Return the indices of the entries that were not sent as they are; an entry that changes is a new object."""
        del self.entries[len(entries) :]
        differ = map(operator.is_not, entries, self.entries)
        return [*compress(count(), differ), *range(len(self.entries), len(entries))]

    def summarize(self, entries: tuple[TrialEntry, ...]) -> None:
        """Compute the results of the cells.  A trial that is superseded now, or no longer, is to be sent again."""
        if self.summarized is not None and same_entries(entries, self.summarized):
            return
        assert self.manifest is not None  # set before
        self.cell_results = summarize_cells(self.manifest.cells, entries)
        superseded = frozenset(entry.trial.key for result in self.cell_results for entry in result.superseded)
        if superseded != self.superseded:
            for index, entry in enumerate(self.entries):
                if entry is not None and entry.trial.key in superseded ^ self.superseded:
                    self.entries[index] = None
        self.superseded, self.summarized = superseded, entries


def same_entries(entries: Sequence[TrialEntry], others: Sequence[TrialEntry]) -> bool:
    """Return whether both hold the same objects."""
    return len(entries) == len(others) and all(map(operator.is_, entries, others))
