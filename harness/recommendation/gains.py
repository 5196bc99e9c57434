"""Scores of models as gains, of which more is better, and what their failures may cost.  Plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.statistics import SamplingError, Scale, highest_rate

Array = NDArray[np.float64]
Scores = Mapping[str, Sequence[float]]
"""Model → scores by repetition, NaN where a repetition has none.  Models may have different numbers of them."""


@dataclass(frozen=True)
class Scoring:
    """How the scores of one split are read."""

    better: Literal["lower", "higher"]
    margin: float = 0.0
    """Means closer than this, on `scale`, count as equivalent."""
    scale: Scale = "linear"
    floor: float | None = None
    """The score of a memoryless baseline on the split whose scores are read."""
    sampling: Mapping[str, SamplingError] = field(default_factory=dict)
    """Model → sampling error of its scores, on the linear scale; without models for which it is not recorded."""


@dataclass(frozen=True)
class Gains:
    """Scores on the metric's scale, with the sign changed where necessary so that more is better."""

    values: Mapping[str, Array]
    """A repetition without a score counts as the worst score of any model, or the floor where that is worse."""
    lost: Mapping[str, NDArray[np.bool_]]
    margin: float
    floor: float | None
    linear: bool
    """Whether a log scale was asked for and a score, or the floor, has no logarithm.  Then all scores are on a linear
    scale, where the margin has no meaning and is 0."""
    sampling: Mapping[str, SamplingError] = field(default_factory=dict)
    """Model → sampling error of its mean gain, on the scale of the gains."""

    def common(self, *models: str) -> int:
        """Return the number of repetitions that these models share."""
        return min(len(self.values[model]) for model in models)

    @cached_property
    def worst(self) -> float:
        """The gain of a failed repetition: the floor, or the worst score seen if no floor is known."""
        return self.floor if self.floor is not None else min(float(each.min()) for each in self.values.values())

    def counted(self, model: str, n: int) -> Array:
        """Return the first n gains; below the floor, a gain counts as the floor."""
        counted: Array = np.maximum(self.values[model][:n], self.worst)
        return counted


@dataclass(frozen=True)
class Failures:
    """The repetitions of one model that failed, and what a failure costs."""

    n: int
    failed: int
    """Repetitions in the worse half of the range from the worst gain to the model's median."""
    mean: float
    succeeded: float
    """Mean gain of the repetitions that did not fail."""
    worst: float

    @classmethod
    def of(cls, values: Array, worst: float) -> Failures:
        failed = values < (float(np.median(values)) + worst) / 2
        return cls(len(values), int(failed.sum()), float(values.mean()), float(values[~failed].mean()), worst)

    def hidden_loss(self, error: float, n: int | None = None) -> float:
        """Return by how much failures that were not seen may lower the mean: the failure rate is taken at its upper
        confidence limit (Clopper & Pearson 1934), and each failure at the worst gain.

        n: repetitions with the same share of failures; None: as many as there are.
        """
        n = self.n if n is None else n
        rate = highest_rate(round(self.failed / self.n * n), n, error)
        return max(self.mean - (1 - rate) * self.succeeded - rate * self.worst, 0.0)


def gains(scores: Scores, scoring: Scoring) -> Gains | None:
    """Return the scores as gains; None if no repetition of any model has a score."""
    arrays = {model: np.asarray(values, dtype=np.float64) for model, values in scores.items()}
    finite = np.concatenate([values[np.isfinite(values)] for values in arrays.values()] or [np.empty(0)])
    if finite.size == 0:
        return None
    floor = scoring.floor
    log = scoring.scale == "log" and float(finite.min()) > 0 and (floor is None or floor > 0)
    sign = 1.0 if scoring.better == "higher" else -1.0

    def gain(values: Array) -> Array:
        return sign * (np.log(values) if log else values)

    floor_gain = None if floor is None else float(gain(np.asarray(floor)))
    worst = min([float(gain(finite).min()), *([floor_gain] if floor_gain is not None else [])])
    lost = {model: ~np.isfinite(values) for model, values in arrays.items()}
    values = {
        model: np.where(lost[model], worst, gain(np.where(lost[model], finite[0], array)))
        for model, array in arrays.items()
    }
    linear = scoring.scale == "log" and not log
    margin = 0.0 if linear else scoring.margin
    sampling = {
        model: _on_scale(error, arrays[model], log=log) for model, error in scoring.sampling.items() if model in arrays
    }
    return Gains(values, lost, margin=margin, floor=floor_gain, linear=linear, sampling=sampling)


def _on_scale(error: SamplingError, scores: Array, *, log: bool) -> SamplingError:
    """Return the sampling error on the scale of the gains; of a logarithm by the delta method."""
    finite = scores[np.isfinite(scores)]
    if not log or finite.size == 0:
        return error
    return replace(error, standard_error=error.standard_error / float(np.exp(np.log(finite).mean())))
