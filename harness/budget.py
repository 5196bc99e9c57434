"""The parameter budget: count a network without memory for its weights, and solve the widths that meet a count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from harness.errors import BudgetError
from harness.model import Model
from harness.network import Network, build_network
from harness.records import ParamValue
from harness.signature import Signature

WIDEST = 1 << 20
"""A model whose count stays within budget up to this width does not grow with it."""


@dataclass(frozen=True)
class Count:
    """Trainable parameters; a shared or tied tensor counts once."""

    parameters: int
    embedding: int
    """Those of the encoder, in `parameters`."""


@dataclass(frozen=True)
class Size:
    """Widths that meet a budget, and how closely."""

    widths: tuple[int, ...]
    count: Count
    budget: int
    allowed: float
    """Largest deviation that counts as met, in parameters."""

    @property
    def deviation(self) -> float:
        """(count - budget) / budget."""
        return (self.count.parameters - self.budget) / self.budget

    @property
    def bare_deviation(self) -> float:
        """count - budget, as a share of the count without the embedding."""
        return (self.count.parameters - self.budget) / (self.count.parameters - self.count.embedding)


def count_parameters(network: Network) -> Count:
    # `parameters()` yields a shared tensor once.
    return Count(_trainable(network), _trainable(network.encoder))


def count_at(model: Model, signature: Signature, widths: tuple[int, ...], params: Mapping[str, ParamValue]) -> Count:
    """The count of a configuration, built on the meta device: no memory, no initial values."""
    with torch.device("meta"):
        return count_parameters(build_network(model, signature, widths, dict(params)))


def solve(
    model: Model, signature: Signature, params: Mapping[str, ParamValue], *, budget: int, tolerance: float
) -> Size:
    """Widths of this configuration for a budget.

    The largest uniform width not above the budget, then widened by one, level by level from the first, to the nearest
    count.  BudgetError where that is further away than `tolerance` of the count without the embedding and than half
    the smallest step of this configuration.
    """
    levels = model.levels(**params)

    def uniform(width: int) -> int:
        return count_at(model, signature, (width,) * levels, params).parameters

    width = largest_uniform_width(uniform, budget, specials=(signature.in_features,))
    steps = [(width + 1,) * wider + (width,) * (levels - wider) for wider in range(levels + 1)]
    counts = [count_at(model, signature, widths, params) for widths in steps]
    nearest = min(range(levels + 1), key=lambda index: (abs(counts[index].parameters - budget), index))
    smallest_step = min(abs(b.parameters - a.parameters) for a, b in zip(counts, counts[1:], strict=False))
    count = counts[nearest]
    allowed = max(tolerance * (count.parameters - count.embedding), smallest_step / 2)
    size = Size(steps[nearest], count, budget, allowed)
    if abs(count.parameters - budget) > allowed:
        raise BudgetError(
            f"{model.name}: no width meets {budget:,} parameters within {tolerance:.3g}: "
            f"widths {_short(size.widths)} have {count.parameters:,} ({size.deviation:+.2%})"
        )
    return size


def largest_uniform_width(count: Callable[[int], int], budget: int, specials: tuple[int, ...]) -> int:
    """The largest width whose count is not above the budget.

    Counts grow with the width except at `specials`, where a projection vanishes and the count drops for that width
    alone; those are tried one by one.  BudgetError where not even width 1 fits, or no width is too large.
    """
    if count(1) > budget:
        raise BudgetError(f"no width meets {budget:,} parameters: width 1 has {count(1):,} already")
    high = 2
    while count(high) <= budget or high in specials:
        high *= 2
        if high > WIDEST:
            raise BudgetError(f"no width reaches {budget:,} parameters: width {high:,} has {count(high):,}")
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= budget else (low, middle)
    return max(low, *(width for width in specials if count(width) <= budget), 1)


def _trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _short(widths: tuple[int, ...]) -> str:
    return f"{widths[0]} x {len(widths)}" if len(set(widths)) == 1 else ",".join(map(str, widths))
