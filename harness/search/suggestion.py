"""Ask a sampler: a suggestion is a function of the study's seed, the cell, the number of the draw and the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.api.sampler import Draw, SamplerFactory
from harness.ledger.journal import TrialEntry
from harness.records import ParamValue
from harness.search.ask_storage import AskStorage, numbered
from harness.seeds import derive
from harness.study.space import Space, contains, describe

optuna.logging.set_verbosity(optuna.logging.WARNING)  # one in-memory study per draw would be logged


def draw_of(space: Space, *, cell_seed: int, number: int) -> Draw:
    """Return a draw.  It has a seed of its own: a sampler that is seeded once repeats its points after a restart."""
    return Draw(seed=derive(cell_seed, "draw", number) % 2**32, cell_seed=cell_seed, number=number, space=space)


def suggest(factory: SamplerFactory, draw: Draw, told: Sequence[FrozenTrial]) -> dict[str, ParamValue]:
    """Return the parameters of one draw.  They depend on these arguments alone, in any process.

    told: the search trials so far, from `told_trial`.  Raises TypeError if the factory makes no sampler, which Optuna
    would replace by one without a seed, and ValueError if a value is not in its dimension.
    """
    sampler: object = factory(draw)
    if not isinstance(sampler, BaseSampler):
        raise TypeError(f"the function returned {type(sampler).__name__}; it must return a sampler of Optuna")
    storage = AskStorage([numbered(trial, number) for number, trial in enumerate(told)])
    params = optuna.create_study(storage=storage, sampler=sampler).ask(dict(draw.space)).params
    for name, dimension in draw.space.items():
        if not contains(dimension, params[name]):
            raise ValueError(f"{name} = {params[name]!r} is outside {describe(dimension)}")
    return params


def told_trial(entry: TrialEntry, space: Space, better: Literal["lower", "higher"]) -> FrozenTrial:
    """Return a trial as Optuna's samplers read it, with a score to be minimized.

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
    score = result.score if result else None
    score = -score if score is not None and better == "higher" else score
    at_rung = {result.updates: score} if result and result.outcome == "pruned" and score is not None else {}
    return create_trial(
        state=state,
        value=score if state is TrialState.COMPLETE else None,
        params={name: entry.trial.params[name] for name in space},
        distributions=dict(space),
        intermediate_values=at_rung,
    )
