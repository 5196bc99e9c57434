from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.distributions import distribution_to_json as to_json
from scipy import stats

from harness.errors import BudgetError
from harness.ledger.journal import TrialEntry
from harness.ledger.selection import winner
from harness.plugin.registry import Registry
from harness.records import Outcome, ParamValue, Resources, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.search.samplers import SamplerName, suggest
from harness.search.scheduler import TrialScheduler
from harness.seeds import Seeds, derive
from harness.study.cell_plan import CellPlan
from harness.study.file import parse_study
from harness.study.plan import make_plan
from harness.study.space import contains
from tests.conftest import MakeStudy, make_trial

SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
SPACE: dict[str, BaseDistribution] = {
    "clip": CategoricalDistribution([0.25, 1.0, None]),
    "layers": IntDistribution(1, 8, log=True),
    "rate": FloatDistribution(0.1, 10.0, log=True),
    "zoom": FloatDistribution(0.0, 1.0),
}

Score = Callable[[Trial], float | None]
MakeStates = Callable[..., list[CellState]]


@pytest.fixture
def states_of(toy_registry: Registry, toy_study: MakeStudy) -> MakeStates:
    """Top-level keys of a study file that replace the toys' → the states of its cells, nothing dealt."""

    def make(**overrides: Any) -> list[CellState]:
        study = toy_study(**overrides)
        search = study.search
        return [
            CellState(Proposer(plan, seed=search.seed, sampler=search.sampler), study_id="s")
            for plan in make_plan(study, toy_registry).cells
        ]

    return make


def _any(_: Resources) -> bool:
    return True


def _complete(score: float) -> TrialResult:
    return TrialResult(outcome="complete", score=score)


def _result(score: float | None) -> TrialResult:
    return TrialResult(outcome="diverged", reason="nan") if score is None else _complete(score)


def _rate(trial: Trial) -> float:
    """A score that the parameters decide."""
    return float(trial.params["learning_rate_factor"] or 0)


def _always(score: float) -> Score:
    return lambda _: score


def _run(
    scheduler: TrialScheduler, score: Score = _rate, *, at_once: int = 1, stop_after: int | None = None
) -> list[Trial]:
    """Deal and end trials, the oldest first, until nothing is left; stopping leaves some dealt and not ended."""
    dealt: list[Trial] = []
    running: list[Trial] = []
    while stop_after is None or len(dealt) < stop_after:
        while len(running) < at_once and (trial := scheduler.ask(_any)) is not None:
            running.append(trial)
            dealt.append(trial)
        if not running:
            break
        if stop_after is None or len(dealt) < stop_after:
            ended = running.pop(0)
            scheduler.tell(ended, _result(score(ended)))
    return dealt


def _rebuilt(states: Iterable[CellState]) -> TrialScheduler:
    """A scheduler from what the ledger would hold: every trial, and which ended."""
    fresh = []
    for state in states:
        again = [key for key, entry in state.entries.items() if entry.result is None]
        fresh.append(
            CellState(
                state.proposer,
                study_id=state.study_id,
                entries=dict(state.entries),
                again=again,
            )
        )
    return TrialScheduler(fresh)


def _entry(number: int, score: float | None, **params: ParamValue) -> TrialEntry:
    trial = make_trial(number=number, params=params, draw=number)
    return TrialEntry(trial, 1, (), _result(score))


# Suggestions


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestion_is_a_function_of_its_arguments(sampler: SamplerName) -> None:
    history = _history(15)
    for draw in (0, 1, 7, 30):
        first = suggest(sampler, SPACE, seed=5, draw=draw, history=history)
        np.random.seed(draw)
        assert suggest(sampler, SPACE, seed=5, draw=draw, history=history) == first
        assert first.keys() == SPACE.keys()
        assert all(contains(SPACE[name], value) for name, value in first.items())


def _history(count: int) -> list[TrialEntry]:
    drawn = [suggest("random", SPACE, seed=1, draw=draw, history=()) for draw in range(count)]
    return [_entry(n, None if n % 5 == 4 else float(params["zoom"] or 0), **params) for n, params in enumerate(drawn)]


def test_suggestion_is_the_same_in_another_process() -> None:
    script = (
        "import json, sys; from optuna.distributions import json_to_distribution as read; "
        "from harness.ledger.journal import TrialEntry; from harness.records import Trial, TrialResult; "
        "from harness.search.samplers import suggest; given = json.load(sys.stdin); "
        "space = {name: read(text) for name, text in given['space'].items()}; "
        "history = [TrialEntry(Trial.model_validate(t), 1, (), TrialResult.model_validate(r))"
        " for t, r in given['history']]; "
        "print(json.dumps([suggest(sampler, space, seed=5, draw=d, history=history)"
        " for sampler in given['samplers'] for d in (0, 9)]))"
    )
    history = _history(12)
    told = [(e.trial.model_dump(mode="json"), e.result.model_dump(mode="json")) for e in history if e.result]
    given = {"space": {name: to_json(of) for name, of in SPACE.items()}, "history": told, "samplers": SAMPLERS}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    here = [suggest(name, SPACE, seed=5, draw=draw, history=history) for name in SAMPLERS for draw in (0, 9)]
    assert json.loads(done.stdout) == here
    assert done.stderr == ""


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_never_repeat(sampler: SamplerName) -> None:
    draws = 64 if sampler == "tpe" else 300
    points = [json.dumps(suggest(sampler, SPACE, seed=3, draw=draw, history=())) for draw in range(draws)]
    assert len(set(points)) == draws


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_cells_of_other_seeds_draw_other_points(sampler: SamplerName) -> None:
    points = [json.dumps(suggest(sampler, SPACE, seed=seed, draw=2, history=())) for seed in range(20)]
    assert len(set(points)) == 20


@pytest.mark.parametrize("sampler", ["random", "quasi-random"])
def test_history_is_ignored_where_nothing_is_learnt(sampler: SamplerName) -> None:
    assert suggest(sampler, SPACE, seed=5, draw=3, history=_history(20)) == suggest(
        sampler, SPACE, seed=5, draw=3, history=()
    )


@pytest.mark.parametrize("sampler", ["random", "quasi-random"])
def test_suggestions_cover_every_dimension(sampler: SamplerName) -> None:
    """Kolmogorov–Smirnov for the floats, χ² for the choices; the first 256 draws of one cell."""
    drawn = [suggest(sampler, SPACE, seed=11, draw=draw, history=()) for draw in range(256)]
    rates = [math.log10(float(params["rate"] or 1)) for params in drawn]
    assert stats.kstest(rates, stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert stats.kstest([float(params["zoom"] or 0) for params in drawn], stats.uniform().cdf).pvalue > 0.01
    assert stats.chisquare(list(Counter(params["clip"] for params in drawn).values())).pvalue > 0.01
    assert {params["layers"] for params in drawn} == set(range(1, 9))


def test_quasi_random_points_spread_better_than_chance() -> None:
    """A Sobol sequence puts exactly one of its first 2^m points into each of 2^m equal slices of every axis."""
    drawn = [suggest("quasi-random", SPACE, seed=2, draw=draw, history=()) for draw in range(64)]
    assert sorted(int(64 * float(params["zoom"] or 0)) for params in drawn) == list(range(64))


def test_tpe_learns_from_its_history() -> None:
    """Told that a low `zoom` is good, it proposes lower ones than at random (0.5 on average)."""
    history = _history(40)
    proposed = [float(suggest("tpe", SPACE, seed=9, draw=d, history=history)["zoom"] or 0) for d in range(40, 70)]
    assert np.mean(proposed) < 0.35


def test_tpe_maximises_where_higher_is_better(states_of: MakeStates) -> None:
    search = {"sampler": "tpe", "seed": 4}
    tasks = {"lower": {"name": "toy-sum"}, "higher": {"name": "toy-ragged", "parameters": 200}}
    late: dict[str, float] = {}
    for better, task in tasks.items():
        (state,) = states_of(tasks=[task], search=search, budget={"trials": 45, "repetitions": 1})
        assert state.plan.facts.metric.better == better
        _run(TrialScheduler([state]), lambda trial: float(trial.params["dropout"] or 0), stop_after=46)
        late[better] = float(np.mean([float(entry.trial.params["dropout"] or 0) for entry in state.searched[25:]]))
    # Dropout is searched in [0, 0.5].
    assert late["lower"] < 0.2
    assert late["higher"] > 0.3


@pytest.mark.parametrize("outcome", [None, *get_args(Outcome)])
def test_tpe_accepts_every_outcome(outcome: Outcome | None) -> None:
    params = suggest("random", SPACE, seed=1, draw=0, history=())
    score = 0.5 if outcome == "complete" else None
    result = TrialResult(outcome=outcome, score=score) if outcome else None
    entry = TrialEntry(make_trial(params=params), 1, (), result)
    assert suggest("tpe", SPACE, seed=1, draw=1, history=[entry] * 12).keys() == SPACE.keys()


# Winners


@pytest.mark.parametrize(("better", "number"), [("lower", 1), ("higher", 2)])
def test_winner_is_the_best_complete_search_trial(better: Any, number: int) -> None:
    entries = [_entry(0, 0.5), _entry(1, 0.1), _entry(2, 0.9), _entry(3, None)]
    entries.append(TrialEntry(make_trial(number=4), 1))
    entries.append(TrialEntry(make_trial(number=5), 1, (), TrialResult(outcome="failed", score=0.0)))
    entries.append(
        TrialEntry(make_trial(number=0, phase="final"), 1, (), _complete(-9.0 if better == "lower" else 9.0))
    )
    best = winner(entries, better)
    assert best is not None
    assert (best.trial.phase, best.trial.number) == ("search", number)


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_tie_goes_to_the_lower_number_in_any_order(better: Any) -> None:
    entries = [_entry(3, 0.5), _entry(1, 0.5), _entry(2, 0.5)]
    for order in (entries, entries[::-1]):
        best = winner(order, better)
        assert best is not None
        assert best.trial.number == 1


@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_no_number_cannot_win(better: Any, score: float) -> None:
    best = winner([_entry(0, score), _entry(1, 0.5)], better)
    assert best is not None
    assert best.trial.number == 1
    assert winner([_entry(0, score)], better) is None


def test_nothing_wins_where_nothing_completed() -> None:
    assert winner([], "lower") is None
    assert winner([_entry(0, None)], "lower") is None


# Search trials


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("at_once", [1, 4])
def test_every_cell_trains_exactly_its_trials(states_of: MakeStates, sampler: SamplerName, at_once: int) -> None:
    models = ["toy-ema", {"name": "toy-stack", "as": "stack"}]
    tasks = [{"name": "toy-sum", "parameters": 400}, {"name": "toy-ragged", "parameters": 300}]
    states = states_of(
        models=models,
        tasks=tasks,
        search={"sampler": sampler},
        budget={"trials": 6, "repetitions": 2, "tolerance": 0.05},
    )
    scheduler = TrialScheduler(states)
    dealt = _run(scheduler, lambda trial: None if trial.number % 3 == 1 else _rate(trial), at_once=at_once)
    counts = Counter((str(trial.cell), trial.phase) for trial in dealt)
    assert counts == {
        (str(state.plan.cell), phase): n for state in states for phase, n in (("search", 6), ("final", 2))
    }
    assert len({trial.key for trial in dealt}) == len(dealt)
    assert scheduler.finished()
    assert dict(scheduler.running) == {}


def test_every_dealt_configuration_meets_the_budget(states_of: MakeStates) -> None:
    (state,) = states_of(models=["toy-stack"], tasks=[{"name": "toy-ragged", "parameters": 300}], budget={"trials": 20})
    for trial in _run(TrialScheduler([state]), stop_after=20):
        size = state.plan.size(trial.build)
        assert (trial.widths, trial.parameters) == (size.widths, size.count.parameters)
        assert size.met
        assert trial.optimisation == state.plan.space.optimisation(trial.params, state.plan.schedule)
        assert trial.build == state.plan.space.build_params(trial.params)
        assert trial.training == state.plan.training


def test_redraws_are_counted_with_their_reasons(states_of: MakeStates) -> None:
    """One layer cannot see far enough, and no widths of two meet the budget: both are counted, neither is a trial."""
    (state,) = states_of(models=["toy-stack"], tasks=[{"name": "toy-ragged", "parameters": 75}], budget={"trials": 12})
    trials = _run(TrialScheduler([state]), stop_after=12)
    place = -1
    for trial in trials:
        assert trial.draw == place + len(trial.rejections) + 1
        place = trial.draw or 0
    reasons = Counter(reason.partition(":")[0] for trial in trials for reason in trial.rejections)
    assert reasons.keys() == {"1 layers reach 2 steps, but 3 are needed", "toy-stack"}
    assert {trial.build["layers"] for trial in trials} == {3}
    drawn = [
        suggest("random", state.plan.space.dimensions, seed=_cell_seed(state), draw=d, history=())
        for d in range(place + 1)
    ]
    assert [drawn[trial.draw or 0] for trial in trials] == [trial.params for trial in trials]


def _cell_seed(state: CellState) -> int:
    return derive(state.proposer.seed, "search", str(state.plan.cell))


def test_cell_whose_draws_are_all_rejected_is_an_error(states_of: MakeStates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.search.proposals.DRAWS", 20)
    (state,) = states_of(
        models=[{"name": "toy-stack", "space": {"layers": 1}}], tasks=[{"name": "toy-ragged", "parameters": 200}]
    )
    message = (
        r"^toy-ragged/toy-stack-layers-1: 20 configurations in a row were rejected; last reason: "
        r"1 layers reach 2 steps, but 3 are needed; change the task's parameters, the model's space or budget\.tol"
    )
    with pytest.raises(BudgetError, match=message):
        TrialScheduler([state]).ask(_any)


def test_search_trials_share_stream_zero(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", "toy-stack"], search={"seed": 7})
    scheduler = TrialScheduler(states)
    trials = [trial for trial in _run(scheduler) if trial.phase == "search"]
    assert {trial.seeds for trial in trials} == {Seeds.of(7, 0)}
    assert {trial.plugins for trial in trials} == {states[0].plan.plugins}


# Turns and resources


def test_cells_are_dealt_in_turn(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", {"name": "toy-ema", "as": "b"}, {"name": "toy-ema", "as": "c"}])
    scheduler = TrialScheduler(states)
    order = [trial.cell.model for trial in iter(lambda: scheduler.ask(_any), None)]
    assert order == ["toy-ema", "b", "c", "toy-ema", "b", "c"]


def test_class_that_does_not_fit_does_not_block_another(states_of: MakeStates) -> None:
    tasks = [{"name": "toy-sum", "as": "gpu", "resources": {"gpu": 1}}, {"name": "toy-sum", "as": "cpu"}]
    scheduler = TrialScheduler(states_of(tasks=tasks))
    asked: list[Resources] = []

    def without_gpu(resources: Resources) -> bool:
        asked.append(resources)
        return resources.gpu == 0

    assert [trial.cell.task for trial in iter(lambda: scheduler.ask(without_gpu), None)] == ["cpu", "cpu"]
    assert Resources(gpu=1) in asked
    assert dict(scheduler.running) == {f"s/cpu/toy-ema/search/{n}": Resources() for n in (0, 1)}
    freed = scheduler.ask(_any)
    assert freed is not None
    assert (freed.cell.task, freed.resources) == ("gpu", Resources(gpu=1))


def test_cell_that_waited_has_its_turn_when_there_is_room(states_of: MakeStates) -> None:
    tasks = [{"name": "toy-sum", "as": "gpu", "resources": {"gpu": 1}}, {"name": "toy-sum", "as": "cpu"}]
    scheduler = TrialScheduler(states_of(tasks=tasks, budget={"trials": 5, "repetitions": 1}))
    capacity = Resources(cpu=3, gpu=1)

    def fits(resources: Resources) -> bool:
        used = [*scheduler.running.values(), resources]
        return sum(r.cpu for r in used) <= capacity.cpu and sum(r.gpu for r in used) <= capacity.gpu

    first = [trial.cell.task for trial in iter(lambda: scheduler.ask(fits), None)]
    assert first == ["gpu", "cpu", "cpu"]
    gpu = next(state for state in scheduler.cells.values() if state.plan.cell.task == "gpu")
    scheduler.tell(gpu.searched[0].trial, _complete(1))
    following = scheduler.ask(fits)
    assert following is not None
    assert following.cell.task == "gpu"


def test_nothing_is_dealt_where_nothing_fits(states_of: MakeStates) -> None:
    scheduler = TrialScheduler(states_of())
    assert scheduler.ask(lambda _: False) is None
    assert dict(scheduler.running) == {}
    assert not scheduler.finished()


def test_trial_that_was_lost_goes_first_and_keeps_its_place(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 3, "repetitions": 1})
    scheduler = TrialScheduler([state])
    first, second = scheduler.ask(_any), scheduler.ask(_any)
    assert first is not None
    assert second is not None
    scheduler.requeue(first)
    assert set(scheduler.running) == {second.key}
    assert scheduler.ask(_any) == first
    third = scheduler.ask(_any)
    assert third is not None
    assert third.number == 2
    assert scheduler.ask(_any) is None


def test_trial_dealt_again_occupies_what_the_study_now_says(states_of: MakeStates) -> None:
    (before,) = states_of()
    first = TrialScheduler([before]).ask(_any)
    assert first is not None
    (after,) = states_of(resources={"cpu": 2})
    after.entries, after.again = dict(before.entries), [first.key]
    scheduler = TrialScheduler([after])
    again = scheduler.ask(_any)
    assert again is not None
    assert (again.key, again.digest, again.resources) == (first.key, first.digest, Resources(cpu=2))
    scheduler.tell(again, _complete(0.0))
    finals = [trial for trial in _run(scheduler) if trial.phase == "final"]
    assert {trial.resources for trial in finals} == {Resources(cpu=2)}


# Final trials


def test_finals_wait_for_the_whole_search(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 3, "repetitions": 2})
    scheduler = TrialScheduler([state])
    trials = list(iter(lambda: scheduler.ask(_any), None))
    assert [trial.phase for trial in trials] == ["search"] * 3
    for trial in trials[:2]:
        scheduler.tell(trial, _complete(_rate(trial)))
        assert scheduler.ask(_any) is None
    scheduler.tell(trials[2], _complete(_rate(trials[2])))
    finals = list(iter(lambda: scheduler.ask(_any), None))
    assert [(trial.phase, trial.number, trial.repetition) for trial in finals] == [("final", 0, 0), ("final", 1, 1)]
    assert not scheduler.finished()


def test_finals_come_cell_by_cell_while_others_search(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", {"name": "toy-ema", "as": "slow"}], budget={"trials": 1, "repetitions": 1})
    scheduler = TrialScheduler(states)
    fast, slow = scheduler.ask(_any), scheduler.ask(_any)
    assert fast is not None
    assert slow is not None
    scheduler.tell(fast, _complete(1.0))
    final = scheduler.ask(_any)
    assert final is not None
    assert (final.phase, final.cell) == ("final", fast.cell)
    assert final.winner == fast.key


def test_final_is_the_winner_again_with_fresh_seeds(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 5, "repetitions": 3}, search={"seed": 3})
    trials = _run(TrialScheduler([state]))
    best = min((trial for trial in trials if trial.phase == "search"), key=_rate)
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
    finals = [trial for trial in _run(TrialScheduler(states), at_once=3) if trial.phase == "final"]
    by_repetition = {r: {trial.seeds for trial in finals if trial.repetition == r} for r in range(3)}
    assert by_repetition == {r: {Seeds.of(0, r + 1)} for r in range(3)}
    assert len({seeds.fixed for group in by_repetition.values() for seeds in group}) == 1
    assert Seeds.of(0, 0) not in {seeds for group in by_repetition.values() for seeds in group}


def test_cell_without_a_complete_trial_has_no_final(states_of: MakeStates) -> None:
    states = states_of(models=["toy-ema", {"name": "toy-ema", "as": "bad"}])
    scheduler = TrialScheduler(states)
    dealt = _run(scheduler, lambda trial: None if trial.cell.model == "bad" else 1.0)
    assert Counter((trial.cell.model, trial.phase) for trial in dealt) == {
        ("toy-ema", "search"): 2,
        ("toy-ema", "final"): 2,
        ("bad", "search"): 2,
    }
    assert scheduler.finished()


def test_final_that_failed_is_not_tried_again(states_of: MakeStates) -> None:
    (state,) = states_of()
    scheduler = TrialScheduler([state])
    dealt = _run(scheduler, lambda trial: None if trial.phase == "final" else 1.0)
    assert Counter(trial.phase for trial in dealt) == {"search": 2, "final": 2}
    assert scheduler.finished()


def test_published_setting_has_finals_alone(states_of: MakeStates) -> None:
    (state,) = states_of(protocol="paper", training={}, budget={"repetitions": 2})
    scheduler = TrialScheduler([state])
    dealt = _run(scheduler, _always(1.0))
    assert [(trial.phase, trial.number, trial.repetition, trial.winner) for trial in dealt] == [
        ("final", 0, 0, None),
        ("final", 1, 1, None),
    ]
    assert state.plan.setting is not None
    for trial in dealt:
        assert (trial.widths, trial.build) == ((40,), {"bias": True, "dropout": 0.0})
        assert trial.optimisation == state.plan.setting.optimisation
        assert trial.params["learning_rate"] == 0.01
    assert [trial.seeds for trial in dealt] == [Seeds.of(0, 1), Seeds.of(0, 2)]
    assert scheduler.finished()


def _with_budget(states_of: MakeStates, before: CellState, **budget: int) -> CellState:
    (state,) = states_of(budget=budget)
    state.entries = dict(before.entries)
    state.again = [key for key, entry in state.entries.items() if entry.result is None]
    return state


def test_more_repetitions_are_added(states_of: MakeStates) -> None:
    (before,) = states_of(budget={"trials": 2, "repetitions": 2})
    _run(TrialScheduler([before]))
    after = _with_budget(states_of, before, trials=2, repetitions=4)
    added = _run(TrialScheduler([after]))
    assert [(trial.number, trial.repetition, trial.seeds) for trial in added] == [
        (2, 2, Seeds.of(0, 3)),
        (3, 3, Seeds.of(0, 4)),
    ]


@pytest.mark.parametrize("better_comes", [True, False])
def test_more_trials_supersede_finals_where_the_winner_changes(states_of: MakeStates, better_comes: bool) -> None:
    (before,) = states_of(budget={"trials": 2, "repetitions": 2})
    old = [trial for trial in _run(TrialScheduler([before]), _always(1.0)) if trial.phase == "final"]
    after = _with_budget(states_of, before, trials=4, repetitions=2)
    scheduler = TrialScheduler([after])
    assert not scheduler.finished()
    added = _run(scheduler, lambda trial: 0.5 if better_comes and trial.number == 3 else 2.0)
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
    """Continued with more trials, an interrupted final may belong to a winner that no longer stands."""
    (before,) = states_of(budget={"trials": 1, "repetitions": 2})
    dealt = _run(TrialScheduler([before]), _always(1.0), stop_after=2)
    assert [trial.phase for trial in dealt] == ["search", "final"]
    for score, kept in ((0.5, False), (2.0, True)):
        after = _with_budget(states_of, before, trials=2, repetitions=2)
        scheduler = TrialScheduler([after])
        added = _run(scheduler, _always(score))
        assert [(trial.phase, trial.number) for trial in added] == [
            ("search", 1),
            ("final", 0 if kept else 1),
            ("final", 1 if kept else 2),
        ]
        assert scheduler.finished()


# Continuing


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(1, 12), again=st.integers(1, 12))
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_interrupted_study_deals_what_an_undisturbed_one_would(
    toy_registry: Registry, sampler: SamplerName, cut: int, again: int
) -> None:
    """Killed twice and rebuilt from the ledger each time; one worker, so that even TPE is told the same."""
    states = [_state(plan, sampler) for plan in _small_plan(toy_registry)]
    undisturbed = {trial.key: trial for trial in _run(TrialScheduler(states))}
    states = [_state(plan, sampler) for plan in _small_plan(toy_registry)]
    dealt = _run(TrialScheduler(states), stop_after=cut)
    second = _rebuilt(states)
    dealt += _run(second, stop_after=again)
    dealt += _run(_rebuilt(second.cells.values()))
    assert {trial.key: trial for trial in dealt} == undisturbed


@pytest.mark.parametrize("sampler", ["random", "quasi-random"])
def test_parallel_study_deals_the_same_trials_as_a_serial_one(toy_registry: Registry, sampler: SamplerName) -> None:
    trials = []
    for at_once in (1, 3, 16):
        scheduler = TrialScheduler([_state(plan, sampler) for plan in _small_plan(toy_registry)])
        trials.append({trial.key: trial for trial in _run(scheduler, at_once=at_once)})
    assert trials[0] == trials[1] == trials[2]


def _small_plan(registry: Registry) -> tuple[CellPlan, ...]:
    study = parse_study(
        {
            "name": "toys",
            "models": ["toy-ema", "toy-stack"],
            "tasks": [{"name": "toy-ragged", "parameters": 300}],
            "budget": {"trials": 4, "repetitions": 2},
            "training": {"updates": 8},
        },
        source="here",
    )
    return make_plan(study, registry).cells


def _state(plan: CellPlan, sampler: SamplerName) -> CellState:
    return CellState(Proposer(plan, seed=0, sampler=sampler), study_id="s")


def test_other_study_seed_deals_other_parameters(states_of: MakeStates) -> None:
    trials = [_run(TrialScheduler(states_of(search={"seed": seed})), stop_after=1)[0] for seed in range(5)]
    assert len({json.dumps(trial.params) for trial in trials}) == 5
    assert len({trial.seeds for trial in trials}) == 5


def test_cells_of_a_study_draw_independently(states_of: MakeStates) -> None:
    models = [{"name": "toy-ema", "as": label} for label in "abcde"]
    trials = _run(TrialScheduler(states_of(models=models)), at_once=5, stop_after=5)
    assert len({json.dumps(trial.params) for trial in trials}) == 5


def test_final_trials_of_a_cell_are_dealt_together(states_of: MakeStates) -> None:
    (state,) = states_of(resources={"stack": 3}, budget={"trials": 2, "repetitions": 5})
    scheduler = TrialScheduler([state])
    for _ in range(2):
        search = scheduler.ask(_any)
        assert search is not None
        assert scheduler.companions(search) == ()
        scheduler.tell(search, _complete(1.0))
    groups = []
    while (first := scheduler.ask(_any)) is not None:
        groups.append([first, *scheduler.companions(first)])
    assert [[trial.repetition for trial in group] for group in groups] == [[0, 1, 2], [3, 4]]
    assert len({trial.key for group in groups for trial in group}) == 5
    assert len({(trial.widths, str(trial.build)) for group in groups for trial in group}) == 1
    assert not scheduler.finished()
    for trial in itertools.chain(*groups):
        scheduler.tell(trial, _complete(1.0))
    assert scheduler.finished()


def test_without_a_stack_every_trial_has_its_own_place(states_of: MakeStates) -> None:
    (state,) = states_of(budget={"trials": 1, "repetitions": 2})
    scheduler = TrialScheduler([state])
    dealt = [scheduler.ask(_any)]
    assert dealt[0] is not None
    scheduler.tell(dealt[0], _complete(1.0))
    final = scheduler.ask(_any)
    assert final is not None
    assert scheduler.companions(final) == ()


def test_interrupted_final_trials_are_dealt_together_again(states_of: MakeStates) -> None:
    (state,) = states_of(resources={"stack": 4}, budget={"trials": 1, "repetitions": 3})
    scheduler = TrialScheduler([state])
    search = scheduler.ask(_any)
    assert search is not None
    scheduler.tell(search, _complete(1.0))
    first = scheduler.ask(_any)
    assert first is not None
    before = [first, *scheduler.companions(first)]
    scheduler.tell(before[1], _complete(1.0))
    rebuilt = _rebuilt(scheduler.cells.values())
    again = rebuilt.ask(_any)
    assert again is not None
    assert [again, *rebuilt.companions(again)] == [before[0], before[2]]


def test_trials_whose_worker_died_are_dealt_one_by_one(states_of: MakeStates) -> None:
    (state,) = states_of(resources={"stack": 2}, budget={"trials": 1, "repetitions": 4})
    scheduler = TrialScheduler([state])
    search = scheduler.ask(_any)
    assert search is not None
    scheduler.tell(search, _complete(1.0))
    first = scheduler.ask(_any)
    assert first is not None
    together = [first, *scheduler.companions(first)]
    for trial in together:
        scheduler.requeue(trial)
    groups = []
    while (dealt := scheduler.ask(_any)) is not None:
        groups.append([dealt, *scheduler.companions(dealt)])
    assert [[trial.repetition for trial in group] for group in groups] == [[0], [1], [2, 3]]


def test_the_place_of_a_group_is_free_once_its_last_trial_has_ended(states_of: MakeStates) -> None:
    """Another class that waits is served when a worker is idle, not when one of a group has ended."""
    tasks = [
        {"name": "toy-sum", "parameters": 161, "as": "a", "resources": {"stack": 2}},
        {"name": "toy-sum", "parameters": 161, "as": "b", "resources": {"cpu": 2}},
    ]
    scheduler = TrialScheduler(states_of(tasks=tasks, budget={"trials": 1, "repetitions": 2}))
    searched = [scheduler.ask(_any), scheduler.ask(_any)]
    for trial in searched:
        assert trial is not None
        scheduler.tell(trial, _complete(1.0))
    first = scheduler.ask(_any)
    assert first is not None
    (second,) = scheduler.companions(first)
    idle = list(scheduler._idle)
    scheduler.tell(first, _complete(1.0))
    assert scheduler._idle == idle
    scheduler.tell(second, _complete(1.0))
    assert scheduler._idle == [*idle, first.resources]
