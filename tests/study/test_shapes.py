"""The shapes that cannot meet a budget, as data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from harness.api.model import Model
from harness.api.signature import Real, Signature
from harness.errors import BudgetError
from harness.study.budget import solve
from harness.study.shapes import MOST_SHAPES, Shapes, unmet_shapes

SIGNATURE = Signature(input=Real(1), output=Real(1), length=6, readout="each")


class _Blob(nn.Module):
    def __init__(self, parameters: int) -> None:
        super().__init__()
        self.out_features = 1
        self.blob = nn.Parameter(torch.empty(parameters - 2))  # the decoder has a weight and a bias

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Coarse(Model):
    """One more on both levels costs `blocks` x `grain` parameters, on one level a single one; `tint` costs nothing."""

    name = "coarse"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {
            "blocks": IntDistribution(1, 3),
            "grain": CategoricalDistribution([10, 90]),
            "scale": FloatDistribution(0.5, 1.5),
            "tint": CategoricalDistribution(["red", "green"]),
        }

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        assert params["scale"] == 1.0
        step = params["blocks"] * params["grain"]
        return _Blob(2 + step * min(widths) + max(widths) - min(widths))

    def levels(self, **params: Any) -> int:
        return 2

    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        return "too many blocks" if params["blocks"] == 3 else None


def _unmet(budget: int, space: dict[str, BaseDistribution] | None = None) -> Shapes:
    model = Coarse()
    return unmet_shapes(model, SIGNATURE, space or model.space(SIGNATURE), budget=budget, tolerance=0.01)


def test_unmet_shapes_are_listed_with_the_nearest_count() -> None:
    shapes = _unmet(990)
    assert (shapes.total, shapes.complete) == (4, True)
    (coarsest,) = shapes.unmet
    assert coarsest.params == {"blocks": 2, "grain": 90}
    assert coarsest.size is not None
    assert (coarsest.size.count.parameters, f"{coarsest.size.deviation:+.1%}") == (904, "-8.7%")
    assert coarsest.reason == "coarse: no width meets 990 parameters within 0.01: widths 7,5 have 904 (-8.69%)"


def test_shape_is_unmet_where_solving_is_refused() -> None:
    for budget in (12, 95, 200, 990, 1_235, 5_000):
        listed = [shape.params for shape in _unmet(budget).unmet]
        for blocks in (1, 2):
            for grain in (10, 90):
                params: dict[str, Any] = {"blocks": blocks, "grain": grain, "scale": 1.0, "tint": "red"}
                try:
                    solve(Coarse(), SIGNATURE, params, budget=budget, tolerance=0.01)
                    met = True
                except BudgetError:
                    met = False
                assert any({**params, **shape} == params for shape in listed) != met


def test_shape_above_the_budget_at_width_one_has_no_size() -> None:
    unmet = [(dict(shape.params), shape.size, shape.reason) for shape in _unmet(95).unmet if shape.size is None]
    assert unmet == [({"blocks": 2, "grain": 90}, None, "no width meets 95 parameters: width 1 has 182 already")]


def test_dimension_that_changes_no_size_is_left_out() -> None:
    space = {"blocks": IntDistribution(2, 2), "grain": CategoricalDistribution([90]), **_rest()}
    (shape,) = _unmet(990, space).unmet
    assert shape.params == {"blocks": 2, "grain": 90}


def _rest() -> dict[str, BaseDistribution]:
    return {"scale": FloatDistribution(0.5, 1.5), "tint": CategoricalDistribution(["red", "green"])}


def test_stepped_dimension_has_each_of_its_values() -> None:
    class Stepped(Coarse):
        def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
            return super().build(signature, widths, **{**params, "blocks": round(2 * params["blocks"]), "scale": 1.0})

    space: dict[str, BaseDistribution] = {
        "blocks": FloatDistribution(0.5, 1.0, step=0.5),
        "grain": CategoricalDistribution([90]),
    }
    shapes = unmet_shapes(Stepped(), SIGNATURE, space, budget=272, tolerance=0.001)
    assert [shape.params["blocks"] for shape in shapes.unmet] == [1.0]
    assert shapes.total == 2


def test_large_space_is_cut_and_says_so() -> None:
    space = {"blocks": IntDistribution(1, 1), "grain": IntDistribution(10, 10 + MOST_SHAPES), **_rest()}
    shapes = _unmet(20_000, space)
    assert not shapes.complete
    assert shapes.total == MOST_SHAPES / 2  # each with two tints


@pytest.mark.parametrize("budget", [990, 5_000])
def test_list_is_the_same_every_time(budget: int) -> None:
    assert _unmet(budget) == _unmet(budget)


def test_shapes_are_solved_without_dropout() -> None:
    """Models are promised a dropout in [0, 1)."""

    class Dropped(Coarse):
        def unsupported(self, signature: Signature, **params: Any) -> str | None:
            return super().unsupported(signature, **params) if params["dropout"] == 0 else "has dropout"

    model = Dropped()
    assert unmet_shapes(model, SIGNATURE, model.space(SIGNATURE), budget=990, tolerance=0.01) == _unmet(990)
