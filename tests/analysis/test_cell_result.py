"""Summary of a cell's trials."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.budget_audit import budget_use
from harness.analysis.cell_result import CellResult, summarize_cell
from harness.ledger.journal import TrialEntry
from harness.records import TrialResult
from tests.support.cells import LOSS, facts, repeated, searched

CELL = facts("tcn", repetitions=2)


def with_last_final(result: TrialResult) -> CellResult:
    """Return a cell with two repetitions, the second of which has this result."""
    finals = repeated(CELL.cell, 1, [0.2, 0.3])
    last: TrialEntry = replace(finals[1], result=result)
    return summarize_cell(CELL, [*searched(CELL.cell, [0.2, 0.1]), finals[0], last])


def test_a_diverged_final_counts_with_the_test_score_of_its_best_evaluation() -> None:
    diverged = TrialResult(
        outcome="diverged", reason="loss nan", score=0.4, metrics={"test": {LOSS.name: 0.4}}, test_opened=1
    )
    cell = with_last_final(diverged)
    assert (cell.state, cell.scores("test")) == ("complete", [0.2, 0.4])
    assert cell.scores("test-last3") == pytest.approx([0.4])  # only of the other repetition
    assert cell.outcomes["diverged"] == 1
    assert cell.reason == "repetitions: 1 diverged: loss nan"
    used = budget_use(cell)
    assert (used.test_opened, used.test_due) == (2, 2)


def test_a_final_that_diverged_before_its_first_evaluation_has_no_score() -> None:
    cell = with_last_final(TrialResult(outcome="diverged", reason="loss nan"))
    assert (cell.state, cell.scores("test")) == ("partial", [0.2])
    assert budget_use(cell).test_due == budget_use(cell).test_opened == 1
