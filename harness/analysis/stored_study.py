"""A study as the MLflow store holds it: trials, counts and completeness."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from harness.analysis.cell_result import CellResult, Curves, summarize_cells
from harness.ledger.journal import TrialEntry
from harness.records import Cell, CellFacts, Manifest, Phase


@dataclass(frozen=True)
class Count:
    """How many trials of one cell and phase started, and how many have ended."""

    dealt: int
    ended: int


@dataclass(frozen=True)
class SyncMark:
    """How many trials the ledger held at the store's last sync."""

    counts: Mapping[tuple[str, Phase], Count]
    """Counts by cell, as text, and phase, including superseded finals."""

    @classmethod
    def of(cls, entries: Iterable[TrialEntry]) -> SyncMark:
        dealt: Counter[tuple[str, Phase]] = Counter()
        ended: Counter[tuple[str, Phase]] = Counter()
        for entry in entries:
            place = (str(entry.trial.cell), entry.trial.phase)
            dealt[place] += 1
            ended[place] += entry.result is not None
        return cls({place: Count(dealt[place], ended[place]) for place in sorted(dealt)})

    def to_json(self) -> str:
        return json.dumps([[cell, phase, count.dealt, count.ended] for (cell, phase), count in self.counts.items()])

    @classmethod
    def from_json(cls, text: str) -> SyncMark:
        return cls({(cell, phase): Count(dealt, ended) for cell, phase, dealt, ended in json.loads(text)})

    @property
    def total(self) -> int:
        return sum(count.dealt for count in self.counts.values())

    @property
    def ended(self) -> int:
        return sum(count.ended for count in self.counts.values())

    def of_cell(self, cell: Cell) -> dict[Phase, Count]:
        return {phase: count for (name, phase), count in self.counts.items() if name == str(cell)}


@dataclass(frozen=True)
class StoredStudy:
    """A study as the store holds it."""

    manifest: Manifest
    entries: tuple[TrialEntry, ...]
    """Entries in the order of their start, without curves."""
    mark: SyncMark | None
    """None if the store was never synced completely."""
    others: tuple[str, ...] = ()
    """Older study ids of the same name."""
    curves: Curves = field(default_factory=dict)
    """Curves of present finals, if requested."""

    @property
    def cells(self) -> tuple[CellFacts, ...]:
        return self.manifest.cells

    @cached_property
    def standings(self) -> tuple[CellResult, ...]:
        return summarize_cells(self.cells, self.entries)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial: see `trial_frame`."""
        return trial_frame(self.standings)

    def lacking(self, cell: Cell) -> int | None:
        """Return how many ended trials of a cell the store lacks against its mark; None without a mark.

        Negative if the store is ahead of the mark, as in a running study.
        """
        if self.mark is None:
            return None
        held = sum(entry.trial.cell == cell and entry.result is not None for entry in self.entries)
        return sum(count.ended for count in self.mark.of_cell(cell).values()) - held


def trial_frame(standings: Sequence[CellResult]) -> pd.DataFrame:
    """Return one row per trial: its place, its outcome and costs, `params.<dimension>`, `<weights>/<metric>`."""
    rows = [
        _row(entry, superseded=superseded)
        for one in standings
        for entries, superseded in ((one.search, False), (one.finals, False), (one.superseded, True))
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=None if rows else [*_OF_TRIAL, *_OF_RESULT])


_OF_TRIAL = (
    "key", "task", "model", "phase", "number", "repetition", "winner", "superseded", "attempt", "parameters", "widths",
)  # fmt: skip

_OF_RESULT = (
    "outcome", "reason", "score", "updates", "epochs", "best_update", "train_seconds", "started", "ended", "peak_bytes",
    "padding", "state_bytes", "receptive_field", "node", "worker", "device", "weights", "weights_sha256", "test_opened",
)  # fmt: skip


def _row(entry: TrialEntry, *, superseded: bool) -> dict[str, object]:
    trial, result = entry.trial, entry.result
    widths = " ".join(str(width) for width in trial.widths)
    place = (
        trial.key, trial.cell.task, trial.cell.model, trial.phase, trial.number, trial.repetition, trial.winner,
        superseded, entry.attempt, trial.parameters, widths,
    )  # fmt: skip
    row: dict[str, object] = dict(zip(_OF_TRIAL, place, strict=True))
    row |= {name: getattr(result, name, None) for name in _OF_RESULT}
    row |= {f"params.{name}": value for name, value in trial.params.items()}
    if result is not None:
        row |= {f"{part}/{name}": value for part, values in result.metrics.items() for name, value in values.items()}
    return row
