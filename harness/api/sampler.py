"""What a sampler is: a function that makes one of Optuna's samplers for each draw of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Draw:
    """One draw of a configuration: besides the trials before it, all that its suggestion may depend on."""

    seed: int
    """Seed of this draw, from 0 to 2**32 - 1: a function of the study's seed, the cell and the number."""
    cell_seed: int
    """Seed of the cell, from 0 to 2**63 - 1: the same for all its draws."""
    number: int
    """Number of the draw among all draws of the cell, from 0.  Draws that do not meet the parameter budget count."""
    space: Mapping[str, BaseDistribution]
    """The dimensions of the cell, in the order in which they are drawn."""


SamplerFactory = Callable[[Draw], BaseSampler]
"""Makes the sampler of one draw.

The sampler suggests the parameters of one trial and is not used again.  What it must know of earlier trials it reads
from Optuna's study, which holds the search trials of the cell so far; it changes none of them, and attributes that it
gives to a trial are not kept.  Scores are to be minimized.  The factory raises SpaceError with the reason if it cannot
sample the space.
"""
