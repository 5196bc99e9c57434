"""The floor of piano rolls: logistic regression of the next frame on the present one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Roll = npt.NDArray[np.uint8]
"""(frames, 88): 1 where a key sounds."""
PENALTY = 1.0
"""L2 penalty.  Between 0.3 and 3, the floors of JSB Chorales and Nottingham differ by less than 0.02."""
ITERATIONS = 1000


def frame_floors(train: Sequence[Roll], validation: Sequence[Roll], test: Sequence[Roll]) -> tuple[float, float]:
    """Return the validation and the test score, in nats per frame, of a linear rule on the present frame.

    Each key of a frame is predicted from all keys of the frame before it, by a logistic regression that is fitted to
    the training pieces.  The first frame of a piece is not scored.
    """
    rule = _fitted(*_distinct(train))
    return _score(rule, validation), _score(rule, test)


def _pairs(rolls: Sequence[Roll]) -> tuple[Tensor, Tensor]:
    """Return each frame that has a next one, and the next one."""
    present, following = (np.concatenate([roll[part] for roll in rolls]) for part in (slice(-1), slice(1, None)))
    return torch.from_numpy(present).double(), torch.from_numpy(following).double()


def _distinct(rolls: Sequence[Roll]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distinct present frames, how often each key sounds after each, and how often each occurs."""
    present, following = _pairs(rolls)
    distinct, place, frames = torch.unique(present, dim=0, return_inverse=True, return_counts=True)
    sounding = torch.zeros(len(distinct), following.shape[1], dtype=torch.float64).index_add(0, place, following)
    return distinct, sounding, frames.double()[:, None]


def _fitted(inputs: Tensor, sounding: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (keys, keys) and intercepts of the regression.

    The penalty is on the weights, and on the distance of the intercepts from the log odds of the keys over all frames.
    """
    frequency = (sounding.sum(0) + 0.5) / (frames.sum() + 1)
    odds = torch.logit(frequency)
    weights = torch.zeros(len(odds), inputs.shape[1], dtype=torch.float64, requires_grad=True)
    shift = torch.zeros_like(odds, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, shift],
        max_iter=ITERATIONS,
        tolerance_grad=1e-7,
        tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimizer.zero_grad()
        logits = F.linear(inputs, weights, odds + shift)
        nats = (frames * F.softplus(logits) - sounding * logits).sum()
        loss = (nats + PENALTY / 2 * (weights.square().sum() + shift.square().sum())) / frames.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach(), (odds + shift).detach()


def _score(rule: tuple[Tensor, Tensor], rolls: Sequence[Roll]) -> float:
    present, following = _pairs(rolls)
    logits = F.linear(present, *rule)
    return float(F.binary_cross_entropy_with_logits(logits, following, reduction="sum")) / len(following)
