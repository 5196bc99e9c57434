"""Successive halving: decisions of whole rungs, equal totals, and the same trials whatever happens."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.halving import Rung, total_updates
from harness.ledger.journal import TrialEntry
from harness.plugin.registry import Registry
from harness.records import Trial, TrialResult
from harness.search.cell import CellState
from harness.search.promotion import decide
from harness.search.scheduler import TrialScheduler
from tests.conftest import make_trial
from tests.support.trials import SAMPLERS, MakeStates, any_resources, end, rate_of, rebuilt, run_trials, small_states

RUNGS = (Rung(2, 6), Rung(6, 2), Rung(18, 1))
HALVING = {"kind": "successive-halving", "reduction": 3, "minimum_updates": 2}
TRAINING = {"updates": 18, "batch_size": 8, "evaluations": 9}


def _waiting(number: int, *scores: float, result: TrialResult | None = None) -> TrialEntry:
    """Return a trial that has these scores at its rungs."""
    rungs = [
        TrialResult(outcome="pruned", score=score, updates=rung.updates)
        for score, rung in zip(scores, RUNGS, strict=False)
    ]
    return TrialEntry(make_trial(number=number), 1, (), result, tuple(rungs))


def _numbers(keys: tuple[str, ...]) -> list[int]:
    return [int(key.rpartition("/")[2]) for key in keys]


def test_rung_waits_for_its_last_trial() -> None:
    entries = [_waiting(number, float(number)) for number in range(5)]
    assert decide(entries, RUNGS, "lower") == decide([*entries, _waiting(5)], RUNGS, "lower")
    assert decide([*entries, _waiting(5)], RUNGS, "lower").promoted == ()


@pytest.mark.parametrize(("better", "promoted"), [("lower", [0, 1]), ("higher", [5, 4])])
def test_best_trials_of_a_rung_are_promoted(better: str, promoted: list[int]) -> None:
    entries = [_waiting(number, float(number)) for number in range(6)]
    random.Random(0).shuffle(entries)
    decisions = decide(entries, RUNGS, better)  # type: ignore[arg-type]  # one of the two words
    assert _numbers(decisions.promoted) == promoted
    assert sorted(_numbers(decisions.pruned)) == sorted(set(range(6)) - set(promoted))


def test_of_equal_scores_the_lower_number_is_promoted() -> None:
    entries = [_waiting(number, 1.0) for number in reversed(range(6))]
    assert _numbers(decide(entries, RUNGS, "lower").promoted) == [0, 1]


def test_trial_that_failed_does_not_hold_up_its_rung_and_is_not_promoted() -> None:
    failed = TrialResult(outcome="diverged", score=-9.0, updates=1)
    entries = [_waiting(0, result=failed), *(_waiting(number, float(number)) for number in range(1, 6))]
    decisions = decide(entries, RUNGS, "lower")
    assert _numbers(decisions.promoted) == [1, 2]
    assert _numbers(decisions.pruned) == [3, 4, 5]


def test_promoted_trial_that_failed_leaves_its_place_empty() -> None:
    pruned = TrialResult(outcome="pruned", score=9.0, updates=2)
    entries = [
        _waiting(0, 0.0, result=TrialResult(outcome="failed", updates=3)),
        _waiting(1, 1.0, 1.0),
        *(_waiting(number, 9.0, result=pruned) for number in range(2, 6)),
    ]
    assert _numbers(decide(entries, RUNGS, "lower").promoted) == [1]


def test_every_cell_has_the_same_rungs_and_total_of_updates(states_of: MakeStates) -> None:
    states = states_of(
        models=["toy-ema", "toy-stack"],
        tasks=[{"name": "toy-sum", "parameters": 400}],
        search={"pruning": HALVING},
        training=TRAINING,
        budget={"trials": 4, "repetitions": 2, "tolerance": 0.05},
    )
    (rungs,) = {state.plan.facts.rungs for state in states}
    trials = run_trials(TrialScheduler(states), at_once=3)
    for state in states:
        entries = state.searched
        assert len(entries) == rungs[0].trials == state.plan.facts.trials
        reached = [sum(entry.result.updates >= rung.updates for entry in entries if entry.result) for rung in rungs]
        assert reached == [rung.trials for rung in rungs]
        started = sum(trial.cell == state.plan.cell and trial.phase == "search" for trial in trials)
        assert started == sum(rung.trials for rung in rungs)
        assert sum(entry.result.updates for entry in entries if entry.result) == total_updates(rungs)
        assert len(state.finals()) == 2
        assert state.finished()


def test_schedule_and_digest_are_those_of_the_full_length(states_of: MakeStates) -> None:
    (pruned,) = states_of(search={"pruning": HALVING}, training=TRAINING)
    (full,) = states_of(training=TRAINING)
    first, expected = pruned.search_trial(0), full.search_trial(0)
    assert (first.until, expected.until) == (2, None)
    assert first.training == expected.training
    assert first.digest == expected.digest
    assert first.model_copy(update={"until": None}) == expected
    assert "until" not in expected.model_dump(mode="json")


def test_only_trials_of_the_last_rung_can_win(states_of: MakeStates) -> None:
    """A trial may have the best score of all at its rung, and become worse than others that train on."""
    (state,) = states_of(search={"pruning": HALVING}, training=TRAINING, budget={"trials": 4, "repetitions": 1})
    scheduler = TrialScheduler([state])

    def score(trial: Trial) -> float | None:
        if trial.until == 2:
            return float(trial.number)
        return 100.0 + trial.number  # worse than every trial of the first rung

    trials = run_trials(scheduler, score)
    assert trials[-1].winner == "s/toy-sum/toy-ema/search/0"
    assert trials[-1].until is None


def test_diverged_trial_of_the_last_rung_keeps_its_place_and_no_pruned_one_takes_it(states_of: MakeStates) -> None:
    (state,) = states_of(search={"pruning": HALVING}, training=TRAINING, budget={"trials": 4, "repetitions": 1})
    scheduler = TrialScheduler([state])
    run_trials(scheduler, lambda trial: None if trial.until is None else float(trial.number))
    assert state.search_ended()
    assert state.winner() is None
    assert state.finals() == []


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(1, 40), again=st.integers(1, 30), at_once=st.integers(1, 5))
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_interrupted_study_has_the_trials_of_an_uninterrupted_one(
    toy_registry: Registry, sampler: str, cut: int, again: int, at_once: int
) -> None:
    at_once = 1 if sampler == "tpe" else at_once  # it depends on which trials have ended
    undisturbed = _states(toy_registry, sampler)
    run_trials(TrialScheduler(undisturbed))
    first = TrialScheduler(_states(toy_registry, sampler))
    run_trials(first, stop_after=cut, at_once=at_once)
    second = rebuilt(first.cells.values())
    run_trials(second, stop_after=again, at_once=at_once)
    third = rebuilt(second.cells.values())
    run_trials(third, at_once=at_once)
    assert third.finished()
    for before, after in zip(undisturbed, third.cells.values(), strict=True):
        assert _content(after) == _content(before)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), at_once=st.integers(2, 20))
def test_trials_end_in_any_order(toy_registry: Registry, seed: int, at_once: int) -> None:
    expected = _states(toy_registry, "random")
    run_trials(TrialScheduler(expected))
    states = _states(toy_registry, "random")
    scheduler, order = TrialScheduler(states), random.Random(seed)
    running: list[Trial] = []
    while True:
        while len(running) < at_once and (trial := scheduler.ask(any_resources)) is not None:
            running.append(trial)
        if not running:
            break
        trial = running.pop(order.randrange(len(running)))
        end(scheduler, trial, rate_of(trial))
    assert [_content(state) for state in states] == [_content(state) for state in expected]


def test_requeued_trial_pauses_at_the_same_rung(states_of: MakeStates) -> None:
    (state,) = states_of(search={"pruning": HALVING}, training=TRAINING, budget={"trials": 4, "repetitions": 1})
    scheduler = TrialScheduler([state])
    count = state.plan.facts.trials
    for number in range(count):
        trial = scheduler.ask(any_resources)
        assert trial is not None
        end(scheduler, trial, float(number))
    promoted = [scheduler.ask(any_resources), scheduler.ask(any_resources)]
    first, second = promoted
    assert first is not None
    assert second is not None
    scheduler.requeue(second)
    again = scheduler.ask(any_resources)
    assert again == second
    assert [trial.until for trial in (first, second)] == [6, 6]
    others = list(iter(lambda: scheduler.ask(any_resources), None))
    assert Counter(trial.key for trial in (first, second, *others)).most_common(1)[0][1] == 1
    assert 2 + len(others) == state.plan.facts.rungs[1].trials


def test_rungs_grow_with_the_budget(states_of: MakeStates) -> None:
    planned = [
        states_of(search={"pruning": HALVING}, training=TRAINING, budget={"trials": n, "repetitions": 1})[0].plan.facts
        for n in (4, 8, 16)
    ]
    assert all(before.trials < after.trials for before, after in pairwise(planned))
    assert len({facts.fingerprint["pruning"] for facts in planned}) == 3


def _content(state: CellState) -> object:
    """Return what must not depend on interruptions or on the order of ends, by key."""
    return {
        key: (entry.trial.model_copy(update={"until": None}), entry.result, entry.rungs)
        for key, entry in sorted(state.entries.items())
    }


def _states(toys: Registry, sampler: str) -> list[CellState]:
    return small_states(toys, sampler, budget={"trials": 3, "repetitions": 2}, training=TRAINING, pruning=HALVING)
