"""Selection of a cell's winner by validation score."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from harness.halving import Rung
from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.records import Outcome, Phase, TrialResult
from tests.ledger.conftest import make_result, make_trial


def entry(
    number: int, score: float | None, *, outcome: Outcome = "complete", phase: Phase = "search", ended: bool = True
) -> TrialEntry:
    result = make_result(outcome, score) if ended else None
    return TrialEntry(make_trial(number, phase), 1, result=result)


@pytest.mark.parametrize(("better", "number"), [("lower", 1), ("higher", 2)])
def test_best_score_wins_in_the_direction_of_the_metric(better: Literal["lower", "higher"], number: int) -> None:
    best = winner([entry(0, 0.5), entry(1, -0.2), entry(2, 0.7)], better)
    assert best is not None
    assert best.trial.number == number


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_ties_go_to_the_lower_number_in_any_order(better: Literal["lower", "higher"]) -> None:
    best = winner([entry(3, 0.5), entry(1, 0.5), entry(2, 0.5)], better)
    assert best is not None
    assert best.trial.number == 1


@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize(
    "other",
    [
        entry(0, math.nan),
        entry(0, math.inf),
        entry(0, -math.inf),
        entry(0, None),
        entry(0, 0.0, outcome="failed"),
        entry(0, 0.0, outcome="out-of-memory"),
        entry(0, 0.0, phase="final"),
        entry(0, 0.0, ended=False),
    ],
)
def test_only_search_trials_with_a_finite_score_of_their_own_can_win(
    other: TrialEntry, better: Literal["lower", "higher"]
) -> None:
    assert winner([other], better) is None
    best = winner([other, entry(1, 1.0), entry(2, 1.0)], better)
    assert best is not None
    assert best.trial.number == 1


def test_trial_that_diverged_before_the_last_rung_cannot_win() -> None:
    """It has the score of its best evaluation, which may be better than those of the last rung."""
    rungs = (Rung(2, 2), Rung(6, 1))
    results = [
        TrialResult(outcome="diverged", score=0.1, updates=2),
        TrialResult(outcome="complete", score=0.5, updates=6),
    ]
    entries = [TrialEntry(make_trial(number), 1, (), result) for number, result in enumerate(results)]
    best = winner(entries, "lower", rungs)
    assert best is not None
    assert best.trial.number == 1
    diverged_later = results[0].model_copy(update={"updates": 4})
    best = winner([TrialEntry(entries[0].trial, 1, (), diverged_later), entries[1]], "lower", rungs)
    assert best is not None
    assert best.trial.number == 0
