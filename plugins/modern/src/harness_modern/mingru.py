"""minGRU of Feng et al. 2024, "Were RNNs All We Needed?" (arXiv:2410.01201)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from pydantic import Field
from torch import Tensor, nn

from harness import Model, Record, Signature, check_widths, read_params
from harness_modern.recurrence import linear_recurrence
from harness_modern.sizing import outside, sizes, spread
from harness_modern.stack import MOST_LAYERS, Block, Stack, norm, tail

WINDOW = 4096
"""Most steps computed at once."""


class Keywords(Record):
    """Parameters of `MinGru.build` besides the widths."""

    layers: int = Field(ge=1)
    expansion: int = Field(default=1, ge=1)
    """Units of the recurrence per channel of the model width."""
    timescale: float | None = Field(default=None, gt=2)
    """Steps that the slowest unit initially remembers (chrono initialisation: Tallec & Ollivier 2018, "Can recurrent
    neural networks warp time?", arXiv:1804.11188).  None: PyTorch's biases, with which every unit forgets about half of
    its past per step."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on what each layer adds to the stream."""


class MinGruBlock(Block):
    """x + W(h), where on the normalised input n

        z[t] = σ(W_z n[t]),  h[t] = (1 - z[t]) · h[t - 1] + z[t] · W_h n[t]

    (section 3.1).  Neither gate nor candidate depends on h, so h is a linear recurrence and is computed for all steps
    at once.
    """

    def __init__(self, model: int, units: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = norm(model)
        self.gate = nn.Linear(model, units)
        self.candidate = nn.Linear(model, units)
        self.output = nn.Linear(units, model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: Tensor | None, steps: int, keep: bool) -> tuple[Tensor, Tensor | None]:
        normed = self.norm(x)
        gate = self.gate(normed)
        # 1 - σ(g) = σ(-g), without the rounding of the difference.
        hidden = linear_recurrence(torch.sigmoid(-gate), torch.sigmoid(gate) * self.candidate(normed), state)
        y = x[:, -steps:] + self.dropout(self.output(hidden[:, -steps:]))
        return y, tail(hidden, 1).squeeze(1) if keep else None


@torch.no_grad()
def spread_timescales(bias: Tensor, longest: float) -> None:
    """Draw gate biases -ln u, u uniform in [1, longest - 1]: a unit forgets the fraction 1 / (1 + u) per step."""
    bias.uniform_(1.0, longest - 1.0).log_().neg_()


class MinGru(Model):
    """Layers of normalisation, minGRU and a projection down, with a residual; the width counts units of the recurrence.

    This is the form of section 3.1, with candidates of any sign.  The paper trains a variant with positive candidates
    in log space, where its scan divides; the scan here does not divide (see `recurrence`).
    """

    name: ClassVar[str] = "mingru"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        """Return the ranges.

        The timescale is the paper's or the task's: its dependency, or its length if that is unknown.
        """
        needed = float(signature.dependency or signature.length)
        return {
            "layers": IntDistribution(1, MOST_LAYERS),
            "expansion": CategoricalDistribution((1, 2)),
            "timescale": CategoricalDistribution((None, needed) if needed > 2 else (None,)),
        }

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> Stack:
        """Return a backbone; the parameters are `layers`, `expansion`, `timescale` and `dropout`."""
        keywords = read_params(Keywords, self.name, params)
        check_widths(widths, 1, self.name)
        layers, expansion = keywords.layers, keywords.expansion

        def count(model: int, further: int) -> int:
            units = layers * expansion * model + further  # of all layers together
            return units * (3 * model + 2) + model * (2 * layers + 1 + outside(signature))

        model, further = sizes(widths[0], signature, count)
        blocks = [
            MinGruBlock(model, expansion * model + more, dropout=keywords.dropout) for more in spread(further, layers)
        ]
        stack = Stack(signature.in_features, model, blocks, window=WINDOW)
        if keywords.timescale is not None:  # drawn last, so that no other weight changes
            for block in blocks:
                spread_timescales(block.gate.bias, keywords.timescale)
        return stack
