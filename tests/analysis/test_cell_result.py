"""What a cell's trials add up to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.budget_audit import spending
from harness.analysis.cell_result import CellResult, summarize_cell
from harness.ledger.journal import TrialEntry
from harness.records import TrialResult
from tests.support.cells import LOSS, facts, repeated, searched

CELL = facts("tcn", repetitions=2)


def with_last_final(result: TrialResult) -> CellResult:
    """A cell with two repetitions, of which the second ended so."""
    finals = repeated(CELL.cell, 1, [0.2, 0.3])
    last: TrialEntry = replace(finals[1], result=result)
    return summarize_cell(CELL, [*searched(CELL.cell, [0.2, 0.1]), finals[0], last])


def test_a_diverged_final_counts_with_the_test_score_of_its_best_evaluation() -> None:
    diverged = TrialResult(
        outcome="diverged", reason="loss nan", score=0.4, metrics={"test": {LOSS.name: 0.4}}, test_opened=1
    )
    one = with_last_final(diverged)
    assert (one.state, one.scores("test")) == ("complete", [0.2, 0.4])
    assert one.scores("test-last3") == pytest.approx([0.4])  # of the other repetition alone
    assert one.outcomes["diverged"] == 1
    assert one.reason == "repetitions: 1 diverged: loss nan"
    spent = spending(one)
    assert (spent.test_opened, spent.test_due) == (2, 2)


def test_a_final_that_diverged_before_its_first_evaluation_has_no_score() -> None:
    one = with_last_final(TrialResult(outcome="diverged", reason="loss nan"))
    assert (one.state, one.scores("test")) == ("partial", [0.2])
    assert spending(one).test_due == spending(one).test_opened == 1
