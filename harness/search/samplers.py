"""Samplers: a suggestion is a function of study seed, cell, number and history."""

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

optuna.logging.set_verbosity(optuna.logging.WARNING)  # Optuna logs each in-memory study, one per draw

SamplerName = Literal["random", "tpe", "quasi-random"]


def suggest(
    sampler: SamplerName, space: Space, *, seed: int, draw: int, history: Sequence[TrialEntry]
) -> dict[str, ParamValue]:
    """Parameters of one draw: a function of these arguments alone, in any process.

    `seed` is the cell's.  `random` and `quasi-random` ignore `history`; `tpe` learns from its trials, whose parameters
    must lie in `space`.
    """
    if sampler == "quasi-random":
        return _quasi_random(space, seed, draw)
    # A sampler that is seeded once and rebuilt after a restart draws the same points again: so one for each draw.
    of_this_draw = derive(seed, "draw", draw) % 2**32
    if sampler == "random":
        return _ask(RandomSampler(of_this_draw), space, [])
    tpe = TPESampler(seed=of_this_draw, multivariate=True, constant_liar=True)
    return _ask(tpe, space, [_told(entry, space) for entry in history])


def _ask(sampler: BaseSampler, space: Space, told: Sequence[FrozenTrial]) -> dict[str, ParamValue]:
    study = optuna.create_study(sampler=sampler)  # always minimising: `_told` turns scores round
    study.add_trials(told)
    return study.ask(dict(space)).params


def _told(entry: TrialEntry, space: Space) -> FrozenTrial:
    """A trial as Optuna's samplers learn from it; one that did not complete has no value."""
    outcome = entry.result.outcome if entry.result else None
    state = {
        None: TrialState.RUNNING,
        "complete": TrialState.COMPLETE,
        "diverged": TrialState.PRUNED,
        "out-of-memory": TrialState.FAIL,
        "failed": TrialState.FAIL,
    }[outcome]
    value = entry.result.score if entry.result and state is TrialState.COMPLETE else None
    params = {name: entry.trial.params[name] for name in space}
    return create_trial(state=state, value=value, params=params, distributions=dict(space))


def _quasi_random(space: Mapping[str, BaseDistribution], seed: int, draw: int) -> dict[str, ParamValue]:
    """Point `draw` of a scrambled Sobol sequence.  Optuna's own keeps its place in a storage and draws the first point
    at random; here the place is the draw."""
    from scipy.stats import qmc  # takes 0.7 s to import, and most studies do without

    sobol = qmc.Sobol(d=len(space), scramble=True, rng=derive(seed, "sobol") % 2**32)
    if draw:  # scipy cannot fast-forward by 0
        sobol.fast_forward(draw)
    units = sobol.random(1)[0]
    return {name: at_unit(dimension, float(unit)) for (name, dimension), unit in zip(space.items(), units, strict=True)}
