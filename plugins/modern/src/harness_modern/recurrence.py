"""The linear recurrence h[t] = decay[t] · h[t - 1] + drive[t], elementwise, without a loop over every step."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def linear_recurrence(decay: Tensor, drive: Tensor, start: Tensor | None) -> Tensor:
    """Return h at every step: (batch, time, ...).

    decay, drive: (batch, time, ...).  start: h before the first step, (batch, ...); None means zeros.
    There is no division and no logarithm, so a decay may be 0 and a drive may have any sign.
    """
    before = torch.zeros_like(drive[:, 0]) if start is None else start
    return cast(Tensor, _Recurrence.apply(decay, drive, before))  # type: ignore[no-untyped-call]


class _Recurrence(Function):
    """The recurrence with its gradient: the same recurrence backwards in time, so it keeps only decays and results."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor, start: Tensor) -> Tensor:  # PyTorch declares ctx untyped
        states = _chunked(decay, drive, start)
        ctx.save_for_backward(decay, states, start)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, states, start = ctx.saved_tensors
        later = torch.cat((decay[:, 1:], torch.zeros_like(decay[:, :1])), dim=1)
        adjoint = _chunked(later.flip(1), gradient.flip(1), torch.zeros_like(start)).flip(1)
        before = torch.cat((start[:, None], states[:, :-1]), dim=1)
        return adjoint * before, adjoint, decay[:, 0] * adjoint[:, 0]


def _chunked(decay: Tensor, drive: Tensor, start: Tensor) -> Tensor:
    """Compute the recurrence in √time chunks of √time steps.

    First all chunks at once from zero, then from chunk to chunk, then both combined.  This takes 2 √time operations
    instead of time, and three multiplications per number instead of the log2(time) of a scan by doubling.
    """
    time = drive.shape[1]
    length = math.isqrt(time - 1) + 1
    decays, states = _cut(decay, length), _cut(drive, length)  # (batch, chunks, length, ...)
    for step in range(1, length):
        states[:, :, step].addcmul_(decays[:, :, step], states[:, :, step - 1])
    reach = decays.cumprod(2)
    entering = torch.empty_like(states[:, :, 0])
    state = start
    for chunk in range(states.shape[1]):
        entering[:, chunk] = state
        state = torch.addcmul(states[:, chunk, -1], reach[:, chunk, -1], state)
    states.addcmul_(reach, entering.unsqueeze(2))
    return states.flatten(1, 2)[:, :time]


def _cut(x: Tensor, length: int) -> Tensor:
    """(batch, time, ...) → (batch, chunks, length, ...), as a copy with zeros at the end of the last chunk."""
    missing = -x.shape[1] % length
    padded = F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing)) if missing else x.clone()
    return torch.unflatten(padded, 1, (-1, length))
