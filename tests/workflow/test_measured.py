"""The measured time of a plan: what is counted, what is trained, and what is said of cells that cannot be."""

from __future__ import annotations

import time
from typing import Any

import pytest
from torch import Tensor, nn

from harness.api.dataset import Dataset, Split
from harness.plugin.registry import Registry
from harness.recommendation.time_budget import TEST_EVALUATIONS, Throughput
from harness.study.plan import make_plan
from harness.workflow.measured import measure_plan, trials_seconds
from harness.workflow.planned import plan_frame, search_updates
from tests.conftest import MakeStudy
from tests.support.plans import only_cell, with_model
from tests.support.toys import ToyEma, ToySum

PACE = Throughput(update_seconds=0.5, evaluation_seconds=3.0, start_seconds=7.0)


def test_time_of_a_cell_is_that_of_its_trainings(toy_registry: Registry, toy_study: MakeStudy) -> None:
    """Four trainings of eight updates and two evaluations; the two final ones score test as well."""
    cell = only_cell(make_plan(toy_study(), toy_registry))
    trainings = cell.facts.trials + cell.facts.repetitions
    assert trainings == 4
    tests = cell.facts.repetitions * TEST_EVALUATIONS * 3.0
    assert trials_seconds(cell, PACE) == pytest.approx(4 * (7.0 + 8 * 0.5 + 2 * 3.0) + tests)
    assert trials_seconds(cell, PACE) == pytest.approx(4 * PACE.training(8, 2) + tests)


def test_updates_that_successive_halving_saves_take_no_time(toy_registry: Registry, toy_study: MakeStudy) -> None:
    pruning = {"kind": "successive-halving", "reduction": 2, "minimum_updates": 4}
    training = {"updates": 16, "batch_size": 8, "evaluations": 4}
    budget = {"trials": 8, "repetitions": 2}
    study = toy_study(budget=budget, training=training, search={"pruning": pruning})
    cell = only_cell(make_plan(study, toy_registry))
    assert search_updates(cell) < cell.facts.trials * 16
    assert trials_seconds(cell, Throughput(update_seconds=1.0, evaluation_seconds=0.0, start_seconds=0.0)) == (
        search_updates(cell) + 2 * 16
    )


def test_limited_training_time_bounds_the_estimate(toy_registry: Registry, toy_study: MakeStudy) -> None:
    training = {"updates": 1000, "batch_size": 8, "evaluations": 2, "seconds": 10}
    cell = only_cell(make_plan(toy_study(training=training), toy_registry))
    tests = 2 * TEST_EVALUATIONS * 3.0
    assert trials_seconds(cell, PACE) == pytest.approx(4 * (7.0 + 10 + 3.0) + tests)


class Sleeping(ToyEma):
    """A training pass takes 20 ms."""

    name = "toy-sleeping"

    def build(self, *args: Any, **params: Any) -> nn.Module:
        network = super().build(*args, **params)
        network.register_forward_pre_hook(sleep)
        return network


def sleep(module: nn.Module, _: tuple[Tensor, ...]) -> None:
    if module.training:
        time.sleep(0.02)


def test_slow_model_is_measured_as_slow_as_it_is(toy_registry: Registry, toy_study: MakeStudy) -> None:
    registry = with_model(toy_registry, Sleeping())
    plan = make_plan(toy_study(models=["toy-sleeping"]), registry)
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
