"""Studies as read from the store."""

from __future__ import annotations

from dataclasses import replace

from harness.analysis.stored_study import SyncMark
from harness.ledger.journal import TrialEntry
from tests.support.cells import cell_of, facts, repeated, stored, trial


def test_mark_survives_json() -> None:
    tcn = facts("tcn")
    mark = SyncMark.of([*cell_of(tcn, [0.01, 0.04]), TrialEntry(trial(tcn.cell, "search", 5), 1)])
    assert (mark.total, mark.ended) == (5, 4)
    assert SyncMark.from_json(mark.to_json()) == mark


def test_store_lacks_what_ended_after_its_last_read() -> None:
    tcn, gru = facts("tcn"), facts("gru")
    entries = [*cell_of(tcn, [0.1, 0.2]), *cell_of(gru, [0.1, 0.2])]
    running = TrialEntry(trial(tcn.cell, "search", 5), 1)
    behind = stored([tcn, gru], entries[1:], ledger=[*entries, running])
    assert (behind.lacking(tcn.cell), behind.lacking(gru.cell)) == (1, 0)
    ahead = stored([tcn], entries[:4], ledger=entries[:3])
    assert ahead.lacking(tcn.cell) == -1
    assert replace(behind, mark=None).lacking(tcn.cell) is None


def test_trial_frame_has_one_row_per_trial_with_its_metrics() -> None:
    tcn = facts("tcn")
    entries = [*cell_of(tcn, [0.1, 0.2]), *repeated(tcn.cell, 0, [9.0])]
    frame = stored([tcn], entries).trials
    assert len(frame) == len(entries)
    assert frame[frame["phase"] == "final"]["test/loss"].tolist() == [0.1, 0.2, 9.0]
    assert frame["superseded"].tolist() == [False] * 4 + [True]


def test_trial_frame_without_trials_still_has_columns() -> None:
    frame = stored([facts("tcn")], []).trials
    assert {"key", "phase", "outcome", "score"} <= set(frame.columns)
    assert frame.empty
