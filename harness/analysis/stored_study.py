"""A study as read from the store: its trials, counts and completeness."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from harness.analysis.cell_result import CellResult, Curve, Curves, summarize_cells
from harness.ledger.journal import Snapshot, TrialEntry
from harness.records import Cell, CellFacts, Manifest, Phase


@dataclass(frozen=True)
class Count:
    """How many trials of one cell and phase were started, and how many of them have ended."""

    started: int
    ended: int


@dataclass(frozen=True)
class SyncMark:
    """How many trials the ledger held when the store was last synced with it."""

    counts: Mapping[tuple[str, Phase], Count]
    """(cell as text, phase) → count; superseded final trials included."""

    @classmethod
    def of(cls, entries: Iterable[TrialEntry]) -> SyncMark:
        """Count the trials of a ledger."""
        started: Counter[tuple[str, Phase]] = Counter()
        ended: Counter[tuple[str, Phase]] = Counter()
        for entry in entries:
            place = (str(entry.trial.cell), entry.trial.phase)
            started[place] += 1
            ended[place] += entry.result is not None
        return cls({place: Count(started[place], ended[place]) for place in sorted(started)})

    def to_json(self) -> str:
        return json.dumps([[cell, phase, count.started, count.ended] for (cell, phase), count in self.counts.items()])

    @classmethod
    def from_json(cls, text: str) -> SyncMark:
        return cls({(cell, phase): Count(started, ended) for cell, phase, started, ended in json.loads(text)})

    @property
    def total(self) -> int:
        return sum(count.started for count in self.counts.values())

    @property
    def ended(self) -> int:
        return sum(count.ended for count in self.counts.values())

    def of_cell(self, cell: Cell) -> dict[Phase, Count]:
        return {phase: count for (name, phase), count in self.counts.items() if name == str(cell)}


@dataclass(frozen=True)
class StoredStudy:
    """A study as read from the store."""

    manifest: Manifest
    entries: tuple[TrialEntry, ...]
    """Trials in the order in which they were started, without their curves."""
    mark: SyncMark | None
    """State of the last sync with the ledger; None if there was none."""
    others: tuple[str, ...] = ()
    """Older study ids of the same name."""
    curves: Curves = field(default_factory=dict)
    """Curves of the current final trials, if requested."""
    baseline: tuple[str, ...] = ()
    """Which cells are stored results of other studies, one line per study."""

    @property
    def cells(self) -> tuple[CellFacts, ...]:
        return self.manifest.cells

    @cached_property
    def results(self) -> tuple[CellResult, ...]:
        return summarize_cells(self.cells, self.entries)

    def lacking(self, cell: Cell) -> int | None:
        """Return how many ended trials of a cell the store lacks compared with its last sync.

        None if the store was never synced.  Negative if the store is ahead, as in a running study.
        """
        if self.mark is None:
            return None
        held = sum(entry.trial.cell == cell and entry.result is not None for entry in self.entries)
        return sum(count.ended for count in self.mark.of_cell(cell).values()) - held


def of_ledger(snapshot: Snapshot) -> StoredStudy:
    """Return the study in a ledger, which lacks nothing."""
    entries = snapshot.entries()
    metrics = {facts.cell: facts.metric.name for facts in snapshot.manifest.cells}
    finals = [entry for entry in entries if entry.trial.phase == "final"]
    curves = {entry.trial.key: _curves(entry, metrics[entry.trial.cell]) for entry in finals}
    return StoredStudy(snapshot.manifest, entries, SyncMark.of(entries), curves=curves)


def _curves(entry: TrialEntry, metric: str) -> dict[str, Curve]:
    return {
        metric: tuple((point.update, point.metrics[metric]) for point in entry.points),
        "gradient_norm": tuple((point.update, point.gradient_norm) for point in entry.points),
    }
