"""The measured time of a plan: what is counted, what is trained, and what is said of cells that cannot be."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness.api.dataset import Dataset, Split
from harness.execution.trial import ActiveTrial, Worker, WorkerUnusableError
from harness.plugin.registry import Registry
from harness.recommendation import pilot
from harness.recommendation.time_budget import TEST_EVALUATIONS, Throughput
from harness.records import Trial
from harness.study.cell_plan import CellPlan
from harness.study.plan import make_plan
from harness.training.random_state import seed_everything
from harness.workflow.measured import Measured, measure_plan, trials_seconds
from harness.workflow.planned import plan_frame, search_updates
from tests.conftest import MakeStudy
from tests.support.plans import HookedModel, only_cell, with_model
from tests.support.toys import ToyEma, ToySum

PACE = Throughput(update_seconds=0.5, evaluation_seconds=3.0, start_seconds=7.0)
BUDGET = {"trials": 3, "repetitions": 5}


def test_time_of_a_cell_is_that_of_its_trainings(toy_registry: Registry, toy_study: MakeStudy) -> None:
    """Eight trainings of eight updates and two evaluations; the five final ones load data and score test as well."""
    cell = only_cell(make_plan(toy_study(budget=BUDGET), toy_registry))
    tests = 5 * TEST_EVALUATIONS * 3.0
    assert trials_seconds(cell, PACE) == pytest.approx((1 + 5) * 7.0 + 8 * (8 * 0.5 + 2 * 3.0) + tests)


def test_published_setting_has_no_search(toy_registry: Registry, toy_study: MakeStudy) -> None:
    study = toy_study(protocol="paper", training={}, budget={"repetitions": 5})
    cell = only_cell(make_plan(study, toy_registry))
    evaluations = math.ceil(cell.training.updates / cell.training.evaluate_every)
    one = 7.0 + cell.training.updates * 0.5 + (evaluations + TEST_EVALUATIONS) * 3.0
    assert trials_seconds(cell, PACE) == pytest.approx(5 * one)


def test_updates_that_successive_halving_saves_take_no_time(toy_registry: Registry, toy_study: MakeStudy) -> None:
    pruning = {"kind": "successive-halving", "reduction": 2, "minimum_updates": 4}
    training = {"updates": 16, "batch_size": 8, "evaluations": 4}
    study = toy_study(budget={"trials": 8, "repetitions": 5}, training=training, search={"pruning": pruning})
    cell = only_cell(make_plan(study, toy_registry))
    saved = cell.facts.trials * 16 - search_updates(cell)
    assert saved > 0
    per_update = 0.5 + 3.0 / 4  # every rung ends with an evaluation, and there is one every four updates
    full = (1 + 5) * 7.0 + (cell.facts.trials + 5) * 16 * per_update + 5 * TEST_EVALUATIONS * 3.0
    assert trials_seconds(cell, PACE) == pytest.approx(full - saved * per_update)


def test_limited_training_time_bounds_the_estimate(toy_registry: Registry, toy_study: MakeStudy) -> None:
    training = {"updates": 1000, "batch_size": 8, "evaluations": 2, "seconds": 10}
    cell = only_cell(make_plan(toy_study(budget=BUDGET, training=training), toy_registry))
    tests = 5 * TEST_EVALUATIONS * 3.0
    assert trials_seconds(cell, PACE) == pytest.approx((1 + 5) * 7.0 + 8 * (10 + 3.0) + tests)


def sleep() -> None:
    time.sleep(0.02)


def refuse() -> None:
    raise ValueError("odd")


def test_slow_model_is_measured_as_slow_as_it_is(toy_registry: Registry, toy_study: MakeStudy) -> None:
    registry = with_model(toy_registry, HookedModel(sleep))
    plan = make_plan(toy_study(models=["toy-hooked"]), registry)
    (seconds,) = measure_plan(plan, registry).seconds.values()
    assert 4 * 8 * 0.02 <= seconds < 60
    assert plan_frame(plan, measure_plan(plan, registry).seconds)["seconds"].item() >= 4 * 8 * 0.02
    assert plan_frame(plan)["seconds"].item() < 0.01  # the parameters do not show it


def test_cell_that_fails_has_a_reason_and_keeps_its_estimate(toy_registry: Registry, toy_study: MakeStudy) -> None:
    broken = {"name": "toy-ema", "as": "broken", "space": {"fault": "raise"}}
    plan = make_plan(toy_study(models=["toy-ema", broken]), toy_registry)
    begun: list[str] = []
    measured = measure_plan(plan, toy_registry, lambda cell: begun.append(cell.model))
    assert begun == ["toy-ema", "broken"]
    assert {cell.model: reason for cell, reason in measured.failed.items()}.keys() == {"broken"}
    assert "told to raise" in next(iter(measured.failed.values()))
    by_model = plan_frame(plan, measured.seconds).set_index("model")["seconds"]
    assert by_model["broken"] == plan_frame(plan).set_index("model")["seconds"]["broken"]
    assert by_model["toy-ema"] > by_model["broken"]


def test_what_the_first_training_loads_is_charged_to_no_cell(
    toy_registry: Registry, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first training of the process is short, and none of those that are measured."""
    trained: list[tuple[str, int]] = []
    start = Worker.start

    def seen(self: Worker, trial: Trial, attempt: int) -> ActiveTrial:
        trained.append((trial.cell.model, trial.training.updates))
        return start(self, trial, attempt)

    monkeypatch.setattr(Worker, "start", seen)
    same = [{"name": "toy-ema", "as": label} for label in ("first", "second")]
    measure_plan(make_plan(toy_study(models=same), toy_registry), toy_registry)
    assert trained[0] == ("first", 2)
    assert trained[1:] == [(label, pilot.UPDATES) for label in ("first", "second") for _ in range(pilot.DRAWS)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cell_without_its_gpu_is_not_measured(toy_registry: Registry, toy_study: MakeStudy) -> None:
    plan = make_plan(toy_study(resources={"gpu": 1}), toy_registry)
    measured = measure_plan(plan, toy_registry)
    assert measured.seconds == {}
    (reason,) = measured.failed.values()
    assert reason.startswith("toy-sum/toy-ema: the study asks for a GPU")


def test_cell_that_makes_its_process_unusable_leaves_the_others_measured(
    toy_registry: Registry, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable_for_one(cell: CellPlan, *given: Any) -> Throughput | str:
        if cell.cell.model == "lost":
            raise WorkerUnusableError("threads between operations cannot be restored")
        return pilot.cell_throughput(cell, *given)

    monkeypatch.setattr("harness.workflow.measured.cell_throughput", unusable_for_one)
    plan = make_plan(toy_study(models=[{"name": "toy-ema", "as": label} for label in ("lost", "kept")]), toy_registry)
    measured = measure_plan(plan, toy_registry)
    assert [cell.model for cell in measured.seconds] == ["kept"]
    assert list(measured.failed.values()) == ["toy-sum/lost: threads between operations cannot be restored"]


def test_cell_without_data_is_not_measured(
    toy_registry: Registry, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(toy_study(), toy_registry)
    monkeypatch.setattr(type(plan), "missing", lambda self: {self.cells[0].cell: "no such file"})
    assert measure_plan(plan, toy_registry) == Measured()
    assert not plan_frame(plan, {})["measured"].item()


def test_process_of_the_caller_stays_as_it_is(toy_registry: Registry, toy_study: MakeStudy) -> None:
    """A notebook that seeds, plans and then trains gets the numbers that it would get without the plan."""

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    plan = make_plan(toy_study(), toy_registry)
    torch.set_num_threads(2)
    try:
        seed_everything(3)
        expected = drawn()
        seed_everything(3)
        assert len(measure_plan(plan, toy_registry).seconds) == 1
        assert drawn() == expected
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_plan_from_python_warns_of_a_cell_that_is_not_measured() -> None:
    study = harness.Study(
        "measured", [ToyEma(), HookedModel(refuse)], [{"name": ToySum, "parameters": 161}],
        budget={"trials": 2, "repetitions": 2}, training={"updates": 8, "batch_size": 8, "evaluations": 2},
    )  # fmt: skip
    with pytest.warns(UserWarning, match=r"not measured: toy-sum/toy-hooked: failed \(ValueError: odd"):
        frame = study.plan(measure=True).set_index("model")
    assert frame["measured"].to_dict() == {"toy-ema": True, "toy-hooked": False}
    assert not study.plan()["measured"].any()


@pytest.mark.parametrize("protocol", ["fair", "paper"])
def test_measuring_leaves_the_test_split_closed(
    protocol: str, toy_registry: Registry, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published setting would be trained by final trials, which score test."""
    loaded: list[Split] = []
    load = ToySum.load

    def seen(self: ToySum, split: Split, *given: Any) -> Dataset:
        loaded.append(split)
        return load(self, split, *given)

    monkeypatch.setattr(ToySum, "load", seen)
    changes = {"protocol": "paper", "training": {}} if protocol == "paper" else {}
    plan = make_plan(toy_study(**changes), toy_registry)
    assert len(measure_plan(plan, toy_registry).seconds) == 1
    assert set(loaded) == {"train", "validation"}
