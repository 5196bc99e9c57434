"""An always-valid sign test of paired repetitions, and how many pairs it needs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

MINIMUM_PAIRS = 10
"""Fewest pairs for a decision: with 5 pairs, even 5 wins leave a probability of 0.48 possible."""
MEANINGFUL = 0.75
"""Probability of winning a pair from which a difference is meaningful (Bouthillier et al. 2021)."""
MOST_NEEDED = 500
"""More pairs than this are not recommended: the models hardly differ."""
LEVEL = 0.05
"""Family-wise error of all verdicts of a task."""
ALTERNATIVES = ((0.6, 0.15), (MEANINGFUL, 0.7), (0.9, 0.15))
"""Probabilities of winning and their weights in the mixture of `sign_p_value`."""


def sign_p_value(wins: int, losses: int, ties: int = 0) -> float:
    """Return an always-valid p-value of the hypothesis that P(win) = 1/2: pairs may be added and the test repeated.

    One over the likelihood ratio of a mixture of alternatives, with weight 1/2 for each model.  This ratio is a
    martingale, so it ever exceeds 1/a with probability a at most (Ville 1939; Robbins 1970).  A tie counts against the
    claim.
    """
    evidence = np.logaddexp(_log_evidence(wins, losses + ties), _log_evidence(losses, wins + ties))
    return min(1.0, math.exp(-float(evidence)))


def _log_evidence(wins: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Return the logarithm of the weighted likelihood ratio for the model with these wins, elementwise."""
    rates, weights = np.asarray(ALTERNATIVES).T
    won, lost = np.asarray(wins)[..., None], np.asarray(others)[..., None]
    ratios = won * np.log(2 * rates) + lost * np.log(2 * (1 - rates))
    return np.asarray(np.logaddexp.reduce(ratios + np.log(weights / 2), axis=-1))


def needed_pairs(wins: int, losses: int, ties: int = 0, claims: int = 1) -> int | None:
    """Return about how many pairs would decide if these have not: the fewest at which the expected wins decide.

    The leader is expected to win further pairs at its rate so far, with one win and one loss added to the pairs (the
    rule of succession), but not more rarely than `MEANINGFUL` before as many pairs as decide at that rate.  None if
    that takes more than `MOST_NEEDED` pairs.

    claims: verdicts that share the error (Bonferroni).
    """
    lead, n = max(wins, losses), wins + losses + ties
    rate = (lead + 1) / (n + 2)
    at_meaningful = _enough(0, 0, MEANINGFUL, claims)
    if at_meaningful is None or n < at_meaningful:
        rate = max(rate, MEANINGFUL)
    return _enough(lead, n, rate, claims)


def fewest_pairs(models: int, *, equivalence: bool) -> int:
    """Return after how many pairs a model is decided that wins every pair against another.

    models: of the task, which share the error; at least 2.  equivalence: whether the task has a margin.
    """
    claims = math.comb(models, 2) * (2 if equivalence else 1)
    enough = _enough(0, 0, 1.0, claims)
    assert enough is not None  # the evidence grows by a factor of 1.8 with each pair
    return enough


def _enough(lead: int, n: int, rate: float, claims: int) -> int | None:
    """Return the fewest pairs at which a model decides that has won `lead` of n and wins further pairs at a rate."""
    pairs = np.arange(max(n + 1, MINIMUM_PAIRS), MOST_NEEDED + 1)
    won = lead + np.floor(rate * (pairs - n) + 1e-9)
    enough = pairs[_log_evidence(won, pairs - won) >= math.log(claims / LEVEL)]
    return int(enough[0]) if enough.size else None
