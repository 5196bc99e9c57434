"""The plan of a study: its cells, and what is left out."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution

from harness.api.task import DataFile
from harness.errors import PluginError, StudyError, UnknownNameError
from harness.plugin.registry import Registry
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.plans import PlanOf, RaisingModel, with_model
from tests.support.toys import ToySum

BOTH = {"models": ["toy-ema", "toy-stack"], "tasks": [{"name": "toy-sum"}, {"name": "toy-ragged", "parameters": 200}]}


def test_cells_are_tasks_times_models(plan_of: PlanOf) -> None:
    plan = plan_of(**BOTH)
    assert [str(cell.cell) for cell in plan.cells] == [
        "toy-sum/toy-ema",
        "toy-sum/toy-stack",
        "toy-ragged/toy-ema",
        "toy-ragged/toy-stack",
    ]
    assert plan.left_out == ()
    assert plan.trials() == 4 * (2 + 2)


def test_same_model_under_two_labels_is_two_cells(plan_of: PlanOf) -> None:
    plan = plan_of(models=["toy-stack", {"name": "toy-stack", "as": "flat", "space": {"layers": 1}}])
    assert [cell.cell.model for cell in plan.cells] == ["toy-stack", "flat"]
    assert plan.cells[1].space.architecture["layers"] == CategoricalDistribution([1])
    assert "layers" in plan.cells[0].space.architecture


def test_unknown_names_and_options_are_reported(plan_of: PlanOf) -> None:
    with pytest.raises(UnknownNameError, match=r"model 'toy-emma' is not installed; did you mean 'toy-ema'\?"):
        plan_of(models=["toy-emma"])
    with pytest.raises(UnknownNameError, match="task 'toy-summ' is not installed"):
        plan_of(tasks=[{"name": "toy-summ"}])
    with pytest.raises(
        UnknownNameError, match=r"^sampler 'tpee' is not installed; did you mean 'tpe'\? Installed: cmaes, "
    ):
        plan_of(search={"sampler": "tpee"})
    with pytest.raises(StudyError, match=r"has no option 'paramters'; did you mean 'parameters'\? Options: length"):
        plan_of(tasks=[{"name": "toy-sum", "paramters": 3}])


def test_paper_protocol_leaves_out_unpublished_cells(plan_of: PlanOf) -> None:
    plan = plan_of(protocol="paper", **{**BOTH, "tasks": [{"name": "toy-sum"}, {"name": "toy-sum", "length": 9}]})
    assert [str(cell.cell) for cell in plan.cells] == ["toy-sum/toy-ema"]
    assert [(str(left.cell), left.reason) for left in plan.left_out] == [
        ("toy-sum/toy-stack", "no published setting of toy-stack for toy-sum"),
        ("toy-sum-length-9/toy-ema", "no published setting of toy-ema for toy-sum-9"),
        ("toy-sum-length-9/toy-stack", "no published setting of toy-stack for toy-sum-9"),
    ]


def test_study_without_any_cell_is_refused(plan_of: PlanOf) -> None:
    message = r"study 'toys' has no cell to run: toy-sum/toy-stack: no published setting of toy-stack for toy-sum"
    with pytest.raises(StudyError, match=message):
        plan_of(protocol="paper", models=["toy-stack"])


def test_error_of_a_models_space_is_one_line_with_its_plugin(toy_registry: Registry, toy_study: MakeStudy) -> None:
    with pytest.raises(PluginError, match=r"^study 'toys', toy-sum/odd: toys unknown raised KeyError: .*; \w+ it"):
        make_plan(toy_study(models=["odd"]), with_model(toy_registry, RaisingModel("space")))


def test_error_of_a_task_during_planning_is_one_line_with_its_plugin(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToySum, "floor", lambda _: 1 / 0)
    message = r"toys unknown raised ZeroDivisionError: division by zero \(test_plan\.py:\d+\)"
    with pytest.raises(PluginError, match=message):
        plan_of(tasks=[{"name": "toy-sum", "parameters": 161}])


def test_narrowed_plan_has_the_cells_of_these_models_unchanged_but_for_the_repetitions(plan_of: PlanOf) -> None:
    plan = plan_of(**BOTH)
    narrowed = plan.narrowed(["toy-stack"], 7)
    assert [entry.name for entry in narrowed.study.models] == ["toy-stack"]
    assert narrowed.study.budget.repetitions == 7
    assert [str(cell.cell) for cell in narrowed.cells] == ["toy-sum/toy-stack", "toy-ragged/toy-stack"]
    for cell in narrowed.cells:
        (before,) = (other for other in plan.cells if other.cell == cell.cell)
        assert cell.facts == before.facts.model_copy(update={"repetitions": 7})
        assert cell.model is before.model
    assert narrowed.trials() == 2 * (2 + 7)


def test_cells_without_data_are_left_out_with_the_reason(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = DataFile(name="absent/toys.bin", bytes=3, sha256="0" * 64)
    monkeypatch.setattr(ToySum, "files", lambda _: (absent,))
    plan = plan_of(**BOTH)
    assert {str(cell) for cell in plan.missing()} == {"toy-sum/toy-ema", "toy-sum/toy-stack"}
    remaining = plan.without_missing()
    assert {cell.cell.task for cell in remaining.cells} == {"toy-ragged"}
    assert all("absent/toys.bin" in left.reason for left in remaining.left_out)
    with pytest.raises(StudyError, match=r"study 'toys' has no cell to run: .*absent/toys\.bin"):
        plan_of().without_missing()


def test_plan_without_missing_data_is_unchanged(plan_of: PlanOf) -> None:
    plan = plan_of(**BOTH)
    assert plan.without_missing() == plan
