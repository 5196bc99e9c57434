from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from harness.api.model import Model
from harness.api.signature import Bits, Classes, Real, Signature, Tokens
from harness.errors import BudgetError
from harness.plugin.registry import Registry
from harness.study.budget import WIDEST, Count, Size, count_at, count_parameters, nearest_size, solve, uniform_widths
from harness.training.network import Network


def _signature(channels: int = 1, outputs: int = 1) -> Signature:
    return Signature(input=Real(channels), output=Real(outputs), length=6, readout="each")


class Rnn(Model):
    """torch's recurrent networks, whose counts have closed forms."""

    name = "toy-rnn"

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        self.kind = kind

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return _Recurrent(self.kind, (signature.in_features, *widths))

    def levels(self, **params: Any) -> int:
        return int(params.get("layers", 1))


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], sizes: tuple[int, ...]) -> None:
        super().__init__()
        make: Any = kind  # each kind has a signature of its own
        self.out_features = sizes[-1]
        self.layers = nn.ModuleList(make(i, o) for i, o in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Counted(Model):
    """A network of as many parameters, two or more, as a function of its widths says."""

    name = "counted"

    def __init__(self, count: Callable[[tuple[int, ...]], int], levels: int) -> None:
        self.count = count
        self.depth = levels

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return _Blob(self.count(widths))

    def levels(self, **params: Any) -> int:
        return self.depth


class _Blob(nn.Module):
    def __init__(self, parameters: int) -> None:
        super().__init__()
        self.out_features = 1
        self.blob = nn.Parameter(torch.empty(parameters - 2))  # the decoder has a weight and a bias

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


# Counting


def test_shared_tensor_counts_once() -> None:
    layer = nn.Linear(4, 4)
    backbone = nn.Sequential(layer, layer)
    backbone.out_features = 4  # type: ignore[assignment]  # the attribute that a backbone has
    network = Network(_signature(4, 2), backbone)
    assert count_parameters(network) == Count(4 * 4 + 4 + 4 * 2 + 2, 0)


@pytest.mark.parametrize(("width", "projection"), [(6, 0), (5, 5 * 6)])
def test_tied_decoder_counts_its_embedding_once(width: int, projection: int) -> None:
    words = Signature(input=Tokens(50, 6), output=Classes(50), length=9, readout="each", tied=True)
    count = count_at(Rnn(nn.RNN), words, (width,), {})
    recurrent = width * (6 + width + 2)
    assert count == Count(50 * 6 + recurrent + projection + 50, embedding=300)


def test_embedding_is_counted_by_itself() -> None:
    words = Signature(input=Tokens(50, 6), output=Classes(50), length=9, readout="each")
    assert count_at(Rnn(nn.RNN), words, (3,), {}) == Count(50 * 6 + 3 * (6 + 3 + 2) + 3 * 50 + 50, embedding=300)


def test_frozen_tensor_is_not_counted() -> None:
    backbone = nn.Linear(4, 4)
    backbone.weight.requires_grad_(False)
    assert count_parameters(Network(_signature(4, 2), backbone)) == Count(4 + 4 * 2 + 2, 0)


def test_counting_uses_no_memory_and_no_randomness() -> None:
    before = torch.random.get_rng_state()
    # 16 TB of weights, were they made.
    assert count_at(Rnn(nn.RNN), _signature(), (2_000_000,), {}).parameters > 4 * 10**12
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("layers", "widths", "count"),
    [
        # The LSTMs of Bai, Kolter & Koltun 2018, Table 3: adding problem, T = 200 and T = 600.
        (2, (77, 77), 73_074),
        (1, (130,), 69_811),
    ],
)
def test_lstm_count_is_the_closed_form(layers: int, widths: tuple[int, ...], count: int) -> None:
    # Σ 4 h (in + h + 2): four gates, two bias vectors each as PyTorch has them; then the decoder.
    assert count_at(Rnn(nn.LSTM), _signature(2), widths, {"layers": layers}).parameters == count


# Solving


EQUAL_BUDGET = [
    # Inputs, outputs, budget (the published TCN's count) → largest hidden size of 1, 2 and 3 layers not above it.
    (nn.LSTM, 2, 1, 70_369, (130, 75, 58)),
    (nn.GRU, 2, 1, 70_369, (151, 87, 67)),
    (nn.RNN, 2, 1, 70_369, (262, 151, 117)),
    (nn.LSTM, 1, 10, 66_910, (126, 73, 56)),
    (nn.GRU, 1, 10, 66_910, (146, 84, 65)),
    (nn.RNN, 1, 10, 66_910, (252, 146, 113)),
    (nn.LSTM, 1, 10, 12_530, (53, 31, 24)),
    (nn.GRU, 1, 10, 12_530, (61, 35, 27)),
    (nn.RNN, 1, 10, 12_530, (105, 62, 48)),
    (nn.LSTM, 88, 88, 269_938, (209, 132, 105)),
    (nn.GRU, 88, 88, 269_938, (246, 154, 122)),
    (nn.RNN, 88, 88, 269_938, (438, 271, 214)),
    (nn.LSTM, 88, 88, 1_053_238, (460, 277, 218)),
    (nn.GRU, 88, 88, 1_053_238, (535, 322, 252)),
    (nn.RNN, 88, 88, 1_053_238, (941, 563, 441)),
]


@pytest.mark.parametrize(("kind", "inputs", "outputs", "budget", "widths"), EQUAL_BUDGET)
def test_largest_uniform_widths_are_those_worked_out_by_hand(
    kind: type[nn.RNNBase], inputs: int, outputs: int, budget: int, widths: tuple[int, ...]
) -> None:
    signature = Signature(input=Real(inputs), output=Bits(outputs), length=9, readout="each")
    for layers, width in enumerate(widths, start=1):
        gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind]

        def closed_form(h: int, layers: int = layers, gates: int = gates) -> int:
            return gates * h * (inputs + h + 2) + (layers - 1) * gates * h * (2 * h + 2) + (h + 1) * outputs

        assert uniform_widths(closed_form, budget, specials=())[0] == width
        size = solve(Rnn(kind), signature, {"layers": layers}, budget=budget, tolerance=0.01)
        assert size.widths in [(width + 1,) * wider + (width,) * (layers - wider) for wider in range(layers + 1)]
        assert abs(size.count.parameters - budget) <= budget - closed_form(width)


def test_one_level_of_three_percent_steps_meets_half_a_step() -> None:
    """A one-layer GRU at 12.5K parameters steps by 3 %; a budget between two widths is still met."""
    signature = _signature(1, 10)

    def at(width: int) -> int:
        return count_at(Rnn(nn.GRU), signature, (width,), {}).parameters

    low, high = at(61), at(62)
    assert (high - low) / low == pytest.approx(0.03, abs=0.003)
    for budget, width in [(low, 61), (low + 1, 61), (high - 1, 62), ((low + high) // 2, 61)]:
        size = solve(Rnn(nn.GRU), signature, {}, budget=budget, tolerance=0.01)
        assert size.widths == (width,)
        assert size.allowed == (high - low) / 2
        assert abs(size.deviation) < 0.016


def test_tolerance_is_a_share_of_the_count_without_the_embedding() -> None:
    words = Signature(input=Tokens(1000, 8), output=Classes(4), length=9, readout="each")
    size = solve(Rnn(nn.RNN), words, {}, budget=8000 + 5000, tolerance=0.5)
    bare = size.count.parameters - 8000
    assert size.count.embedding == 8000
    assert size.allowed == 0.5 * bare
    assert size.bare_deviation == (size.count.parameters - 13_000) / bare
    assert size.deviation == (size.count.parameters - 13_000) / 13_000


@pytest.mark.parametrize("budget", [1, 3])
def test_budget_below_width_one_is_refused(budget: int) -> None:
    with pytest.raises(BudgetError, match=rf"no width meets {budget} parameters: width 1 has 6 already"):
        solve(Rnn(nn.RNN), _signature(), {}, budget=budget, tolerance=0.01)


def test_model_that_does_not_grow_with_its_width_is_refused() -> None:
    with pytest.raises(BudgetError, match=rf"no width reaches 100 parameters: width {2 * WIDEST:,} has 50"):
        solve(Counted(lambda widths: 50, 1), _signature(), {}, budget=100, tolerance=0.01)


def test_budget_that_no_width_meets_says_what_comes_nearest() -> None:
    # Uniform widths have 100, 1000, 10000; widening one of two levels changes almost nothing.
    def count(widths: tuple[int, ...]) -> int:
        return (100, 1000)[min(widths) > 1] + (max(widths) > min(widths))

    message = r"counted: no width meets 500 parameters within 0\.01: widths 2,1 have 101 \(-79\.80%\)"
    with pytest.raises(BudgetError, match=message):
        solve(Counted(count, 2), _signature(), {}, budget=500, tolerance=0.01)


def test_nearest_widening_is_kept() -> None:
    model = Counted(lambda widths: 10 * sum(widths), 4)
    for budget, widths in [(400, (10, 10, 10, 10)), (414, (11, 10, 10, 10)), (426, (11, 11, 11, 10))]:
        assert solve(model, _signature(), {}, budget=budget, tolerance=0.05).widths == widths


def test_tie_between_two_widenings_goes_to_the_fewer_widened() -> None:
    model = Counted(lambda widths: 10 * sum(widths), 4)
    assert solve(model, _signature(), {}, budget=405, tolerance=0.05).widths == (10, 10, 10, 10)
    assert solve(model, _signature(), {}, budget=415, tolerance=0.05).widths == (11, 10, 10, 10)


def test_special_width_is_found_beyond_the_largest_plain_one() -> None:
    """Where a projection vanishes the count drops, as at 600 for the TCN of word-level PTB."""

    def count(widths: tuple[int, ...]) -> int:
        return 100 * widths[0] - (0 if widths[0] != 20 else 500)

    size = solve(Counted(count, 1), _signature(20), {}, budget=1500, tolerance=0.01)
    assert (size.widths, size.count.parameters) == ((20,), 1500)


def test_plain_width_meets_a_budget_that_the_special_one_misses() -> None:
    """19 has 1900 and 20 only 1500: the largest width within 1900 is 20, but 19 is what meets it."""

    def count(widths: tuple[int, ...]) -> int:
        return 100 * widths[0] - (0 if widths[0] != 20 else 500)

    size = solve(Counted(count, 1), _signature(20), {}, budget=1900, tolerance=0.01)
    assert (size.widths, size.count.parameters) == ((19,), 1900)


def test_toy_stack_drops_where_its_width_is_that_of_the_input(toy_registry: Registry) -> None:
    model = toy_registry.model("toy-stack").value
    counts = [count_at(model, _signature(12), (width,), {"layers": 1}).parameters for width in (11, 12, 13)]
    assert counts[1] < counts[0] < counts[2]
    size = solve(model, _signature(12), {"layers": 1}, budget=counts[1], tolerance=0.01)
    assert (size.widths, size.deviation) == ((12,), 0.0)


@st.composite
def curves(draw: st.DrawFn) -> tuple[Callable[[int], int], tuple[int, ...], int]:
    """A count that grows but for a dip at one or two special widths, and a budget."""
    first, step, square = draw(st.integers(1, 300)), draw(st.integers(1, 60)), draw(st.integers(0, 5))
    specials = draw(
        st.sets(st.integers(1, 80), max_size=2).filter(lambda drawn: max(drawn or [9]) - min(drawn or [0]) > 1)
    )
    depth = draw(st.integers(0, 400))

    def grown(width: int) -> int:
        return first + step * (width - 1) + square * (width - 1) ** 2

    def count(width: int) -> int:
        return max(1, grown(width) - depth) if width in specials else grown(width)

    return count, tuple(sorted(specials)), draw(st.integers(grown(1), grown(100)))


@settings(max_examples=300)
@given(curves())
def test_uniform_widths_agree_with_trying_every_width(
    case: tuple[Callable[[int], int], tuple[int, ...], int],
) -> None:
    count, specials, budget = case
    fitting = [width for width in range(1, 300) if count(width) <= budget]
    plain = [width for width in fitting if width not in specials]
    widths = uniform_widths(count, budget, specials)
    assert widths[0] == max(fitting)
    if plain and widths[0] in specials:
        assert widths[1:] == [max(plain)]


@dataclass(frozen=True)
class Chain:
    """Levels whose tensors depend on one width or on two neighbours, and what vanishes where two are equal."""

    single: tuple[int, ...]
    pair: tuple[int, ...]
    skip: int
    """Parameters of a projection between neighbours of different widths, the input among them."""
    projection: int
    """Parameters of a projection to the input's width, as before a tied decoder."""
    special: int

    def __call__(self, widths: tuple[int, ...]) -> int:
        """Return the parameters at these widths."""
        sizes = (self.special, *widths)
        return (
            2
            + sum(weight * width for weight, width in zip(self.single, widths, strict=True))
            + sum(weight * a * b for weight, (a, b) in zip(self.pair, pairwise(sizes), strict=True))
            + self.skip * sum(a != b for a, b in pairwise(sizes))
            + self.projection * (widths[-1] != self.special)
        )

    def uniform(self, width: int) -> int:
        """Return the parameters at a uniform width."""
        return self((width,) * len(self.single))

    def fitting(self, budget: int) -> list[int]:
        """Return the uniform widths whose count is not above the budget."""
        return [width for width in range(1, budget // sum(self.single) + 2) if self.uniform(width) <= budget]


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    levels = draw(st.integers(1, 4))
    single, pair = (tuple(draw(st.integers(1, most)) for _ in range(levels)) for most in (40, 8))
    return Chain(single, pair, *(draw(st.integers(low, high)) for low, high in ((0, 60), (0, 200), (1, 12))))


def _brute_force(chain: Chain, budget: int, tolerance: float) -> list[int]:
    """Return the distances of all widths that meet the budget in the first neighbourhood that has any."""
    levels = len(chain.single)
    fitting = chain.fitting(budget)
    starts = {max(fitting), max((width for width in fitting if width != chain.special), default=max(fitting))}
    allowed: dict[int, float] = {}
    prefixes: dict[int, list[tuple[int, ...]]] = {}
    for start in starts:
        prefixes[start] = [(start + 1,) * wider + (start,) * (levels - wider) for wider in range(levels + 1)]
        allowed[start] = min(abs(chain(after) - chain(before)) for before, after in pairwise(prefixes[start])) / 2

    def within(reach: int) -> dict[int, list[tuple[int, ...]]]:
        near = {start: range(max(start - reach, 1), start + reach + 1) for start in starts}
        return {start: list(product(near[start], repeat=levels)) for start in starts}

    for tried in (prefixes, within(1), within(2)):
        distances = [
            abs(chain(widths) - budget)
            for start in starts
            for widths in tried[start]
            if abs(chain(widths) - budget) <= max(tolerance * chain(widths), allowed[start])
        ]
        if distances:
            return distances
    return []


@settings(max_examples=400, deadline=None)
@given(chains(), st.integers(50, 20_000), st.sampled_from([0.002, 0.01, 0.05]))
def test_solve_agrees_with_brute_force(chain: Chain, budget: int, tolerance: float) -> None:
    """All widths within 1 of the uniform ones, then within 2, where no prefix of levels meets the budget."""
    if chain.uniform(1) > budget:
        return
    met = _brute_force(chain, budget, tolerance)
    model, signature = Counted(chain, len(chain.single)), _signature(chain.special)
    if not met:
        with pytest.raises(BudgetError, match="counted: no width meets"):
            solve(model, signature, {}, budget=budget, tolerance=tolerance)
        return
    size = solve(model, signature, {}, budget=budget, tolerance=tolerance)
    assert size.count.parameters == chain(size.widths)
    assert abs(size.count.parameters - budget) == min(met)
    assert size.met
    assert solve(model, signature, {}, budget=budget, tolerance=tolerance) == size


@settings(max_examples=100, deadline=None)
@given(chains(), st.integers(50, 20_000))
def test_prefix_of_levels_is_kept_where_it_meets_the_budget(chain: Chain, budget: int) -> None:
    """Stored studies continue: other subsets of levels are tried only where no prefix meets the budget."""
    if chain.uniform(1) > budget:
        return
    levels = len(chain.single)
    start = max(chain.fitting(budget))
    tried = [(start + 1,) * wider + (start,) * (levels - wider) for wider in range(levels + 1)]
    best = min(tried, key=lambda widths: (abs(chain(widths) - budget), sum(widths)))
    if start != chain.special and abs(chain(best) - budget) <= 0.01 * chain(best):
        assert (
            solve(Counted(chain, levels), _signature(chain.special), {}, budget=budget, tolerance=0.01).widths == best
        )


def test_nine_levels_try_every_combination_of_one_more_and_one_less() -> None:
    """Only the levels 2, 5 and 9 together, changed in different directions, have the budget."""
    weights = (1000, 2003, 4001, 8009, 2011, 3001, 5003, 7001, 6007)

    def count(widths: tuple[int, ...]) -> int:
        return sum(weight * width for weight, width in zip(weights, widths, strict=True))

    wanted = tuple(20 + {1: 1, 4: -1, 8: 1}.get(level, 0) for level in range(9))
    size = nearest_size(Counted(count, 9), _signature(), {}, budget=count(wanted), tolerance=0.0)
    assert (size.widths, size.distance) == (wanted, 0)


def test_size_whose_count_is_not_as_predicted_is_reported_as_built() -> None:
    """All three levels together have parameters that no two of them show."""

    def count(widths: tuple[int, ...]) -> int:
        return 2 + 1000 * sum(widths) + 300 * (widths[0] > 10) * (widths[1] > 10) * (widths[2] < 10)

    for budget in range(29_500, 32_500, 50):
        size = nearest_size(Counted(count, 3), _signature(), {}, budget=budget, tolerance=0.001)
        assert size.count.parameters == count(size.widths)


@pytest.mark.parametrize("budget", [1_000, 70_000, 10_000_000])
@pytest.mark.parametrize(("levels", "builds"), [(1, 9), (3, 11)])
def test_solving_takes_few_builds(levels: int, builds: int, budget: int) -> None:
    tried: list[tuple[int, ...]] = []

    def count(widths: tuple[int, ...]) -> int:
        tried.append(widths)
        return 1 + sum(4 * after * (before + after + 2) for before, after in pairwise((1, *widths)))

    solve(Counted(count, levels), _signature(), {}, budget=budget, tolerance=0.05)
    assert len(tried) == len(set(tried)) <= builds


@pytest.mark.parametrize("budget", [2**12, 2**30 + 5, 3 * 2**40])
def test_widths_of_a_count_that_is_no_parabola_take_few_counts(budget: int) -> None:
    """A count that doubles every 50 widths, in one jump."""
    tried: list[int] = []

    def count(width: int) -> int:
        tried.append(width)
        return 1 << (width // 50)

    assert uniform_widths(count, budget, specials=()) == [max(w for w in range(1, 3000) if 1 << (w // 50) <= budget)]
    assert len(set(tried)) <= 3 * 13


@pytest.mark.parametrize(("name", "layers"), [("toy-ema", 1), ("toy-stack", 1), ("toy-stack", 2), ("toy-stack", 3)])
@pytest.mark.parametrize("budget", [2_000, 10_007, 69_999])
def test_toys_meet_budgets_and_say_how_closely(
    toy_registry: Registry, name: Literal["toy-ema", "toy-stack"], layers: int, budget: int
) -> None:
    model = toy_registry.model(name).value
    params: dict[str, bool | int] = {"bias": True} if name == "toy-ema" else {"layers": layers}
    try:
        size = solve(model, _signature(3, 2), params, budget=budget, tolerance=0.01)
    except BudgetError as error:
        assert "no width meets" in str(error)  # noqa: PT017  # either outcome is lawful; both are checked
        return
    assert size.count == count_at(model, _signature(3, 2), size.widths, params)
    assert abs(size.count.parameters - budget) <= size.allowed
    assert size.met


def test_size_tells_whether_it_is_met() -> None:
    assert Size((1,), Count(101, 0), 100, 1.0).met
    assert not Size((1,), Count(102, 0), 100, 1.0).met
