"""S4D of Gu, Gupta, Goel & Ré 2022, "On the Parameterization and Initialization of Diagonal State Space Models"
(arXiv:2206.11893)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from pydantic import Field
from torch import Tensor, nn

from harness import Model, Record, Signature, check_widths, read_params
from harness_modern.sizing import outside, sizes, spread
from harness_modern.stack import MOST_LAYERS, Block, Stack, norm

WINDOW = 2048
"""Most steps computed at once: the powers of the kernel take channels x state_size / 2 x steps complex numbers."""
SMALLEST_STEP, LARGEST_STEP = 1e-3, 1e-1
"""Range of the initial step sizes, drawn uniformly in the logarithm; that of the paper's experiments."""


class Keywords(Record):
    """Parameters of `S4d.build` besides the widths."""

    layers: int = Field(ge=1)
    state_size: int = Field(default=64, ge=2, multiple_of=2)
    """Real numbers of state per channel, stored as half as many complex ones, one of each conjugate pair."""
    expansion: int = Field(default=1, ge=1)
    """Units of the mixing after the state space, per channel of the model width."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout after the activation, as in the released code (state-spaces/s4, models/s4/s4d.py)."""


class DiagonalStateSpace(nn.Module):
    """For each channel  h'(s) = A h(s) + u(s),  y(s) = 2 Re C h(s) + D u(s),  with A diagonal and complex.

    With inputs held over steps of size Δ (zero-order hold)

        h[t] = Ā h[t - 1] + B̄ u[t],  Ā = exp(ΔA),  B̄ = (Ā - 1) / A,

    so y is a convolution with K[t] = 2 Re Σ C B̄ Ā**t (section 3).  A starts at -1/2 + iπn (S4D-Lin, section 4);
    its real part stays negative, as -exp of the learned values.
    """

    def __init__(self, channels: int, state_size: int) -> None:
        super().__init__()
        pairs = state_size // 2
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        self.log_step = nn.Parameter(low + (high - low) * torch.rand(channels))
        self.log_decay = nn.Parameter(torch.full((channels, pairs), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(pairs).to(torch.get_default_dtype()).repeat(channels, 1))
        self.readout = nn.Parameter(torch.randn(channels, pairs, 2) / math.sqrt(2))  # C: real and imaginary part
        self.skip = nn.Parameter(torch.randn(channels))  # D

    def forward(self, u: Tensor, state: Tensor | None, keep: bool) -> tuple[Tensor, Tensor | None]:
        """(batch, time, channels) → (batch, time, channels), and h after it: (batch, channels, pairs, 2), the last axis
        real and imaginary part."""
        pole, drive = self._discrete()
        before = None if state is None else torch.view_as_complex(state)
        if u.shape[1] == 1:
            y, after = self._step(u[:, 0], before, pole, drive)
            return y.unsqueeze(1), torch.view_as_real(after) if keep else None
        powers = torch.exp(pole.unsqueeze(2) * torch.arange(u.shape[1], device=u.device))  # (channels, pairs, time)
        readout = torch.view_as_complex(self.readout)
        kernel = 2 * torch.einsum("cp,cpt->ct", readout * drive, powers).real
        y = causal_convolution(u.transpose(1, 2), kernel).transpose(1, 2) + self.skip * u
        if before is not None:
            free = before * torch.exp(pole) * readout  # contribution of the earlier state alone at the first step
            y = y + 2 * torch.einsum("bcp,cpt->btc", free, powers).real
        return y, torch.view_as_real(self._end(u, before, pole, drive, powers)) if keep else None

    def _discrete(self) -> tuple[Tensor, Tensor]:
        """Return ΔA = log Ā, and B̄: each (channels, pairs), complex."""
        pole = torch.complex(-self.log_decay.exp(), self.frequency)
        scaled = pole * self.log_step.exp().unsqueeze(1)
        return scaled, torch.expm1(scaled) / pole

    def _step(self, u: Tensor, before: Tensor | None, pole: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the recurrence for one step of (batch, channels)."""
        state = drive * u.unsqueeze(2)
        if before is not None:
            state = state + torch.exp(pole) * before
        readout = torch.view_as_complex(self.readout)
        return 2 * (readout * state).sum(-1).real + self.skip * u, state

    def _end(self, u: Tensor, before: Tensor | None, pole: Tensor, drive: Tensor, powers: Tensor) -> Tensor:
        """Return h after the last step: Ā**time h + Σ Ā**(time - 1 - t) B̄ u[t]."""
        state = drive * torch.einsum("btc,cpt->bcp", u.to(powers.dtype), powers.flip(2))
        return state if before is None else state + torch.exp(pole * u.shape[1]) * before


def causal_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    """Return y[t] = Σ kernel[s] u[t - s] over s <= t, by FFT over twice the time.

    u: (batch, channels, time).  kernel: (channels, time), whose precision is that of the FFT: under autocast u may be
    bfloat16, for which there is none.
    """
    time = u.shape[-1]
    spectrum = torch.fft.rfft(u.to(kernel.dtype), n=2 * time) * torch.fft.rfft(kernel, n=2 * time)
    return cast(Tensor, torch.fft.irfft(spectrum, n=2 * time)[..., :time])


class S4dBlock(Block):
    """x + W(GLU(V gelu(S4D(norm(x)))))."""

    def __init__(self, model: int, units: int, *, state_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = norm(model)
        self.space = DiagonalStateSpace(model, state_size)
        self.mix = nn.Linear(model, 2 * units)
        self.output = nn.Linear(units, model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: Tensor | None, steps: int, keep: bool) -> tuple[Tensor, Tensor | None]:
        y, after = self.space(self.norm(x), state, keep)
        mixed = F.glu(self.mix(self.dropout(F.gelu(y[:, -steps:]))), dim=-1)
        return x[:, -steps:] + self.output(mixed), after


class S4d(Model):
    """Layers of S4D, each with the paper's activation and gated mixing of channels after it.

    The paper's mixing goes from H channels to 2H, gated down to H.  Here the width decides the number of gated units,
    and a linear layer leads back to the stream, so that a layer can be sized by single units.
    """

    name: ClassVar[str] = "s4d"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:  # the same for every task
        return {
            "layers": IntDistribution(1, MOST_LAYERS),
            "state_size": CategoricalDistribution((8, 16, 32, 64)),
            "expansion": CategoricalDistribution((1, 2)),
        }

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> Stack:
        """Return a backbone; the parameters are `layers`, `state_size`, `expansion` and `dropout`."""
        keywords = read_params(Keywords, self.name, params)
        check_widths(widths, 1, self.name)
        layers, expansion = keywords.layers, keywords.expansion

        def count(model: int, further: int) -> int:
            units = layers * expansion * model + further  # of all layers together
            per_channel = layers * (2 * keywords.state_size + 4) + 1 + outside(signature)
            return units * (3 * model + 2) + model * per_channel

        model, further = sizes(widths[0], signature, count)
        blocks = [
            S4dBlock(model, expansion * model + more, state_size=keywords.state_size, dropout=keywords.dropout)
            for more in spread(further, layers)
        ]
        return Stack(signature.in_features, model, blocks, window=WINDOW)
