"""Samplers: reproducible, spread over the space, and TPE learns."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from typing import get_args

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.distributions import distribution_to_json as to_json
from scipy import stats

from harness.ledger.journal import TrialEntry
from harness.records import Outcome, TrialResult
from harness.search.scheduler import TrialScheduler
from harness.search.suggestion import told_trial
from harness.study.space import contains
from tests.conftest import make_trial
from tests.support.trials import SAMPLERS, MakeStates, entry_of, run_trials, suggested

SPACE: dict[str, BaseDistribution] = {
    "clip": CategoricalDistribution([0.25, 1.0, None]),
    "layers": IntDistribution(1, 8, log=True),
    "rate": FloatDistribution(0.1, 10.0, log=True),
    "zoom": FloatDistribution(0.0, 1.0),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestion_is_a_function_of_its_arguments(sampler: str) -> None:
    history = _history(15)
    for draw in (0, 1, 7, 30):
        first = suggested(sampler, SPACE, seed=5, draw=draw, history=history)
        np.random.seed(draw)
        assert suggested(sampler, SPACE, seed=5, draw=draw, history=history) == first
        assert first.keys() == SPACE.keys()
        assert all(contains(SPACE[name], value) for name, value in first.items())


def _history(count: int) -> list[TrialEntry]:
    drawn = [suggested("random", SPACE, seed=1, draw=draw) for draw in range(count)]
    return [entry_of(n, None if n % 5 == 4 else float(params["zoom"] or 0), **params) for n, params in enumerate(drawn)]


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_only_a_complete_trial_is_told_with_a_value(outcome: Outcome) -> None:
    """Optuna takes the best trial from the values, and a trial that diverged may have a score from before."""
    result = TrialResult(outcome=outcome, score=1.0, updates=10)
    told = told_trial(TrialEntry(make_trial(params={}), 1, (), result), {}, "lower")
    assert told.value == (1.0 if outcome == "complete" else None)


def test_suggestion_is_the_same_in_another_process() -> None:
    script = (
        "import json, sys; from optuna.distributions import json_to_distribution as read; "
        "from harness.ledger.journal import TrialEntry; from harness.records import Trial, TrialResult; "
        "from harness.samplers import CORE_SAMPLERS; given = json.load(sys.stdin); "
        "from harness.search.suggestion import draw_of, suggest, told_trial; "
        "space = {name: read(text) for name, text in given['space'].items()}; "
        "history = [TrialEntry(Trial.model_validate(t), 1, (), TrialResult.model_validate(r))"
        " for t, r in given['history']]; "
        "told = [told_trial(entry, space, 'lower') for entry in history]; "
        "print(json.dumps([suggest(CORE_SAMPLERS[sampler], draw_of(space, cell_seed=5, number=d), told)"
        " for sampler in given['samplers'] for d in (0, 9)]))"
    )
    history = _history(12)
    history_json = [(e.trial.model_dump(mode="json"), e.result.model_dump(mode="json")) for e in history if e.result]
    given = {"space": {name: to_json(of) for name, of in SPACE.items()}, "history": history_json, "samplers": SAMPLERS}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    here = [suggested(name, SPACE, seed=5, draw=draw, history=history) for name in SAMPLERS for draw in (0, 9)]
    assert json.loads(done.stdout) == here
    assert done.stderr == ""


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_never_repeat(sampler: str) -> None:
    draws = 64 if sampler == "tpe" else 300
    points = [json.dumps(suggested(sampler, SPACE, seed=3, draw=draw)) for draw in range(draws)]
    assert len(set(points)) == draws


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_cells_of_other_seeds_draw_other_points(sampler: str) -> None:
    points = [json.dumps(suggested(sampler, SPACE, seed=seed, draw=2)) for seed in range(20)]
    assert len(set(points)) == 20


@pytest.mark.parametrize("sampler", ["random", "quasi-random"])
def test_samplers_that_do_not_learn_ignore_the_history(sampler: str) -> None:
    assert suggested(sampler, SPACE, seed=5, draw=3, history=_history(20)) == suggested(
        sampler, SPACE, seed=5, draw=3, history=()
    )


@pytest.mark.parametrize("sampler", ["random", "quasi-random"])
def test_suggestions_cover_every_dimension(sampler: str) -> None:
    """Kolmogorov–Smirnov for the floats, χ² for the choices; the first 256 draws of one cell."""
    drawn = [suggested(sampler, SPACE, seed=11, draw=draw) for draw in range(256)]
    rates = [math.log10(float(params["rate"] or 1)) for params in drawn]
    assert stats.kstest(rates, stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert stats.kstest([float(params["zoom"] or 0) for params in drawn], stats.uniform().cdf).pvalue > 0.01
    assert stats.chisquare(list(Counter(params["clip"] for params in drawn).values())).pvalue > 0.01
    assert {params["layers"] for params in drawn} == set(range(1, 9))


def test_quasi_random_points_spread_better_than_chance() -> None:
    """A Sobol sequence puts exactly one of its first 2^m points into each of 2^m equal slices of every axis."""
    drawn = [suggested("quasi-random", SPACE, seed=2, draw=draw) for draw in range(64)]
    assert sorted(int(64 * float(params["zoom"] or 0)) for params in drawn) == list(range(64))


def test_tpe_learns_from_its_history() -> None:
    """After a history in which a low `zoom` is good, it proposes lower values than at random (0.5 on average)."""
    history = _history(40)
    proposed = [float(suggested("tpe", SPACE, seed=9, draw=d, history=history)["zoom"] or 0) for d in range(40, 70)]
    assert np.mean(proposed) < 0.35


def test_tpe_maximises_where_higher_is_better(states_of: MakeStates) -> None:
    search = {"sampler": "tpe", "seed": 4}
    tasks = {"lower": {"name": "toy-sum"}, "higher": {"name": "toy-ragged", "parameters": 200}}
    late: dict[str, float] = {}
    for better, task in tasks.items():
        (state,) = states_of(tasks=[task], search=search, budget={"trials": 45, "repetitions": 1})
        assert state.plan.facts.metric.better == better
        run_trials(TrialScheduler([state]), lambda trial: float(trial.params["dropout"] or 0), stop_after=46)
        late[better] = float(np.mean([float(entry.trial.params["dropout"] or 0) for entry in state.searched[25:]]))
    # Dropout is searched in [0, 0.5].
    assert late["lower"] < 0.2
    assert late["higher"] > 0.3


@pytest.mark.parametrize("outcome", [None, *get_args(Outcome)])
def test_tpe_accepts_every_outcome(outcome: Outcome | None) -> None:
    params = suggested("random", SPACE, seed=1, draw=0)
    score = 0.5 if outcome == "complete" else None
    result = TrialResult(outcome=outcome, score=score) if outcome else None
    entry = TrialEntry(make_trial(params=params), 1, (), result)
    assert suggested("tpe", SPACE, seed=1, draw=1, history=[entry] * 12).keys() == SPACE.keys()
