"""The sizes of a planned cell."""

from __future__ import annotations

import pytest

from harness.errors import BudgetError
from harness.plugin.registry import Registry
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.plans import PlanOf, RaisingModel, only_cell, with_model


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
