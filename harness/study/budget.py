"""The parameter budget: count a network without allocating its weights, and solve the widths that meet a count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import nn

from harness.api.model import Model
from harness.api.signature import Signature
from harness.errors import BudgetError
from harness.records import ParamValue
from harness.training.network import Network, build_network, on_meta_device

Widths = tuple[int, ...]

WIDEST = 1 << 20
"""A model whose count stays within the budget up to this width does not grow with its width."""
STRIDE = 8
"""Factor between the widths that are counted until one is too large."""
FEW_LEVELS = 4
"""With up to this many levels, widths within 2 of a uniform width are tried; with more levels, within 1."""
MOST_CANDIDATES = 20_000
"""Maximum number of uneven widths whose count is predicted: enough for changes of +1 and -1 on each of nine levels."""
MOST_BUILT = 4
"""Maximum number of uneven widths that are built, the nearest predicted counts first."""


@dataclass(frozen=True)
class Count:
    """Trainable parameters; a shared or tied tensor counts once."""

    parameters: int
    embedding: int
    """Parameters of the encoder, which `parameters` includes."""


@dataclass(frozen=True)
class Size:
    """Widths, their parameter count, and how closely it meets a budget."""

    widths: Widths
    count: Count
    budget: int
    allowed: float
    """Largest deviation from the budget that counts as met, in parameters."""

    @property
    def deviation(self) -> float:
        """(count - budget) / budget."""
        return (self.count.parameters - self.budget) / self.budget

    @property
    def bare_deviation(self) -> float:
        """count - budget, as a share of the count without the embedding."""
        return (self.count.parameters - self.budget) / (self.count.parameters - self.count.embedding)

    @property
    def distance(self) -> int:
        """|count - budget|, in parameters."""
        return abs(self.count.parameters - self.budget)

    @property
    def met(self) -> bool:
        """Whether the count lies within the allowed deviation."""
        return self.distance <= self.allowed


def count_parameters(network: Network) -> Count:
    """Count the trainable parameters of a network."""
    # `parameters()` yields a shared tensor once.
    return Count(_trainable(network), _trainable(network.encoder))


def count_at(model: Model, signature: Signature, widths: Widths, params: Mapping[str, ParamValue]) -> Count:
    """Count the parameters of a configuration.  It is built on the meta device: no memory, no initial values."""
    with on_meta_device():
        network = build_network(model, signature, widths, dict(params))
    return count_parameters(network)


def solve(
    model: Model, signature: Signature, params: Mapping[str, ParamValue], *, budget: int, tolerance: float
) -> Size:
    """Return the widths of this configuration for a budget.  Raises BudgetError if `nearest_size` does not meet it."""
    size = nearest_size(model, signature, params, budget=budget, tolerance=tolerance)
    if not size.met:
        raise BudgetError(reason_unmet(model, size, tolerance))
    return size


def reason_unmet(model: Model, size: Size, tolerance: float) -> str:
    """Return why a size does not meet its budget: the nearest count and its deviation."""
    return (
        f"{model.name}: no width meets {size.budget:,} parameters within {tolerance:.3g}: "
        f"widths {_short(size.widths)} have {size.count.parameters:,} ({size.deviation:+.2%})"
    )


def nearest_size(
    model: Model, signature: Signature, params: Mapping[str, ParamValue], *, budget: int, tolerance: float
) -> Size:
    """Return the first of these sizes that meets the budget, or the nearest of all if none does.

    1. The largest uniform width not above the budget, widened by one, level by level from the first, to the nearest
       count.  If that width is special (see `uniform_widths`), the largest other width too, and the nearer of both.
    2. The nearest count of all widths within 1 of those uniform widths; with few levels, then within 2.

    A size meets the budget if it deviates by at most `tolerance` of the count without the embedding, or by half the
    smallest step of 1.  Raises BudgetError if no uniform width lies below the budget, or none above it.
    """
    levels = model.levels(**params)

    @cache
    def count(widths: Widths) -> Count:
        return count_at(model, signature, widths, params)

    def uniform(width: int) -> int:
        return count((width,) * levels).parameters

    starts = uniform_widths(uniform, budget, specials=(signature.in_features,))
    prefixes = [[(width + 1,) * wider + (width,) * (levels - wider) for wider in range(levels + 1)] for width in starts]
    steps = [_smallest_step([count(widths).parameters for widths in tried]) for tried in prefixes]

    def size(widths: Widths, step: int) -> Size:
        counted = count(widths)
        return Size(widths, counted, budget, max(tolerance * (counted.parameters - counted.embedding), step / 2))

    best = _nearest(size(widths, step) for tried, step in zip(prefixes, steps, strict=True) for widths in tried)
    for reach in (1, 2) if levels <= FEW_LEVELS else (1,):
        if best.met:
            break
        uneven = (_uneven(count, width, levels, reach, budget) for width in starts)
        sizes = (size(widths, step) for tried, step in zip(uneven, steps, strict=True) for widths in tried)
        best = _nearest([best, *sizes])
    return best


def uniform_widths(count: Callable[[int], int], budget: int, specials: tuple[int, ...]) -> list[int]:
    """Return the largest width whose count is not above the budget; if it is special, the largest other width too.

    Counts grow with the width except at `specials`: there a projection vanishes, and the count drops for that width
    alone.  Special widths are tried one by one.  Raises BudgetError if width 1 is above the budget, or if no width is.
    """

    def grown(width: int) -> int:
        return count(width - 1 if width in specials and width > 1 else width)

    known = {1: grown(1)}
    if known[1] > budget:
        raise BudgetError(f"no width meets {budget:,} parameters: width 1 has {count(1):,} already")
    low, high = 1, STRIDE
    while known.setdefault(high, grown(high)) <= budget:
        low, high = high, high * STRIDE
        if low > WIDEST:
            raise BudgetError(f"no width reaches {budget:,} parameters: width {low:,} has {count(low):,}")
    for turn in itertools.count():
        if high - low == 1:
            break
        # A guess that misses again and again must not cost more than halving does.
        guess = (low + high) // 2 if turn % 3 == 2 else _interpolated(known, low, high, budget)
        known[guess] = grown(guess)
        low, high = (guess, high) if known[guess] <= budget else (low, guess)
    plain = low - 1 if low in specials and low > 1 else low
    largest = max([plain, *(width for width in specials if count(width) <= budget)])
    return [largest] if largest == plain else [largest, plain]


def _interpolated(known: Mapping[int, int], low: int, high: int, budget: int) -> int:
    """Guess a width between `low` and `high`, exclusive, from the parabola through three known counts.

    The count of layers that read each other is a parabola of their width.
    """
    near = sorted(known, key=lambda width: min(abs(width - low), abs(width - high)))[:3]
    if len(near) < 3:
        return (low + high) // 2
    a, b, c = sorted(near)
    slope, further = (known[b] - known[a]) / (b - a), (known[c] - known[b]) / (c - b)
    bend = (further - slope) / (c - a)
    linear = slope - bend * (a + b)
    missing = budget - (known[a] - linear * a - bend * a * a)
    root = linear * linear + 4 * bend * missing
    divisor = linear + math.sqrt(max(root, 0))
    guess = math.floor(2 * missing / divisor) if divisor > 0 else low
    return min(max(guess, low + 1), high - 1)


def _uneven(count: Callable[[Widths], Count], width: int, levels: int, reach: int, budget: int) -> Iterator[Widths]:
    """Yield widths within `reach` of a uniform width, the nearest predicted counts first; ties: fewer levels changed.

    Counts are predicted from those with one and with two neighbouring levels changed.  The prediction is exact if each
    tensor's size depends on the widths of one level or of two neighbouring levels.
    """
    changes = [change for by in range(1, reach + 1) for change in (by, -by) if width + change >= 1]

    def counted(*changed: tuple[int, int]) -> int:
        widths = [width] * levels
        for level, change in changed:
            widths[level] += change
        return count(tuple(widths)).parameters

    start = counted()
    candidates = np.array(list(itertools.islice(_changed(changes, levels), MOST_CANDIDATES)))
    predicted = np.full(len(candidates), start)
    single = {(level, change): counted((level, change)) - start for level in range(levels) for change in changes}
    for (level, change), more in single.items():
        predicted += more * (candidates[:, level] == change)
    for first, second in itertools.combinations(single, 2):
        if second[0] - first[0] == 1:  # neighbouring levels
            both = (candidates[:, first[0]] == first[1]) & (candidates[:, second[0]] == second[1])
            predicted += (counted(first, second) - start - single[first] - single[second]) * both
    for index in np.argsort(abs(predicted - budget), kind="stable")[:MOST_BUILT]:
        yield tuple(int(width + change) for change in candidates[index])


def _changed(changes: Sequence[int], levels: int) -> Iterator[list[int]]:
    """Yield lists of one change per level; lists that change fewer levels come first."""
    for number in range(levels + 1):
        for chosen in itertools.combinations(range(levels), number):
            for values in itertools.product(changes, repeat=number):
                change = dict(zip(chosen, values, strict=True))
                yield [change.get(level, 0) for level in range(levels)]


def _nearest(sizes: Iterable[Size]) -> Size:
    """Return the nearest size among those that meet the budget, or among all if none does; ties go to the first."""
    return min(sizes, key=lambda size: (not size.met, size.distance))


def _smallest_step(counts: Sequence[int]) -> int:
    """Return the smallest change from one widening to the next."""
    return min(abs(after - before) for before, after in itertools.pairwise(counts))


def _trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _short(widths: Widths) -> str:
    return f"{widths[0]} x {len(widths)}" if len(set(widths)) == 1 else ",".join(map(str, widths))
