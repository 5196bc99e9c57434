"""The parameter budget: count a network without memory for its weights, and solve the widths that meet a count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from harness.api.model import Model
from harness.api.signature import Signature
from harness.errors import BudgetError
from harness.records import ParamValue
from harness.training.network import Network, build_network, on_meta_device

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

    @property
    def met(self) -> bool:
        return abs(self.count.parameters - self.budget) <= self.allowed


def count_parameters(network: Network) -> Count:
    # `parameters()` yields a shared tensor once.
    return Count(_trainable(network), _trainable(network.encoder))


def count_at(model: Model, signature: Signature, widths: tuple[int, ...], params: Mapping[str, ParamValue]) -> Count:
    """Return the count of a configuration, from its skeleton on the meta device."""
    with on_meta_device():
        return count_parameters(build_network(model, signature, widths, dict(params)))


def solve(
    model: Model, signature: Signature, params: Mapping[str, ParamValue], *, budget: int, tolerance: float
) -> Size:
    """Widths of this configuration for a budget.

    The largest uniform width not above the budget, then widened by one, level by level from the first, to the nearest
    count.  Where that width is special (see `uniform_widths`), the largest other one is tried too, and the nearer of
    both kept.  BudgetError where that is further away than `tolerance` of the count without the embedding and than
    half the smallest step of this configuration.
    """
    levels = model.levels(**params)

    def count(widths: tuple[int, ...]) -> Count:
        return count_at(model, signature, widths, params)

    def uniform(width: int) -> int:
        return count((width,) * levels).parameters

    starts = uniform_widths(uniform, budget, specials=(signature.in_features,))
    sizes = [_widened(count, width, levels, budget=budget, tolerance=tolerance) for width in starts]
    size = min(sizes, key=lambda size: (not size.met, abs(size.count.parameters - budget)))
    if not size.met:
        raise BudgetError(
            f"{model.name}: no width meets {budget:,} parameters within {tolerance:.3g}: "
            f"widths {_short(size.widths)} have {size.count.parameters:,} ({size.deviation:+.2%})"
        )
    return size


def uniform_widths(count: Callable[[int], int], budget: int, specials: tuple[int, ...]) -> list[int]:
    """The largest width whose count is not above the budget, and where that is special, the largest other one.

    Counts grow with the width except at `specials`, where a projection vanishes and the count drops for that width
    alone; those are tried one by one.  BudgetError where not even width 1 fits, or no width is too large.
    """

    def fits(width: int) -> bool:
        return count(width - 1 if width in specials and width > 1 else width) <= budget  # grows with the width

    if not fits(1):
        raise BudgetError(f"no width meets {budget:,} parameters: width 1 has {count(1):,} already")
    high = 2
    while fits(high):
        high *= 2
        if high > WIDEST:
            raise BudgetError(f"no width reaches {budget:,} parameters: width {high:,} has {count(high):,}")
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    plain = low - 1 if low in specials and low > 1 else low
    largest = max([plain, *(width for width in specials if count(width) <= budget)])
    return [largest] if largest == plain else [largest, plain]


def _widened(
    count: Callable[[tuple[int, ...]], Count], width: int, levels: int, *, budget: int, tolerance: float
) -> Size:
    """The nearest of a uniform width and its widenings; of two as near, the less widened."""
    steps = [(width + 1,) * wider + (width,) * (levels - wider) for wider in range(levels + 1)]
    counts = [count(widths) for widths in steps]
    nearest = min(range(levels + 1), key=lambda index: (abs(counts[index].parameters - budget), index))
    smallest_step = min(abs(b.parameters - a.parameters) for a, b in pairwise(counts))
    best = counts[nearest]
    allowed = max(tolerance * (best.parameters - best.embedding), smallest_step / 2)
    return Size(steps[nearest], best, budget, allowed)


def _trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _short(widths: tuple[int, ...]) -> str:
    return f"{widths[0]} x {len(widths)}" if len(set(widths)) == 1 else ",".join(map(str, widths))
