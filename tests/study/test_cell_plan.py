"""The sizes of a planned cell."""

from __future__ import annotations

import pytest

from harness.api.model import Model
from harness.errors import BudgetError, PluginError
from harness.plugin.registry import Registry
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.plans import PlanOf, RaisingModel, only_cell, with_model
from tests.support.toys import ToyEma
from tests.testing.attention_models import Attention, Divisible, Lazy


def test_size_gives_the_reason_of_the_model(plan_of: PlanOf) -> None:
    plan = only_cell(plan_of(models=["toy-stack"], tasks=[{"name": "toy-ragged", "parameters": 200}]))
    with pytest.raises(BudgetError, match=r"^1 layers reach 2 steps, but 3 are needed$"):
        plan.size({"layers": 1, "scale": 1.0, "dropout": 0.0})
    assert plan.size({"layers": 2, "scale": 1.0, "dropout": 0.0}).met


def test_searched_cell_has_no_published_size(plan_of: PlanOf) -> None:
    with pytest.raises(BudgetError, match="toy-sum/toy-ema: has no published setting"):
        only_cell(plan_of()).published_size()


@pytest.mark.parametrize("where", ["unsupported", "build"])
def test_configuration_whose_build_raises_cannot_be_used(
    toy_registry: Registry, toy_study: MakeStudy, where: str
) -> None:
    """It is rejected with the reason, and another configuration is drawn."""
    cell = only_cell(make_plan(toy_study(models=["odd"]), with_model(toy_registry, RaisingModel(where))))
    with pytest.raises(BudgetError, match=r"^model 'odd': toys unknown raised KeyError: 'odd' \(plans\.py:\d+\)"):
        cell.size({"bias": True})


def test_lazy_modules_are_refused_for_the_whole_cell(toy_registry: Registry, toy_study: MakeStudy) -> None:
    cell = only_cell(make_plan(toy_study(models=["lazy"]), with_model(toy_registry, Lazy())))
    with pytest.raises(
        PluginError, match=r"^toy-sum/lazy: model 'lazy': build returns lazy modules .*\(from toys unknown"
    ):
        cell.size({})


def test_width_that_build_does_not_take_is_named(toy_registry: Registry, toy_study: MakeStudy) -> None:
    cell = only_cell(make_plan(toy_study(models=["divisible"]), with_model(toy_registry, Divisible())))
    message = (
        r"^toy-sum/divisible: model 'divisible' of toys unknown takes width 720, but not 17 \(AssertionError: embed_dim"
    )
    with pytest.raises(PluginError, match=message):
        cell.check_widths({})


@pytest.mark.parametrize("model", [ToyEma(), Attention(), RaisingModel("build")])
def test_model_that_takes_every_width_or_none_passes(
    toy_registry: Registry, toy_study: MakeStudy, model: Model
) -> None:
    cell = only_cell(make_plan(toy_study(models=[model.name]), with_model(toy_registry, model)))
    cell.check_widths({"bias": True} if isinstance(model, ToyEma) else {})
