"""Several sizes of one task in a study file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.plugin.registry import Registry
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.plan import make_plan
from harness.study.schema import size_text
from tests.conftest import MakeStudy
from tests.support.plans import PlanOf
from tests.support.study_files import TASK, fault_of, read_text

SIZED = [{"name": "toy-sum", "parameters": [161, 300]}]


def test_list_of_sizes_makes_a_task_per_size(plan_of: PlanOf) -> None:
    plan = plan_of(models=["toy-ema", "toy-stack"], tasks=[*SIZED, {"name": "toy-ragged", "parameters": 200}])
    assert [(str(cell.cell), cell.facts.parameters) for cell in plan.cells] == [
        ("toy-sum-161/toy-ema", 161),
        ("toy-sum-161/toy-stack", 161),
        ("toy-sum-300/toy-ema", 300),
        ("toy-sum-300/toy-stack", 300),
        ("toy-ragged/toy-ema", 200),
        ("toy-ragged/toy-stack", 200),
    ]
    assert len(plan.study.tasks) == 2


def test_given_label_has_the_size_appended(plan_of: PlanOf) -> None:
    plan = plan_of(tasks=[{"name": "toy-sum", "as": "sum", "parameters": [161, 300]}])
    assert [cell.cell.task for cell in plan.cells] == ["sum-161", "sum-300"]


def test_cell_of_a_size_is_the_cell_of_a_study_with_that_size_alone(plan_of: PlanOf) -> None:
    of_list = plan_of(tasks=SIZED).cells[1]
    alone = plan_of(tasks=[{"name": "toy-sum", "as": "toy-sum-300", "parameters": 300}]).cells[0]
    assert of_list.facts == alone.facts
    assert list(Proposer(of_list, seed=0).first(3)) == list(Proposer(alone, seed=0).first(3))


def test_trials_of_different_sizes_share_their_seeds(plan_of: PlanOf) -> None:
    trials = [CellState(Proposer(cell, seed=0), study_id="s").search_trial(0) for cell in plan_of(tasks=SIZED).cells]
    assert trials[0].seeds == trials[1].seeds
    assert trials[0].parameters != trials[1].parameters


def test_list_of_one_size_is_that_size(toy_study: MakeStudy, toy_registry: Registry) -> None:
    studies = [toy_study(tasks=[{"name": "toy-sum", "parameters": size}]) for size in (161, [161])]
    assert studies[0] == studies[1]
    assert make_plan(studies[1], toy_registry).cells[0].cell.task == "toy-sum"


def test_sizes_are_written_and_read_again(tmp_path: Path) -> None:
    pytest.importorskip("harness_models", reason="the study has a first-party model")
    pytest.importorskip("harness_tasks", reason="the study has a first-party task")
    study = harness.Study(
        "s",
        models=["tcn"],
        tasks=[{"name": "adding", "length": 20, "parameters": (5_000, 20_000)}],
        training={"updates": 10},
    )
    study.to_toml(tmp_path / "s.toml")
    assert "5000," in (tmp_path / "s.toml").read_text()
    assert harness.Study.from_toml(tmp_path / "s.toml") == study
    assert list(study.plan()["task"]) == ["adding-length-20-5k", "adding-length-20-20k"]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("[5000, 5000]", "'tasks.0.parameters': has 5,000 twice; give each size once"),
        ("[]", "got an empty list"),
        ('[5000, "published"]', "a list of different such numbers, got [5000, 'published']"),
        ("[5000, 2e4]", "a list of different such numbers, got [5000, 20000.0]"),
        ("[5000, 0]", "got [5000, 0]"),
        ("[5000, true]", "got [5000, true]"),
        ("{ small = 5000 }", "a list of different such numbers, got a table"),
    ],
)
def test_bad_sizes_are_reported_in_one_line(file: Path, sizes: str, message: str) -> None:
    assert message in fault_of(file, f"{TASK}parameters = {sizes}\n")


def test_sizes_are_given_on_the_command_line(file: Path) -> None:
    assert read_text(file, TASK, "tasks.0.parameters=[5000, 20000]").tasks[0].sizes == (5000, 20000)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [(5_000, "5k"), (5_500, "5.5k"), (5_550, "5550"), (999, "999"), (1_200_000, "1.2m"), (20_000_000, "20m")],
)
def test_size_text_is_short(parameters: int, text: str) -> None:
    assert size_text(parameters) == text


@given(st.sets(st.integers(1, 10**9), min_size=2, max_size=2))
def test_different_sizes_have_different_texts(sizes: set[int]) -> None:
    assert len(set(map(size_text, sizes))) == 2
