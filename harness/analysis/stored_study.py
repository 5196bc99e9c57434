"""A study as read from the store: its trials, counts and completeness."""

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

    @property
    def cells(self) -> tuple[CellFacts, ...]:
        return self.manifest.cells

    @cached_property
    def results(self) -> tuple[CellResult, ...]:
        return summarize_cells(self.cells, self.entries)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial: see `trial_frame`."""
        return trial_frame(self.results)

    def lacking(self, cell: Cell) -> int | None:
        """Return how many ended trials of a cell the store lacks compared with its last sync.

        None if the store was never synced.  Negative if the store is ahead, as in a running study.
        """
        if self.mark is None:
            return None
        held = sum(entry.trial.cell == cell and entry.result is not None for entry in self.entries)
        return sum(count.ended for count in self.mark.of_cell(cell).values()) - held


def trial_frame(results: Sequence[CellResult]) -> pd.DataFrame:
    """Return one row per trial.

    Columns: identity, outcome, costs, `params.<dimension>` and `<weights>/<metric>`.
    """
    rows = [
        _row(entry, superseded=superseded)
        for result in results
        for entries, superseded in ((result.search, False), (result.finals, False), (result.superseded, True))
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
