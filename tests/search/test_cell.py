"""One cell: its winner, its final trials and what interrupts them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.records import Resources, TrialResult
from harness.search.cell import CellState
from harness.search.scheduler import TrialScheduler
from harness.seeds import Seeds
from tests.conftest import make_trial
from tests.support.trials import (
    MakeStates,
    always,
    any_resources,
    complete,
    entry_of,
    rate_of,
    run_trials,
)


@pytest.mark.parametrize(("better", "number"), [("lower", 1), ("higher", 2)])
def test_winner_is_the_best_complete_search_trial(better: Any, number: int) -> None:
    entries = [entry_of(0, 0.5), entry_of(1, 0.1), entry_of(2, 0.9), entry_of(3, None)]
    entries.append(TrialEntry(make_trial(number=4), 1))
    entries.append(TrialEntry(make_trial(number=5), 1, (), TrialResult(outcome="failed", score=0.0)))
    entries.append(TrialEntry(make_trial(number=0, phase="final"), 1, (), complete(-9.0 if better == "lower" else 9.0)))
    best = winner(entries, better)
    assert best is not None
    assert (best.trial.phase, best.trial.number) == ("search", number)


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_tie_goes_to_the_lower_number_in_any_order(better: Any) -> None:
    entries = [entry_of(3, 0.5), entry_of(1, 0.5), entry_of(2, 0.5)]
    for ordered in (entries, entries[::-1]):
        best = winner(ordered, better)
        assert best is not None
        assert best.trial.number == 1


@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_not_finite_cannot_win(better: Any, score: float) -> None:
    best = winner([entry_of(0, score), entry_of(1, 0.5)], better)
    assert best is not None
    assert best.trial.number == 1
    assert winner([entry_of(0, score)], better) is None


def test_search_without_a_complete_trial_has_no_winner() -> None:
    assert winner([], "lower") is None
    assert winner([entry_of(0, None)], "lower") is None


def test_search_trials_share_stream_zero(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", "toy-stack"], search={"seed": 7})
    scheduler = TrialScheduler(states)
    trials = [trial for trial in run_trials(scheduler) if trial.phase == "search"]
    assert {trial.seeds for trial in trials} == {Seeds.of(7, 0)}
    assert {trial.plugins for trial in trials} == {states[0].plan.plugins}


def test_resumed_trial_has_the_resources_that_the_study_now_gives(states_of: MakeStates) -> None:
    (before,) = states_of()
    first = TrialScheduler([before]).ask(any_resources)
    assert first is not None
    (after,) = states_of(resources={"cpu": 2})
    after.entries.update(before.entries)
    after.again = [first.key]
    scheduler = TrialScheduler([after])
    again = scheduler.ask(any_resources)
    assert again is not None
    assert (again.key, again.digest, again.resources) == (first.key, first.digest, Resources(cpu=2))
    scheduler.tell(again, complete(0.0))
    finals = [trial for trial in run_trials(scheduler) if trial.phase == "final"]
    assert {trial.resources for trial in finals} == {Resources(cpu=2)}


def test_final_trial_is_the_winner_with_new_seeds(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 5, "repetitions": 3}, search={"seed": 3})
    trials = run_trials(TrialScheduler([state]))
    best = min((trial for trial in trials if trial.phase == "search"), key=rate_of)
    finals = [trial for trial in trials if trial.phase == "final"]
    assert [trial.repetition for trial in finals] == [0, 1, 2]
    place = {"phase", "number", "seeds", "repetition", "winner", "draw", "rejections"}
    for repetition, trial in enumerate(finals):
        assert trial.model_dump(exclude=place) == best.model_dump(exclude=place)
        assert (trial.winner, trial.draw, trial.rejections) == (best.key, None, ())
        assert trial.seeds == Seeds.of(3, repetition + 1)


def test_finals_are_paired_across_models(states_of: MakeStates) -> None:
    """Repetition r of any model has the seeds of stream r + 1: the same data, order and initial noise."""
    states = states_of(models=["toy-ema", "toy-stack"], budget={"trials": 2, "repetitions": 3, "tolerance": 0.1})
    finals = [trial for trial in run_trials(TrialScheduler(states), at_once=3) if trial.phase == "final"]
    by_repetition = {r: {trial.seeds for trial in finals if trial.repetition == r} for r in range(3)}
    assert by_repetition == {r: {Seeds.of(0, r + 1)} for r in range(3)}
    assert len({seeds.fixed for group in by_repetition.values() for seeds in group}) == 1
    assert Seeds.of(0, 0) not in {seeds for group in by_repetition.values() for seeds in group}


def test_cell_without_a_complete_trial_has_no_final(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", {"name": "toy-ema", "as": "bad"}])
    scheduler = TrialScheduler(states)
    trials = run_trials(scheduler, lambda trial: None if trial.cell.model == "bad" else 1.0)
    assert Counter((trial.cell.model, trial.phase) for trial in trials) == {
        ("toy-ema", "search"): 2,
        ("toy-ema", "final"): 2,
        ("bad", "search"): 2,
    }
    assert scheduler.finished()


def test_final_trial_that_failed_is_not_retried(states_of: MakeStates) -> None:
    (state,) = states_of()
    scheduler = TrialScheduler([state])
    trials = run_trials(scheduler, lambda trial: None if trial.phase == "final" else 1.0)
    assert Counter(trial.phase for trial in trials) == {"search": 2, "final": 2}
    assert scheduler.finished()


def test_published_setting_has_only_final_trials(states_of: MakeStates) -> None:
    (state,) = states_of(protocol="paper", training={}, budget={"repetitions": 2})
    scheduler = TrialScheduler([state])
    trials = run_trials(scheduler, always(1.0))
    assert [(trial.phase, trial.number, trial.repetition, trial.winner) for trial in trials] == [
        ("final", 0, 0, None),
        ("final", 1, 1, None),
    ]
    assert state.plan.setting is not None
    for trial in trials:
        assert (trial.widths, trial.build) == ((40,), {"bias": True, "dropout": 0.0})
        assert trial.optimisation == state.plan.setting.optimisation
        assert trial.params["learning_rate"] == 0.01
    assert [trial.seeds for trial in trials] == [Seeds.of(0, 1), Seeds.of(0, 2)]
    assert scheduler.finished()


def _with_budget(states_of: MakeStates, before: CellState, **budget: int) -> CellState:
    (state,) = states_of(budget=budget)
    state.entries.update(before.entries)
    state.again = [key for key, entry in state.entries.items() if entry.result is None]
    return state


def test_more_repetitions_are_added(states_of: MakeStates) -> None:
    (before,) = states_of(budget={"trials": 2, "repetitions": 2})
    run_trials(TrialScheduler([before]))
    after = _with_budget(states_of, before, trials=2, repetitions=4)
    added = run_trials(TrialScheduler([after]))
    assert [(trial.number, trial.repetition, trial.seeds) for trial in added] == [
        (2, 2, Seeds.of(0, 3)),
        (3, 3, Seeds.of(0, 4)),
    ]


@pytest.mark.parametrize("better_comes", [True, False])
def test_more_trials_supersede_final_trials_if_the_winner_changes(states_of: MakeStates, better_comes: bool) -> None:
    (before,) = states_of(budget={"trials": 2, "repetitions": 2})
    old = [trial for trial in run_trials(TrialScheduler([before]), always(1.0)) if trial.phase == "final"]
    after = _with_budget(states_of, before, trials=4, repetitions=2)
    scheduler = TrialScheduler([after])
    assert not scheduler.finished()
    added = run_trials(scheduler, lambda trial: 0.5 if better_comes and trial.number == 3 else 2.0)
    assert [trial.number for trial in added if trial.phase == "search"] == [2, 3]
    finals = [trial for trial in added if trial.phase == "final"]
    if not better_comes:
        assert finals == []
        assert [entry.trial for entry in after.finals()] == old
        return
    # The new winner gets all repetitions under new numbers; the old finals stay on record.
    assert [(trial.number, trial.repetition) for trial in finals] == [(2, 0), (3, 1)]
    assert {trial.winner for trial in finals} == {"s/toy-sum/toy-ema/search/3"}
    assert [entry.trial for entry in after.finals()] == finals
    assert all(trial.key in after.entries for trial in old)
    assert scheduler.finished()


def test_interrupted_final_waits_for_the_search_and_is_dropped_if_superseded(states_of: MakeStates) -> None:
    """With more trials, an interrupted final trial may belong to a winner that is superseded."""
    (before,) = states_of(budget={"trials": 1, "repetitions": 2})
    trials = run_trials(TrialScheduler([before]), always(1.0), stop_after=2)
    assert [trial.phase for trial in trials] == ["search", "final"]
    for score, kept in ((0.5, False), (2.0, True)):
        after = _with_budget(states_of, before, trials=2, repetitions=2)
        scheduler = TrialScheduler([after])
        added = run_trials(scheduler, always(score))
        assert [(trial.phase, trial.number) for trial in added] == [
            ("search", 1),
            ("final", 0 if kept else 1),
            ("final", 1 if kept else 2),
        ]
        assert scheduler.finished()
