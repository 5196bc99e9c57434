"""Rows of a comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.cell_result import summarize_cell
from harness.analysis.comparison_row import make_row
from harness.report.formats import to_markdown
from harness.report.report import build_report
from tests.support.cells import (
    cell_of,
    facts,
    measured,
    repeated,
    rows,
    searched,
    stored,
    trial,
)


def test_cell_behind_its_ledger_is_not_ranked() -> None:
    tcn = facts("tcn")
    whole = cell_of(tcn, [0.01, 0.04])
    later = replace(whole[0], trial=trial(tcn.cell, "search", 2))
    study = stored([tcn], whole, ledger=[*whole, later])
    row = rows(study)["tcn"]
    assert (row.state, row.lacking, row.rank) == ("complete", 1, None)
    assert row.status == "incomplete 4/4: the store differs from its last sync by 1"
    assert "holds 4 finished trials, and the ledger held 5 at the last sync." in to_markdown(build_report(study))


def test_store_that_was_never_synced_ranks_nothing() -> None:
    tcn = facts("tcn")
    study = replace(stored([tcn], cell_of(tcn, [0.01, 0.04])), mark=None)
    row = rows(study)["tcn"]
    assert (row.rank, row.status) == (None, "incomplete 4/4: the store was never synced")
    assert "holds 4 finished trials and was never synced with the ledger." in to_markdown(build_report(study))


def test_search_in_progress_is_incomplete_even_if_all_trials_so_far_failed() -> None:
    lstm = facts("lstm", trials=3)
    study = stored([lstm], searched(lstm.cell, [None, None]))
    assert rows(study)["lstm"].status == "incomplete 2/5"


def test_cost_counts_superseded_repetitions() -> None:
    tcn = facts("tcn")
    old = [measured(entry, 7.0, 2**31) for entry in repeated(tcn.cell, 0, [9.0])]
    row = rows(stored([tcn], [*cell_of(tcn, [0.01, 0.04]), *old]))["tcn"]
    assert (row.superseded, row.seconds, row.peak_bytes) == (1, 7.0, 2**31)


def test_deviation_is_relative_to_the_budget_or_the_published_size() -> None:
    cell = facts("tcn")  # its trials have 1010 parameters
    deviations = [
        make_row(summarize_cell(cell.model_copy(update=sizes), cell_of(cell, [0.1, 0.2])), 0).deviation_percent
        for sizes in (
            {"parameters": 1000, "task_parameters": 2020},
            {"parameters": None, "task_parameters": 2020},
            {"parameters": None, "task_parameters": None},
        )
    ]
    assert deviations == [pytest.approx(1.0), pytest.approx(-50.0), None]


@pytest.mark.parametrize(
    ("parameters", "embedding", "tolerance", "budget", "off"),
    [
        (1010, None, 0.01, 1000, False),  # 10 of 1010 is less than 1 %
        (1011, None, 0.01, 1000, True),
        (989, None, 0.01, 1000, True),
        (873, None, 0.13, 1000, True),  # 127 is 12.7 % of the budget and 14.5 % of the count
        (1010, 500, 0.01, 1000, True),  # 10 is 2 % of the 510 parameters that are not of the embedding
        (1010, 500, 0.02, 1000, False),
        (873, None, 0.01, None, False),  # protocol paper
        (873, None, None, 1000, False),  # a study of an earlier version
    ],
)
def test_row_is_off_budget_beyond_the_tolerance_of_the_count_without_the_embedding(
    parameters: int, embedding: int | None, tolerance: float | None, budget: int | None, off: bool
) -> None:
    cell = facts("tcn").model_copy(update={"tolerance": tolerance, "parameters": budget, "task_parameters": 1000})
    changes = {"parameters": parameters, "embedding_parameters": embedding}
    entries = [replace(entry, trial=entry.trial.model_copy(update=changes)) for entry in cell_of(cell, [0.1, 0.2])]
    assert rows(stored([cell], entries))["tcn"].off_budget is off


def test_rejections_that_differ_only_in_numbers_are_one_kind() -> None:
    cell = facts("tcn")
    first, *others = cell_of(cell, [0.1, 0.2])
    reasons = ("1 layer reaches 2 steps", "widths 31 have 961", "widths 33 have 1089")
    row = make_row(summarize_cell(cell, [measured(first, 1.0, None, reasons), *others]), 0)
    assert (row.rejections, row.rejection) == (3, "widths 31 have 961")


@pytest.mark.parametrize("limit", [None, 100])
def test_row_says_how_many_sequences_were_scored(limit: int | None) -> None:
    cell = facts("tcn")
    training = cell_of(cell, [0.1, 0.2])[0].trial.training.model_copy(update={"evaluation_limit": limit})
    entries = [
        replace(entry, trial=entry.trial.model_copy(update={"training": training}))
        for entry in cell_of(cell, [0.1, 0.2])
    ]
    assert make_row(summarize_cell(cell, entries), 0).evaluation_limit == limit
    assert make_row(summarize_cell(cell, []), None).evaluation_limit is None
