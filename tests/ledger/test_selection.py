"""Which search trial wins a cell."""

from __future__ import annotations

import math

from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.records import Cell, TrialResult
from tests.support.cells import trial

CELL = Cell(task="copy", model="tcn")


def entries(*results: TrialResult) -> list[TrialEntry]:
    return [TrialEntry(trial(CELL, "search", number), 1, (), result) for number, result in enumerate(results)]


def test_a_diverged_trial_competes_with_the_best_evaluation_it_had() -> None:
    complete, diverged = TrialResult(outcome="complete", score=0.5), TrialResult(outcome="diverged", score=0.4)
    found = entries(complete, diverged)
    assert winner(found, "lower") is found[1]
    assert winner(found, "higher") is found[0]
    assert winner(found[1:], "lower") is found[1]


def test_a_trial_without_a_finite_score_never_wins() -> None:
    without = (
        TrialResult(outcome="diverged"),
        TrialResult(outcome="diverged", score=math.nan),
        TrialResult(outcome="failed", score=0.0),
        TrialResult(outcome="out-of-memory"),
    )
    assert winner(entries(*without), "lower") is None
    found = entries(*without, TrialResult(outcome="complete", score=9.0))
    assert winner(found, "lower") is found[-1]
