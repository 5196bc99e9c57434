"""The counts and the winner that a history keeps, compared with those computed from all entries."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.halving import Rung
from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.records import Outcome, TrialResult
from harness.search.history import History
from tests.conftest import make_trial

OUTCOMES: tuple[Outcome, ...] = ("complete", "diverged", "failed", "pruned")
RESULTS = st.one_of(
    st.none(),
    st.builds(
        TrialResult,
        outcome=st.sampled_from(OUTCOMES),
        score=st.sampled_from([None, 0.1, 0.2, 0.2, 0.3, float("nan"), float("inf")]),
        updates=st.sampled_from([2, 6, 18]),
    ),
)
STEPS = st.lists(st.tuples(st.sampled_from(["search", "final"]), st.integers(0, 5), RESULTS), max_size=25)
RUNGS = (Rung(2, 6), Rung(6, 2), Rung(18, 1))


@given(STEPS, st.sampled_from(["lower", "higher"]), st.sampled_from([(), RUNGS]))
@settings(max_examples=200, deadline=None)
def test_history_is_equal_to_a_count_of_all_entries(
    steps: list[tuple[Literal["search", "final"], int, TrialResult | None]],
    better: Literal["lower", "higher"],
    rungs: tuple[Rung, ...],
) -> None:
    """A step sets the entry of a trial, again and again: in any order, also from a result to another."""
    history = History(better, rungs)
    for phase, number, result in steps:
        winner_key = f"w{number % 2}" if phase == "final" else None
        trial = make_trial(phase=phase, number=number, winner=winner_key)
        known = history.get(trial.key)
        history[trial.key] = replace(known, result=result) if known else TrialEntry(trial, 1, (), result)
        entries = list(history.values())
        searched = [entry for entry in entries if entry.trial.phase == "search"]
        assert history.searched == searched
        assert history.open_searches == sum(entry.result is None for entry in searched)
        assert history.final_count == len(entries) - len(searched)
        assert history.winner is winner(entries, better, rungs)
        for key in (None, "w0", "w1"):
            finals = [entry for entry in entries if entry.trial.phase == "final" and entry.trial.winner == key]
            assert history.finals(key) == finals


def test_trial_cannot_be_removed_from_a_history() -> None:
    history = History("lower")
    history["key"] = TrialEntry(make_trial(), 1)
    with pytest.raises(TypeError):
        del history["key"]
