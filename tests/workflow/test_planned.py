"""The frame of a plan: sizes as they are built, cost as it follows from them, reasons of what is left out."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from harness.analysis.sign_test import fewest_pairs
from harness.plugin.registry import Registry
from harness.study.plan import make_plan
from harness.training.network import build_network
from harness.workflow.planned import (
    FLOPS_PER_PARAMETER,
    FLOPS_PER_SECOND,
    RAY_AND_MLFLOW_SECONDS,
    plan_frame,
    planned_trials,
    repetition_notes,
    wall_seconds,
)
from tests.conftest import MakeStudy
from tests.support.toys import ToySum


def test_parameters_of_a_row_are_those_of_the_network_that_is_built(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    plan = make_plan(toy_study(), toy_registry)
    frame = plan_frame(plan)
    for cell, (_, row) in zip(plan.cells, frame.iterrows(), strict=True):
        assert (row["task"], row["model"]) == (cell.cell.task, cell.cell.model)
        (first,) = planned_trials(cell, plan.study, 1)
        widths = tuple(map(int, row["widths"].split()))
        network = build_network(cell.model, cell.signature, widths, cell.space.build_params(first.params))
        count = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        assert row["parameters"] == count
        assert row["deviation_percent"] == pytest.approx(100 * (count / row["budget"] - 1))


def test_estimated_seconds_grow_with_updates_and_with_the_number_of_trials(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    def frame(**overrides: object) -> pd.DataFrame:
        return plan_frame(make_plan(toy_study(**overrides), toy_registry))

    base = frame(training={"updates": 8, "batch_size": 8, "evaluations": 2})
    longer = frame(training={"updates": 80, "batch_size": 8, "evaluations": 2})
    assert (longer["seconds"] / base["seconds"]).tolist() == pytest.approx([10.0] * len(base))
    assert (longer["epochs"] / base["epochs"]).tolist() == pytest.approx([10.0] * len(base))
    row = base.iloc[0]
    length = make_plan(toy_study(), toy_registry).cells[0].signature.length
    operations = FLOPS_PER_PARAMETER * row["parameters"] * 8 * 8 * length  # the toys have no embedding
    assert row["seconds"] == pytest.approx(operations * (row["trials"] + row["repetitions"]) / FLOPS_PER_SECOND)


def test_too_few_repetitions_to_decide_are_said_once_for_all_tasks(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    """The fewest for two models."""

    def said(repetitions: int, **overrides: object) -> list[str]:
        study = toy_study(budget={"trials": 1, "repetitions": repetitions, "tolerance": 0.1}, **overrides)
        return repetition_notes(make_plan(study, toy_registry))

    fewest = fewest_pairs(2, equivalence=ToySum().metrics()[0].margin > 0)
    note = (
        f"budget.repetitions = {fewest - 1} decides no comparison of 2 models; one that wins every pair is decided "
        f"after {fewest}"
    )
    both = ["toy-ema", "toy-stack"]
    tasks = [{"name": "toy-sum", "parameters": 161, "as": name} for name in ("one", "two")]
    assert said(fewest - 1, tasks=tasks, models=both) == [note]
    assert said(fewest, tasks=tasks, models=both) == []
    assert said(1, models=["toy-ema"]) == []


def test_a_plan_starts_without_the_libraries_that_it_does_not_need() -> None:
    script = (
        "import sys, harness.cli.actions.plan;"
        "print(*sorted({'mlflow', 'ray', 'scipy.stats', 'matplotlib'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == ""


def test_wall_time_shares_the_training_among_the_cores_and_adds_the_start(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    plan = make_plan(toy_study(), toy_registry)  # four trials of one core each
    two_cores_each = make_plan(toy_study(resources={"cpu": 2}), toy_registry)
    assert wall_seconds(plan, 0.0, 8) == RAY_AND_MLFLOW_SECONDS
    assert wall_seconds(plan, 120.0, 1) == 120 + RAY_AND_MLFLOW_SECONDS
    assert wall_seconds(plan, 120.0, 2) == 60 + RAY_AND_MLFLOW_SECONDS
    assert wall_seconds(plan, 120.0, 64) == 30 + RAY_AND_MLFLOW_SECONDS  # no more workers than trials
    halves = make_plan(toy_study(resources={"cpu": 0.5}), toy_registry)
    assert wall_seconds(halves, 120.0, 2) == 60 + RAY_AND_MLFLOW_SECONDS  # four at once, on two cores
    assert wall_seconds(two_cores_each, 120.0, 4) == 60 + RAY_AND_MLFLOW_SECONDS
    assert wall_seconds(two_cores_each, 120.0, 1) == 120 + RAY_AND_MLFLOW_SECONDS
