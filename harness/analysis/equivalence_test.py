"""An always-valid test that two models' paired scores differ by less than a margin."""

from __future__ import annotations

import math

PRIOR_VARIANCE = 1.0
"""Variance of the true effect under the alternative, in variances of a difference: a unit-information prior."""


def equivalence_p_value(mean: float, standard_error: float, n: int, margin: float) -> float:
    """Return an always-valid p-value of the hypothesis that the mean difference is `margin` or more, either way.

    One over the evidence of `t_evidence` against the nearer end of the margin.  Its confidence sequence covers the mean
    of normal differences at all n at once, so a difference outside the margin is ever called equivalent at level a with
    probability a at most, however often pairs are added (Wang & Ramdas 2025).

    mean, standard_error: of n paired differences, with n - 1 in the variance.
    """
    distance = margin - abs(mean)
    if distance <= 0 or n < 2:
        return 1.0
    t = distance / standard_error if standard_error > 0 else math.inf
    return min(1.0, math.exp(-t_evidence(t, n)))


def t_evidence(t: float, n: int) -> float:
    """Return the logarithm of the Bayes factor of Student's t of n normal values, against the hypothesis of its mean.

    The alternative: normal effects with `PRIOR_VARIANCE`, and Jeffreys' prior of the spread (Gönen et al. 2005).  Under
    the hypothesis the factor is a martingale of mean 1, whatever the spread (Hendriksen et al. 2021).
    """
    prior = 1 + n * PRIOR_VARIANCE
    x = t * t / (n - 1)
    ratio = math.log1p(x) - math.log1p(x / prior) if math.isfinite(x) else math.log(prior)
    return (n * ratio - math.log(prior)) / 2
