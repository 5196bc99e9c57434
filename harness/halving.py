"""Successive halving: the rungs of a cell's search, planned from its total of updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Rung(NamedTuple):
    """A length at which trials are compared: the best of them train on to the next rung, the others are pruned."""

    updates: int
    """Updates of a trial from its start; those of the last rung are the full length."""
    trials: int
    """Trials that train to this rung."""


def plan_rungs(
    *, trials: int, updates: int, evaluate_every: int, reduction: int, minimum_updates: int
) -> tuple[Rung, ...]:
    """Return the rungs of the largest bracket that uses at most the updates of `trials` trials of full length.

    The last rung has `updates` updates, and each earlier one 1/`reduction` of the next, as long as that is at least
    `minimum_updates`.  A rung is rounded up to an evaluation, so that it changes nothing in the training of a trial.
    One of `reduction` trials trains on, and at least one.  There is a single rung if the next shorter one would be too
    short, or if there are so few trials that all would train on.
    """
    lengths = _lengths(updates, evaluate_every, reduction, minimum_updates)

    def fits(count: int) -> bool:
        return total_updates(_bracket(lengths, count, reduction)) <= trials * updates

    fewest, too_many = trials, 2 * trials
    while fits(too_many):
        fewest, too_many = too_many, 2 * too_many
    while too_many - fewest > 1:
        middle = (fewest + too_many) // 2
        fewest, too_many = (middle, too_many) if fits(middle) else (fewest, middle)
    rungs = _bracket(lengths, fewest, reduction)
    return rungs if rungs[0].trials > 1 else rungs[-1:]


def _lengths(updates: int, evaluate_every: int, reduction: int, minimum_updates: int) -> list[int]:
    """Return the updates of each rung, the shortest first."""
    lengths = [updates]
    share = updates / reduction
    while share >= minimum_updates:
        length = math.ceil(round(share / evaluate_every, 6)) * evaluate_every
        if length < lengths[0]:
            lengths.insert(0, length)
        share /= reduction
        if share < 1:
            break
    return lengths


def _bracket(lengths: Sequence[int], trials: int, reduction: int) -> tuple[Rung, ...]:
    """Return the rungs of these lengths for a number of trials in the first one."""
    return tuple(Rung(length, max(trials // reduction**index, 1)) for index, length in enumerate(lengths))


def total_updates(rungs: Sequence[Rung]) -> int:
    """Return the updates that all trials of these rungs take, if none of them fails."""
    return sum(rung.trials * (rung.updates - before.updates) for before, rung in pairwise([Rung(0, 0), *rungs]))


def describe(rungs: Sequence[Rung]) -> str:
    """Return the trials and lengths of the rungs and the total of updates, in words."""
    first, *others = rungs
    listed = ", ".join(
        [f"{first.trials:,} trials to {first.updates:,} updates", *(f"{r.trials:,} to {r.updates:,}" for r in others)]
    )
    return f"{listed}; {total_updates(rungs):,} updates in all"


def last_start(rungs: Sequence[Rung]) -> int:
    """Return the updates with which trials enter the last rung: only trials with more can win.  0 without rungs."""
    return rungs[-2].updates if len(rungs) > 1 else 0


def rung_of(updates: int, rungs: Sequence[Rung]) -> int:
    """Return the index of the rung to which, or towards which, a trial of this many updates has trained."""
    return min(sum(rung.updates < updates for rung in rungs), len(rungs) - 1)
