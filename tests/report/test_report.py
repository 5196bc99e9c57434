"""Reports of stored studies."""

from __future__ import annotations

import pytest

from harness.plugin.registry import Registry
from harness.report.report import build_table
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.cells import (
    ACCURACY,
    cell_of,
    facts,
    stored,
)


@pytest.mark.parametrize(("protocol", "setting"), [("fair", "published"), ("paper", "searched")])
def test_plan_marks_a_published_setting_beside_a_search(
    toy_registry: Registry, toy_study: MakeStudy, protocol: str, setting: str
) -> None:
    model = {"name": "toy-ema", "setting": "published"}
    (plan,) = make_plan(toy_study(protocol=protocol, models=[model], tasks=[{"name": "toy-sum"}]), toy_registry).cells
    assert (plan.facts.setting, plan.facts.task_parameters) == (setting, 161)


def test_plan_marks_what_it_searches_and_knows_the_size_of_the_task(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    sizes = {"toy-sum": 161, "toy-sum-length-9": None}
    tasks = [{"name": "toy-sum", "parameters": 200}, {"name": "toy-sum", "length": 9, "parameters": 200}]
    plan = make_plan(toy_study(models=["toy-stack"], tasks=tasks), toy_registry)
    assert {cell.cell.task: cell.facts.task_parameters for cell in plan.cells} == sizes
    assert {cell.facts.setting for cell in plan.cells} == {"searched"}


def test_build_table_has_one_row_per_task_and_one_column_per_model() -> None:
    cells = [facts("tcn"), facts("gru"), facts("tcn", ACCURACY, task="digits")]
    study = stored(cells, [*cell_of(cells[0], [0.01, 0.04]), *cell_of(cells[2], [90.0, 92.0])])
    table = build_table(study)
    assert (list(table.index), list(table.columns)) == (["copy", "digits"], ["tcn", "gru"])
    assert table.loc["copy", "tcn"] == pytest.approx(0.02)
    assert table.loc["digits", "tcn"] == 91.0
    assert table["gru"].isna().all()
