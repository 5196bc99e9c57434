"""Widths of the models at small budgets, where one unit more or less is a large share: agreement with brute force."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise, product

import pytest

from harness.api.model import Model
from harness.api.signature import Classes, Real, Signature, Tokens
from harness.errors import BudgetError
from harness.records import ParamValue
from harness.study.budget import count_at, solve
from harness_models.recurrent import Gru, Lstm, Rnn
from harness_models.tcn import Tcn

Count = Callable[[tuple[int, ...]], int]

SHORT = Signature(Real(1), Classes(2), length=50, readout="last")
WORDS = Signature(Tokens(200, 24), Classes(200), length=50, readout="each", tied=True)
BOTH = pytest.mark.parametrize("signature", [SHORT, WORDS], ids=["short", "words"])
BUDGETS = {"short": (5_000, 7_321, 16_000, 70_000), "words": (10_935, 12_345, 30_000)}
TOLERANCE = 0.01


def _outside(signature: Signature, width: int) -> tuple[int, int]:
    """Return the parameters of encoder and decoder together, and those of the encoder."""
    if isinstance(signature.input, Real):
        return (width + 1) * 2, 0
    return 200 * 24 + 200 + (24 * width if width != 24 else 0), 200 * 24


def _tcn(signature: Signature, kernel_size: int, widths: tuple[int, ...]) -> int:
    convolutions = sum(
        after * (before + after) * kernel_size + 4 * after + ((before + 1) * after if before != after else 0)
        for before, after in pairwise((signature.in_features, *widths))
    )
    return convolutions + _outside(signature, widths[-1])[0]


def _recurrent(signature: Signature, gates: int, widths: tuple[int, ...]) -> int:
    layers = sum(gates * after * (before + after + 2) for before, after in pairwise((signature.in_features, *widths)))
    return layers + _outside(signature, widths[-1])[0]


def _brute_force(count: Count, signature: Signature, levels: int, budget: int) -> int | None:
    """Return the smallest distance from the budget among the first of: prefixes, all widths within 1, within 2."""
    fitting = [width for width in range(1, 600) if count((width,) * levels) <= budget]
    starts = {max(fitting), max(width for width in fitting if width != signature.in_features)}
    embedding = _outside(signature, 1)[1]
    steps = {}
    prefixes: list[tuple[int, tuple[int, ...]]] = []
    for start in starts:
        tried = [(start + 1,) * wider + (start,) * (levels - wider) for wider in range(levels + 1)]
        steps[start] = min(abs(count(after) - count(before)) for before, after in pairwise(tried))
        prefixes += [(start, widths) for widths in tried]
    near = {
        reach: [(s, w) for s in starts for w in product(range(max(s - reach, 1), s + reach + 1), repeat=levels)]
        for reach in ((1, 2) if levels <= 4 else (1,))
    }
    for candidates in (prefixes, *near.values()):
        distances = [
            abs(count(widths) - budget)
            for start, widths in candidates
            if abs(count(widths) - budget) <= max(TOLERANCE * (count(widths) - embedding), steps[start] / 2)
        ]
        if distances:
            return min(distances)
    return None


def _check(model: Model, signature: Signature, params: dict[str, ParamValue], count: Count, budget: int) -> bool:
    """Assert that the solver agrees with brute force; return whether the budget is met."""
    levels = model.levels(**params)
    nearest = _brute_force(count, signature, levels, budget)
    try:
        size = solve(model, signature, params, budget=budget, tolerance=TOLERANCE)
    except BudgetError:
        assert nearest is None, (params, budget)
        return False
    assert size.count.parameters == count(size.widths)
    assert (abs(size.count.parameters - budget), size.met) == (nearest, True), (params, budget, size.widths)
    return True


@BOTH
def test_tcn_agrees_with_brute_force(signature: Signature, request: pytest.FixtureRequest) -> None:
    for budget in BUDGETS[request.node.callspec.id]:
        for kernel_size, levels in product(range(2, 9), range(1, 6)):
            params: dict[str, ParamValue] = {"kernel_size": kernel_size, "levels": levels, "dropout": 0.0}
            _check(Tcn(), signature, params, partial(_tcn, signature, kernel_size), budget)


@BOTH
@pytest.mark.parametrize(("model", "gates"), [(Rnn(), 1), (Gru(), 3), (Lstm(), 4)], ids=["rnn", "gru", "lstm"])
def test_recurrent_model_agrees_with_brute_force(signature: Signature, model: Model, gates: int) -> None:
    for budget in (5_000, 10_935, 16_000, 40_000):
        for layers in (1, 2, 3):
            if signature is SHORT or budget > 10_000:
                params: dict[str, ParamValue] = {"layers": layers, "dropout": 0.0}
                assert _check(model, signature, params, partial(_recurrent, signature, gates), budget)


def test_counts_of_brute_force_are_those_of_the_models() -> None:
    for signature, widths in product((SHORT, WORDS), ((5, 5), (24, 24), (24, 23), (1, 24), (7, 1))):
        tcn: dict[str, ParamValue] = {"kernel_size": 3, "levels": 2, "dropout": 0.0}
        assert count_at(Tcn(), signature, widths, tcn).parameters == _tcn(signature, 3, widths)
        gru: dict[str, ParamValue] = {"layers": 2, "dropout": 0.0}
        assert count_at(Gru(), signature, widths, gru).parameters == _recurrent(signature, 3, widths)


@pytest.mark.parametrize(("budget", "most_unmet"), [(5_000, 1), (16_000, 0), (70_000, 0), (300_000, 0)])
def test_tcn_shapes_do_not_vanish_by_rounding(budget: int, most_unmet: int) -> None:
    """With widened prefixes alone 15, 8, 9 and 0 of 28 did not meet the budget."""
    met = 0
    for kernel_size, levels in product(range(2, 9), range(2, 6)):
        params: dict[str, ParamValue] = {"kernel_size": kernel_size, "levels": levels, "dropout": 0.0}
        try:
            met += solve(Tcn(), SHORT, params, budget=budget, tolerance=TOLERANCE).met
        except BudgetError:
            continue
    assert met == 28 - most_unmet


def test_tied_tcn_takes_the_width_below_the_uniform_one() -> None:
    """Widths 23 and 24 are uniform solutions of this budget; only one less on the second level has it."""
    params: dict[str, ParamValue] = {"kernel_size": 2, "levels": 2, "dropout": 0.0}
    size = solve(Tcn(), WORDS, params, budget=10_935, tolerance=TOLERANCE)
    assert (size.widths, size.count.parameters) == ((23, 22), 10_953)
