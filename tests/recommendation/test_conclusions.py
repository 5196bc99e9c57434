"""The answer of a race, from the cells of one task."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.cell_result import CellResult, summarize_cell
from harness.analysis.statistics import SamplingError
from harness.ledger.journal import TrialEntry
from harness.recommendation.conclusions import (
    answer,
    best_final,
    sampling_error,
    scoring_of_test,
    scoring_of_validation,
)
from harness.recommendation.page import page
from harness.recommendation.race import Step
from harness.recommendation.result import Recommendation, Setup
from harness.records import MetricFacts
from tests.support.cells import ACCURACY, LOSS, cell_of, facts

SETUP = Setup(study="s", study_id="s1", confidence=0.95, looks=(5, 10, 15, 20, 29), slots=1, out_of_time=False)


def cell(model: str, scores: list[float], metric: MetricFacts = ACCURACY, floor: float | None = 50.0) -> CellResult:
    cell_facts = facts(model, metric, repetitions=len(scores)).model_copy(update={"floor": floor})
    return summarize_cell(cell_facts, cell_of(cell_facts, scores))


def conclude_cells(
    *cells: CellResult, lost: dict[str, int] | None = None, reads: tuple[int, ...] = (10,)
) -> Recommendation:
    models = [result.facts.cell.model for result in cells]
    lost = lost or {}
    alive = tuple(model for model in models if model not in lost)
    n = max(result.facts.repetitions for result in cells)
    return answer(cells, Step(n, (), alive, lost, reads), SETUP)


def noisy(mean: float, seed: int, n: int = 10) -> list[float]:
    return [mean + 0.1 * x for x in np.random.default_rng(seed).normal(size=n)]


def weighted(result: CellResult) -> CellResult:
    """The cell with weights of every repetition."""
    finals = [
        replace(entry, result=entry.result.model_copy(update={"weights": f"w{n}"}))
        for n, entry in enumerate(result.finals)
        if entry.result is not None
    ]
    return replace(result, finals=tuple(finals))


def repetition(entry: TrialEntry | None) -> int | None:
    return None if entry is None else entry.trial.repetition


def test_the_winner_is_the_repetition_of_the_best_validation_score_in_the_direction_of_the_metric() -> None:
    assert repetition(best_final(weighted(cell("a", [70.0, 90.0, 80.0, 90.0])))) == 1
    assert repetition(best_final(weighted(cell("a", [0.3, 0.1, 0.2, 0.1], LOSS, None)))) == 1
    assert best_final(cell("a", [70.0, 90.0])) is None  # no weights were kept


def test_a_better_model_is_best_and_probabilities_add_up_to_one() -> None:
    answered = conclude_cells(cell("a", noisy(90, 0)), cell("b", noisy(70, 1)), cell("c", noisy(60, 2)), lost={"c": 10})
    assert (answered.verdict, answered.model) == ("best", "a")
    assert [candidate.place for candidate in answered.candidates] == ["leader", "lost", "lost"]
    assert sum(candidate.probability or 0 for candidate in answered.candidates) == pytest.approx(1)


def test_a_model_that_left_keeps_the_probability_that_it_is_better_and_the_others_share_the_rest() -> None:
    cells = cell("a", noisy(90, 0)), cell("b", noisy(90.02, 1)), cell("c", noisy(89.98, 2))
    for lost in ({}, {"c": 10}, {"b": 10, "c": 10}):
        answered = conclude_cells(*cells, lost=lost)
        shares = {candidate.model: candidate.probability or 0 for candidate in answered.candidates}
        assert sum(shares.values()) == pytest.approx(1)
        assert all(0 < share < 1 for share in shares.values())


def test_a_model_that_is_ahead_on_test_is_not_lost_whatever_validation_says() -> None:
    answered = conclude_cells(cell("a", noisy(70, 0)), cell("b", noisy(90, 1)), lost={"b": 10})
    assert answered.candidates[0].model == "b"
    assert {candidate.model: candidate.place for candidate in answered.candidates} == {"a": "lost", "b": "leader"}


def test_a_model_that_test_leaves_open_is_open_whatever_validation_says() -> None:
    answered = conclude_cells(cell("a", noisy(90.02, 0)), cell("b", noisy(90, 1)), lost={"b": 10})
    assert answered.verdict == "undecided"
    assert {candidate.place for candidate in answered.candidates} == {"leader", "open"}


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_of_cells_has_no_effect(reverse: bool) -> None:
    cells = [cell("b", noisy(90, 0)), cell("a", noisy(90, 0)), cell("c", noisy(80, 3)), cell("d", noisy(80, 3))]
    answered = conclude_cells(*(reversed(cells) if reverse else cells))
    assert [candidate.model for candidate in answered.candidates] == ["a", "b", "c", "d"]


def test_the_page_says_how_often_test_scores_were_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    cells = cell("a", noisy(90, 0)), cell("b", noisy(80, 1))
    folder = tmp_path_factory.mktemp("study")
    assert "read once, after 10 repetitions" in page(conclude_cells(*cells), folder)
    again = answer(cells, Step(15, (), ("a", "b"), {}, (15,)), SETUP.model_copy(update={"test_reads": (10,)}))
    assert again.test_reads == (10, 15)
    assert "read 2 times, after 10 and 15 repetitions" in page(again, folder)


def test_a_cell_without_scores_fails_and_the_others_are_compared() -> None:
    answered = conclude_cells(cell("a", noisy(90, 0)), cell("b", [math.nan] * 10))
    assert answered.candidates[0].model == "a"
    assert answered.candidates[1].scored == 0


def with_errors(result: CellResult, errors: list[float]) -> CellResult:
    """The cell with standard errors of its test scores."""
    name = result.facts.metric.name
    finals = tuple(
        replace(entry, result=entry.result.model_copy(update={"test_errors": {name: error}, "test_groups": 12}))
        for entry, error in zip(result.finals, errors, strict=True)
        if entry.result is not None
    )
    return replace(result, finals=finals)


def test_sampling_error_is_the_mean_over_repetitions_and_unknown_of_older_results() -> None:
    known = sampling_error(with_errors(cell("a", [70.0, 71.0]), [8.0, 12.0]))
    assert known == SamplingError(12, 10.0)
    assert sampling_error(cell("a", [70.0, 71.0])) is None


def test_sampling_error_of_the_test_data_keeps_a_small_lead_over_the_floor_unsure() -> None:
    """Accuracy 70 of 12 answers at a floor of 50: seeds agree, another test set may not."""
    for error, learned, verdict in ((13.0, "unsure", "undecided"), (1.0, "yes", "alone")):
        answered = conclude_cells(with_errors(cell("a", noisy(70, 0)), [error] * 10))
        assert (answered.candidates[0].learned, answered.verdict) == (learned, verdict)


def test_each_split_is_read_against_its_own_floor() -> None:
    result = cell("a", [70.0, 71.0])
    result = replace(result, facts=result.facts.model_copy(update={"floor": 50.0, "validation_floor": 60.0}))
    assert scoring_of_validation(result.facts).floor == 60.0
    assert scoring_of_test([result]).floor == 50.0
    assert scoring_of_validation(cell("a", [70.0]).facts).floor is None  # never that of test


def test_candidate_off_the_budget_carries_its_deviation() -> None:
    small = weighted(cell("a", noisy(90, 0)))  # its trials have 1010 parameters
    limits = {"parameters": 1000, "tolerance": 0.005}
    small = replace(small, facts=small.facts.model_copy(update=limits))
    answered = conclude_cells(small, cell("b", noisy(70, 1)))
    deviations = {candidate.model: candidate.deviation_percent for candidate in answered.candidates}
    assert deviations == {"a": pytest.approx(1.0), "b": None}


def test_an_open_candidate_has_the_repetitions_that_a_decision_needs() -> None:
    candidates = conclude_cells(cell("a", noisy(90, 0)), cell("b", noisy(89.98, 1)), cell("c", noisy(60, 2))).candidates
    needed = {candidate.place: candidate.needed for candidate in candidates}
    assert needed["open"] is not None
    assert needed["open"] > 10
    assert needed["leader"] is needed["lost"] is None


def test_a_model_without_any_score_is_failed_beside_the_others() -> None:
    failed = facts("b", ACCURACY, repetitions=10).model_copy(update={"floor": 50.0})
    answered = conclude_cells(cell("a", noisy(90, 0)), summarize_cell(failed, []))
    assert {candidate.model: candidate.place for candidate in answered.candidates} == {"a": "leader", "b": "failed"}


def test_test_scores_are_read_on_the_scale_of_the_metric() -> None:
    assert scoring_of_test([cell("a", [0.1, 0.2], LOSS, 2.0)]).scale == "log"
    assert scoring_of_test([cell("a", [90.0, 91.0])]).scale == "linear"


def test_repetitions_without_a_score_are_noted() -> None:
    scores = noisy(90, 0)
    assert not any(
        "without a score" in note for note in conclude_cells(cell("a", scores), cell("b", noisy(70, 1))).notes
    )
    short = cell("b", [*noisy(70, 1)[:9], math.nan])
    assert any(note.endswith("known: b 1 of 10") for note in conclude_cells(cell("a", scores), short).notes)
