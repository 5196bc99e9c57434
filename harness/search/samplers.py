"""Samplers: a suggestion is a function of the study's seed, the cell, the number of the draw and the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.ledger.journal import TrialEntry
from harness.records import ParamValue
from harness.seeds import derive
from harness.study.space import Space, at_unit

optuna.logging.set_verbosity(optuna.logging.WARNING)  # one in-memory study per draw would be logged

SamplerName = Literal["random", "tpe", "quasi-random"]


def suggest(
    sampler: SamplerName, space: Space, *, seed: int, draw: int, history: Sequence[TrialEntry]
) -> dict[str, ParamValue]:
    """Return the parameters of one draw.  They depend on these arguments alone, in any process.

    seed: the cell's.  draw: its number, from 0.  history: search trials so far with parameters in `space`, scores to be
    minimised.  Only `tpe` uses the history.
    """
    if sampler == "quasi-random":
        return _quasi_random(space, seed, draw)
    # One sampler per draw: a sampler that is seeded once would draw the same points again after a restart.
    draw_seed = derive(seed, "draw", draw) % 2**32
    if sampler == "random":
        return _ask(RandomSampler(draw_seed), space, [])
    tpe = TPESampler(seed=draw_seed, multivariate=True, constant_liar=True)
    return _ask(tpe, space, [_optuna_trial(entry, space) for entry in history])


def _ask(sampler: BaseSampler, space: Space, trials: Sequence[FrozenTrial]) -> dict[str, ParamValue]:
    study = optuna.create_study(sampler=sampler)
    study.add_trials(trials)
    return study.ask(dict(space)).params


def _optuna_trial(entry: TrialEntry, space: Space) -> FrozenTrial:
    """Return a trial as Optuna's samplers read it.

    A trial that did not complete has no value.  One that waits at a rung, or was pruned there, has its score there as
    an intermediate value.
    """
    result = entry.result if entry.result is not None or not entry.rungs else entry.rungs[-1]
    state = {
        None: TrialState.RUNNING,
        "complete": TrialState.COMPLETE,
        "diverged": TrialState.PRUNED,
        "pruned": TrialState.PRUNED,
        "out-of-memory": TrialState.FAIL,
        "failed": TrialState.FAIL,
    }[result.outcome if result else None]
    at_rung = {result.updates: result.score} if result and result.outcome == "pruned" else {}
    return create_trial(
        state=state,
        value=result.score if result and state is TrialState.COMPLETE else None,
        params={name: entry.trial.params[name] for name in space},
        distributions=dict(space),
        intermediate_values={update: score for update, score in at_rung.items() if score is not None},
    )


def _quasi_random(space: Mapping[str, BaseDistribution], seed: int, draw: int) -> dict[str, ParamValue]:
    """Return point `draw` of a scrambled Sobol sequence.

    Optuna's QMCSampler keeps its position in a storage and draws the first point at random.  Here the position is the
    number of the draw.
    """
    from scipy.stats import qmc  # takes 0.7 s to import, and most studies do not need it

    sobol = qmc.Sobol(d=len(space), scramble=True, rng=derive(seed, "sobol") % 2**32)
    if draw:  # scipy cannot fast-forward by 0
        sobol.fast_forward(draw)
    units = sobol.random(1)[0]
    return {name: at_unit(dimension, float(unit)) for (name, dimension), unit in zip(space.items(), units, strict=True)}
