"""How finely the models follow a parameter budget."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from optuna.distributions import BaseDistribution

from harness import Bits, Classes, Model, Real, Signature, Tokens
from harness.api.distributions import at_unit
from harness.records import ParamValue
from harness.study.budget import count_at, solve
from harness_modern.gated_tcn import GatedTcn
from harness_modern.mamba import Mamba
from harness_modern.mingru import MinGru
from harness_modern.s4d import S4d
from harness_modern.sizing import sizes, spread
from harness_modern.transformer import Transformer

MODELS: list[Model] = [Transformer(), MinGru(), S4d(), GatedTcn(), Mamba()]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
COPY = Signature(Real(1), Classes(10), length=50, readout="each", dependency=41)
SIGNATURES = {
    "copy": COPY,
    "mnist": Signature(Real(1), Classes(10), length=784, readout="last", dependency=784),
    "music": Signature(Real(88), Bits(88), length=160, readout="each"),
    "tokens": Signature(Tokens(50, 32), Classes(50), length=100, readout="each"),
    "tied": Signature(Tokens(50, 32), Classes(50), length=100, readout="each", tied=True),
}
every_signature = pytest.mark.parametrize("signature", SIGNATURES.values(), ids=SIGNATURES.keys())
BUDGETS = (5_000, 12_000, 70_000, 270_000, 1_000_000)
COARSEST_STEP = 0.06
"""As a share of the parameters, from 4,000 on; a filter of the gated TCN costs the most."""


def _draw(space: dict[str, BaseDistribution], rng: random.Random) -> dict[str, ParamValue]:
    return {name: at_unit(distribution, rng.random()) for name, distribution in space.items()}


@every_model
@every_signature
def test_drawn_configurations_meet_every_budget(model: Model, signature: Signature) -> None:
    rng = random.Random(7)
    for budget in BUDGETS:
        drawn = (_draw(model.space(signature), rng) for _ in range(20))
        params = next(params for params in drawn if model.unsupported(signature, **params) is None)
        size = solve(model, signature, params, budget=budget, tolerance=0.01)
        assert size.met
        assert abs(size.deviation) <= COARSEST_STEP / 2, (budget, params)


@every_model
@pytest.mark.parametrize("signature", [COPY, SIGNATURES["tied"]], ids=["copy", "tied"])
def test_count_grows_with_every_step_of_the_width(model: Model, signature: Signature) -> None:
    space = model.space(signature)
    params = {name: at_unit(distribution, 0.4) for name, distribution in space.items()}
    counts = [count_at(model, signature, (width,), params).parameters for width in range(1, 250)]
    assert all(b > a for a, b in pairwise(counts))
    assert max((b - a) / max(a, 4_000) for a, b in pairwise(counts)) < COARSEST_STEP


def test_steps_of_the_width_are_those_of_the_example() -> None:
    with torch.device("meta"):
        built = [Transformer().build(COPY, (width,), layers=2, heads=1, expansion=4) for width in range(485, 508)]
    hidden = [(b.out_features, *(block.get_submodule("widen").out_features for block in b.blocks)) for b in built]
    assert hidden[:3] == [(20, 80, 80), (20, 81, 80), (20, 81, 81)]
    assert hidden[20:] == [(20, 90, 90), (21, 84, 84), (21, 85, 84)]


def test_tied_decoder_leaves_out_the_model_width_of_the_embedding() -> None:
    tied = Signature(Tokens(50, 5), Classes(50), length=10, readout="each", tied=True)
    seen = [sizes(width, tied, lambda model, further: 10 * model + 5 * further) for width in range(1, 12)]
    assert [model for model, _ in seen] == [2, 2, 3, 3, 4, 4, 4, 4, 6, 6, 7]


@pytest.mark.parametrize(("units", "layers"), [(0, 3), (7, 3), (9, 3), (2, 5)])
def test_spread_is_even_and_complete(units: int, layers: int) -> None:
    parts = spread(units, layers)
    assert (len(parts), sum(parts)) == (layers, units)
    assert max(parts) - min(parts) <= 1
    assert parts == sorted(parts, reverse=True)
