"""Summary of a cell's trials."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest

from harness.analysis.budget_audit import budget_use
from harness.analysis.cell_result import CellResult, capped, summarize_cell, summarize_cells
from harness.analysis.statistics import Scale
from harness.ledger.journal import TrialEntry
from harness.records import (
    MetricFacts,
    TrialResult,
)
from tests.support.cells import (
    LOSS,
    cell_of,
    facts,
    repeated,
    rows,
    searched,
    stored,
)

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


def test_summary_of_a_cell_ignores_other_cells() -> None:
    tcn, gru = facts("tcn"), facts("gru")
    result = summarize_cell(tcn, [*cell_of(tcn, [0.01, 0.04]), *cell_of(gru, [1.0, 1.0])])
    assert result.scores("test") == [0.01, 0.04]
    assert result.scores("test-last3") == [0.02, 0.08]


def test_repetition_without_a_finite_test_score_counts_as_failed() -> None:
    tcn = facts("tcn")
    study = stored([tcn], cell_of(tcn, [math.inf, 0.04]))
    assert rows(study)["tcn"].status == "1 of 2 repetitions have a score"


@pytest.mark.parametrize(
    ("scale", "better", "floor", "bound"),
    [
        ("linear", "lower", 1.0, 0.8),
        ("linear", "higher", 1.0, 1.2),
        ("log", "lower", 1.0, math.exp(-0.2)),
        ("log", "higher", 1.0, math.exp(0.2)),
        ("log", "lower", 0.0, -0.2),  # a floor of 0 has no logarithm
    ],
)
def test_run_succeeds_beyond_the_floor_by_more_than_the_margin(
    scale: Scale, better: Literal["lower", "higher"], floor: float, bound: float
) -> None:
    metric = MetricFacts(name="m", unit="", better=better, margin=0.2, scale=scale)
    cell = facts("tcn", metric).model_copy(update={"floor": floor})
    sign = 1 if better == "higher" else -1
    result = summarize_cell(cell, cell_of(cell, [bound + sign * 1e-9, bound - sign * 1e-9]))
    assert result.success is not None
    assert (result.success.happened, result.success.n) == (1, 2)


def test_every_finite_score_is_a_success_without_a_floor() -> None:
    cell = CELL.model_copy(update={"floor": None})
    success = summarize_cell(cell, cell_of(cell, [1e9, math.inf])).success
    assert success is not None
    assert (success.happened, success.n) == (1, 2)


def test_cell_of_a_smaller_budget_has_the_winner_of_its_first_trials() -> None:
    cell = facts("tcn", trials=3, repetitions=2)
    finals = repeated(cell.cell, 1, [0.3, 0.4])
    entries = [*searched(cell.cell, [0.5, 0.2, 0.1]), *finals]
    whole = summarize_cell(cell, entries)
    assert (whole.state, whole.finals, whole.superseded) == ("incomplete", (), tuple(finals))
    first = capped(whole, 2, 1)
    assert (first.state, first.scores("test"), first.superseded) == ("complete", [0.3], ())
    assert (first.facts.trials, first.facts.repetitions) == (2, 1)
    assert capped(first, 9, 9) == first


def test_one_score_of_zero_makes_the_scale_of_its_task_linear() -> None:
    cells = [facts("tcn"), facts("gru"), facts("tcn", task="other")]
    entries = [*cell_of(cells[0], [0.0, 1.0]), *cell_of(cells[1], [1.0, 2.0]), *cell_of(cells[2], [1.0, 2.0])]
    assert [result.scale for result in summarize_cells(cells, entries)] == ["linear", "linear", "log"]


def test_reason_counts_outcomes_by_phase_and_quotes_the_first_reason() -> None:
    cell = facts("tcn", trials=3)
    failed = [*searched(cell.cell, [0.1, None], reason="loss nan"), *searched(cell.cell, [None] * 3)[2:]]
    final = replace(repeated(cell.cell, 0, [0.1])[0], result=TrialResult(outcome="out-of-memory", reason="17 GiB"))
    result = summarize_cell(cell, [*failed, final])
    assert result.reason == "2 diverged: loss nan; repetitions: 1 out-of-memory: 17 GiB"
