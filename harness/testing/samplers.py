"""Checks of samplers: a suggestion is a function of the draw and of the trials before it.

On this rests that a resumed study has the trials of an undisturbed one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.api.sampler import SamplerFactory
from harness.errors import SpaceError
from harness.records import ParamValue
from harness.samplers import CORE_SAMPLERS
from harness.search.suggestion import draw_of, suggest
from harness.seeds import derive
from harness.study.space import Space
from harness.testing.outcomes import CheckError, random_state_kept, require
from harness.testing.subprocesses import call_in_subprocess

NUMBERS: dict[str, BaseDistribution] = {
    "layers": IntDistribution(1, 8),
    "kernel": IntDistribution(2, 64, log=True),
    "rate": FloatDistribution(0.1, 10.0, log=True),
    "dropout": FloatDistribution(0.0, 0.5, step=0.05),
}
SPACES: tuple[Space, ...] = (
    {**NUMBERS, "clip": CategoricalDistribution([0.25, 1.0, None]), "optimizer": CategoricalDistribution(["adam"])},
    NUMBERS,
)
"""A space with choices, and one of numbers, which some samplers need."""
TOLD = 25
"""Trials before the draws of a check."""


@dataclass(frozen=True)
class SamplerSubject:
    """A registered sampler to check."""

    name: str
    factory: SamplerFactory

    def spaces(self) -> list[Space]:
        """Return the spaces that the sampler does not refuse.  Raises CheckError if it refuses all."""
        reasons: list[str] = []
        taken: list[Space] = []
        for space in SPACES:
            try:
                self.suggest(space, 0, ())
            except SpaceError as error:
                reasons.append(str(error))
            else:
                taken.append(space)
        if not taken:
            raise CheckError(f"samples neither choices and numbers nor numbers alone: {'; '.join(reasons)}")
        return taken

    def suggest(self, space: Space, number: int, told: Sequence[FrozenTrial]) -> dict[str, ParamValue]:
        """Return the suggestion of the draw of this number in a cell."""
        return suggest(self.factory, draw_of(space, cell_seed=7, number=number), told)


SamplerCheck = Callable[[SamplerSubject], None]


def history(space: Space, *, pruned: bool = False) -> list[FrozenTrial]:
    """Return trials as a study tells them: most complete, some failed or diverged, the last one in training.

    pruned: whether those that would be complete wait at the first rung of successive halving.
    """
    trials = []
    for number in range(TOLD):
        params = suggest(CORE_SAMPLERS["random"], draw_of(space, cell_seed=1, number=number), ())
        scored = TrialState.PRUNED if pruned else TrialState.COMPLETE
        ends = {3: TrialState.FAIL, 5: TrialState.PRUNED}
        state = TrialState.RUNNING if number == TOLD - 1 else ends.get(number % 6, scored)
        score = float(np.random.default_rng(derive(1, number)).random()) if number % 6 not in ends else None
        at_rung = {10: score} if state is TrialState.PRUNED and score is not None else {}
        trials.append(
            create_trial(
                state=state,
                value=score if state is TrialState.COMPLETE else None,
                params=params,
                distributions=dict(space),
                intermediate_values=at_rung,
            )
        )
    return trials


def histories(space: Space) -> tuple[Sequence[FrozenTrial], ...]:
    """Return what a sampler may be told: no trial, trials of full length, and trials at a rung."""
    return (), history(space), history(space, pruned=True)


def check_suggestion_space(subject: SamplerSubject) -> None:
    """Every suggestion has one value of each dimension, from the dimension."""
    for space in subject.spaces():
        for told in histories(space):
            for number in range(TOLD if not told else 4):
                params = subject.suggest(space, len(told) + number, told)
                require(params.keys() == space.keys(), f"draw {number} has other names than the dimensions: {params}")


def check_suggestion_repeats(subject: SamplerSubject) -> None:
    """The same draw after the same trials gives the same suggestion, whatever was drawn in between."""
    for space in subject.spaces():
        for told in histories(space):
            first = subject.suggest(space, TOLD, told)
            with random_state_kept():
                random.seed(1)
                np.random.seed(1)
                subject.suggest(space, TOLD + 1, told[:3])
                again = subject.suggest(space, TOLD, told)
            require(again == first, f"a draw after {len(told)} trials gives {first}, and then {again}")


def check_draws_differ(subject: SamplerSubject) -> None:
    """Draws with other numbers give other suggestions; those of a sampler that is seeded once are all the same."""
    for space in subject.spaces():
        points = {repr(subject.suggest(space, number, ())) for number in range(20)}
        require(len(points) > 15, f"20 draws give only {len(points)} different suggestions")


def check_cells_differ(subject: SamplerSubject) -> None:
    """Cells with other seeds draw other suggestions."""
    for space in subject.spaces():
        drawn = [suggest(subject.factory, draw_of(space, cell_seed=seed, number=1), ()) for seed in range(10)]
        require(len({repr(params) for params in drawn}) > 5, "cells with different seeds draw the same suggestions")


def check_suggestion_in_another_process(subject: SamplerSubject) -> None:
    """The suggestions are the same in another process, with other hashes of strings."""
    for index, space in enumerate(SPACES):
        if space in subject.spaces():
            here = suggestions((subject, index))
            there = call_in_subprocess(suggestions, (subject, index))
            require(here == there, f"another process suggests {there[0]} in place of {here[0]}")


def suggestions(given: tuple[SamplerSubject, int]) -> list[dict[str, ParamValue]]:
    """Return some suggestions of a sampler in the space of this index, with and without trials before."""
    subject, index = given
    space = SPACES[index]
    return [subject.suggest(space, number, told) for told in histories(space) for number in (0, TOLD)]
