"""The scheduler: turns, resources, companions, and the same trials after an interruption."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plugin.registry import Registry
from harness.records import Resources
from harness.search.cell import CellState
from harness.search.scheduler import TrialScheduler
from tests.support.trials import (
    SAMPLERS,
    MakeStates,
    any_resources,
    complete,
    rate_of,
    rebuilt,
    run_trials,
    small_states,
)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("at_once", [1, 4])
def test_every_cell_trains_exactly_its_trials(states_of: MakeStates, sampler: str, at_once: int) -> None:
    models = ["toy-ema", {"name": "toy-stack", "as": "stack"}]
    tasks = [{"name": "toy-sum", "parameters": 400}, {"name": "toy-ragged", "parameters": 300}]
    states = states_of(
        models=models,
        tasks=tasks,
        search={"sampler": sampler},
        budget={"trials": 6, "repetitions": 2, "tolerance": 0.05},
    )
    scheduler = TrialScheduler(states)
    trials = run_trials(scheduler, lambda trial: None if trial.number % 3 == 1 else rate_of(trial), at_once=at_once)
    counts = Counter((str(trial.cell), trial.phase) for trial in trials)
    assert counts == {
        (str(state.plan.cell), phase): n for state in states for phase, n in (("search", 6), ("final", 2))
    }
    assert len({trial.key for trial in trials}) == len(trials)
    assert scheduler.finished()
    assert dict(scheduler.running) == {}


def test_cells_take_turns(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", {"name": "toy-ema", "as": "b"}, {"name": "toy-ema", "as": "c"}])
    scheduler = TrialScheduler(states)
    order = [trial.cell.model for trial in iter(lambda: scheduler.ask(any_resources), None)]
    assert order == ["toy-ema", "b", "c", "toy-ema", "b", "c"]


def test_trial_that_does_not_fit_does_not_block_others(states_of: MakeStates) -> None:
    tasks = [{"name": "toy-sum", "as": "gpu", "resources": {"gpu": 1}}, {"name": "toy-sum", "as": "cpu"}]
    scheduler = TrialScheduler(states_of(tasks=tasks))
    asked: list[Resources] = []

    def without_gpu(resources: Resources) -> bool:
        asked.append(resources)
        return resources.gpu == 0

    assert [trial.cell.task for trial in iter(lambda: scheduler.ask(without_gpu), None)] == ["cpu", "cpu"]
    assert Resources(gpu=1) in asked
    assert dict(scheduler.running) == {f"s/cpu/toy-ema/search/{n}": Resources() for n in (0, 1)}
    freed = scheduler.ask(any_resources)
    assert freed is not None
    assert (freed.cell.task, freed.resources) == ("gpu", Resources(gpu=1))


def test_cell_that_waited_is_next_when_its_resources_are_free(states_of: MakeStates) -> None:
    tasks = [{"name": "toy-sum", "as": "gpu", "resources": {"gpu": 1}}, {"name": "toy-sum", "as": "cpu"}]
    scheduler = TrialScheduler(states_of(tasks=tasks, budget={"trials": 5, "repetitions": 1}))
    capacity = Resources(cpu=3, gpu=1)

    def fits(resources: Resources) -> bool:
        used = [*scheduler.running.values(), resources]
        return sum(r.cpu for r in used) <= capacity.cpu and sum(r.gpu for r in used) <= capacity.gpu

    first = [trial.cell.task for trial in iter(lambda: scheduler.ask(fits), None)]
    assert first == ["gpu", "cpu", "cpu"]
    gpu = next(state for state in scheduler.cells.values() if state.plan.cell.task == "gpu")
    scheduler.tell(gpu.searched[0].trial, complete(1))
    following = scheduler.ask(fits)
    assert following is not None
    assert following.cell.task == "gpu"


def test_no_trial_if_no_resources_fit(states_of: MakeStates) -> None:
    scheduler = TrialScheduler(states_of())
    assert scheduler.ask(lambda _: False) is None
    assert dict(scheduler.running) == {}
    assert not scheduler.finished()


def test_requeued_trial_goes_first_and_keeps_its_number(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 3, "repetitions": 1})
    scheduler = TrialScheduler([state])
    first, second = scheduler.ask(any_resources), scheduler.ask(any_resources)
    assert first is not None
    assert second is not None
    scheduler.requeue(first)
    assert set(scheduler.running) == {second.key}
    assert scheduler.ask(any_resources) == first
    third = scheduler.ask(any_resources)
    assert third is not None
    assert third.number == 2
    assert scheduler.ask(any_resources) is None


def test_finals_wait_for_the_whole_search(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 3, "repetitions": 2})
    scheduler = TrialScheduler([state])
    trials = list(iter(lambda: scheduler.ask(any_resources), None))
    assert [trial.phase for trial in trials] == ["search"] * 3
    for trial in trials[:2]:
        scheduler.tell(trial, complete(rate_of(trial)))
        assert scheduler.ask(any_resources) is None
    scheduler.tell(trials[2], complete(rate_of(trials[2])))
    finals = list(iter(lambda: scheduler.ask(any_resources), None))
    assert [(trial.phase, trial.number, trial.repetition) for trial in finals] == [("final", 0, 0), ("final", 1, 1)]
    assert not scheduler.finished()


def test_finals_come_cell_by_cell_while_others_search(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", {"name": "toy-ema", "as": "slow"}], budget={"trials": 1, "repetitions": 1})
    scheduler = TrialScheduler(states)
    fast, slow = scheduler.ask(any_resources), scheduler.ask(any_resources)
    assert fast is not None
    assert slow is not None
    scheduler.tell(fast, complete(1.0))
    final = scheduler.ask(any_resources)
    assert final is not None
    assert (final.phase, final.cell) == ("final", fast.cell)
    assert final.winner == fast.key


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(1, 12), again=st.integers(1, 12))
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_interrupted_study_has_the_trials_of_an_uninterrupted_one(
    toy_registry: Registry, sampler: str, cut: int, again: int
) -> None:
    """Killed twice and rebuilt from the ledger each time; with one worker even TPE has the same history."""
    states = _states(toy_registry, sampler)
    undisturbed = {trial.key: trial for trial in run_trials(TrialScheduler(states))}
    states = _states(toy_registry, sampler)
    trials = run_trials(TrialScheduler(states), stop_after=cut)
    second = rebuilt(states)
    trials += run_trials(second, stop_after=again)
    trials += run_trials(rebuilt(second.cells.values()))
    assert {trial.key: trial for trial in trials} == undisturbed


@pytest.mark.parametrize("sampler", ["random", "quasi-random"])
def test_parallel_study_has_the_trials_of_a_serial_one(toy_registry: Registry, sampler: str) -> None:
    trials = []
    for at_once in (1, 3, 16):
        scheduler = TrialScheduler(_states(toy_registry, sampler))
        trials.append({trial.key: trial for trial in run_trials(scheduler, at_once=at_once)})
    assert trials[0] == trials[1] == trials[2]


def _states(toys: Registry, sampler: str) -> list[CellState]:
    return small_states(toys, sampler, budget={"trials": 4, "repetitions": 2}, training={"updates": 8})


def test_final_trials_of_a_cell_are_companions(states_of: MakeStates) -> None:
    (state,) = states_of(resources={"stack": 3}, budget={"trials": 2, "repetitions": 5})
    scheduler = TrialScheduler([state])
    for _ in range(2):
        search = scheduler.ask(any_resources)
        assert search is not None
        assert scheduler.companions(search) == ()
        scheduler.tell(search, complete(1.0))
    groups = []
    while (first := scheduler.ask(any_resources)) is not None:
        groups.append([first, *scheduler.companions(first)])
    assert [[trial.repetition for trial in group] for group in groups] == [[0, 1, 2], [3, 4]]
    assert len({trial.key for group in groups for trial in group}) == 5
    assert len({(trial.widths, str(trial.build)) for group in groups for trial in group}) == 1
    assert not scheduler.finished()
    for trial in itertools.chain(*groups):
        scheduler.tell(trial, complete(1.0))
    assert scheduler.finished()


def test_without_a_stack_no_trial_has_companions(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 1, "repetitions": 2})
    scheduler = TrialScheduler([state])
    trials = [scheduler.ask(any_resources)]
    assert trials[0] is not None
    scheduler.tell(trials[0], complete(1.0))
    final = scheduler.ask(any_resources)
    assert final is not None
    assert scheduler.companions(final) == ()


def test_interrupted_final_trials_are_companions_again(states_of: MakeStates) -> None:
    (state,) = states_of(resources={"stack": 4}, budget={"trials": 1, "repetitions": 3})
    scheduler = TrialScheduler([state])
    search = scheduler.ask(any_resources)
    assert search is not None
    scheduler.tell(search, complete(1.0))
    first = scheduler.ask(any_resources)
    assert first is not None
    before = [first, *scheduler.companions(first)]
    scheduler.tell(before[1], complete(1.0))
    resumed = rebuilt(scheduler.cells.values())
    again = resumed.ask(any_resources)
    assert again is not None
    assert [again, *resumed.companions(again)] == [before[0], before[2]]


def test_requeued_trials_have_no_companions(states_of: MakeStates) -> None:
    (state,) = states_of(resources={"stack": 2}, budget={"trials": 1, "repetitions": 4})
    scheduler = TrialScheduler([state])
    search = scheduler.ask(any_resources)
    assert search is not None
    scheduler.tell(search, complete(1.0))
    first = scheduler.ask(any_resources)
    assert first is not None
    together = [first, *scheduler.companions(first)]
    for trial in together:
        scheduler.requeue(trial)
    groups = []
    while (trials := scheduler.ask(any_resources)) is not None:
        groups.append([trials, *scheduler.companions(trials)])
    assert [[trial.repetition for trial in group] for group in groups] == [[0], [1], [2, 3]]


def test_worker_of_a_group_is_idle_once_its_last_trial_has_ended(states_of: MakeStates) -> None:
    """A worker is free for other resources when it is idle, not when the first trial of its group has ended."""
    tasks = [
        {"name": "toy-sum", "parameters": 161, "as": "a", "resources": {"stack": 2}},
        {"name": "toy-sum", "parameters": 161, "as": "b", "resources": {"cpu": 2}},
    ]
    scheduler = TrialScheduler(states_of(tasks=tasks, budget={"trials": 1, "repetitions": 2}))
    searched = [scheduler.ask(any_resources), scheduler.ask(any_resources)]
    for trial in searched:
        assert trial is not None
        scheduler.tell(trial, complete(1.0))
    first = scheduler.ask(any_resources)
    assert first is not None
    (second,) = scheduler.companions(first)
    idle = list(scheduler._idle)
    scheduler.tell(first, complete(1.0))
    assert scheduler._idle == idle
    scheduler.tell(second, complete(1.0))
    assert scheduler._idle == [*idle, first.resources]


def test_requeued_trial_gets_a_whole_gpu_if_it_needs_one(states_of: MakeStates) -> None:
    (state,) = states_of(resources={"gpu": 0.25}, budget={"trials": 2, "repetitions": 1})
    scheduler = TrialScheduler([state])
    first = scheduler.ask(any_resources)
    assert first is not None
    scheduler.requeue(first, alone=True)
    assert scheduler.ask(lambda resources: resources.gpu < 1) is None
    again, second = scheduler.ask(any_resources), scheduler.ask(any_resources)
    assert again is not None
    assert second is not None
    assert (again.key, again.resources.gpu) == (first.key, 1.0)
    assert second.resources.gpu == 0.25


def test_postponed_trial_stops_its_cell_and_no_other(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", {"name": "toy-ema", "as": "b"}], budget={"trials": 1, "repetitions": 1})
    scheduler = TrialScheduler(states)
    postponed, other = scheduler.ask(any_resources), scheduler.ask(any_resources)
    assert postponed is not None
    assert other is not None
    scheduler.postpone(postponed)
    assert not scheduler.only_postponed_trials_left()
    scheduler.tell(other, complete(1.0))
    assert not scheduler.only_postponed_trials_left()
    (final,) = run_trials(scheduler)
    assert (final.cell, final.phase) == (other.cell, "final")
    assert scheduler.only_postponed_trials_left()
    assert not scheduler.finished()
    resumed = rebuilt(scheduler.cells.values())
    assert not resumed.only_postponed_trials_left()
    assert [trial.phase for trial in run_trials(resumed)] == ["search", "final"]
    assert resumed.finished()
