"""The floors of a study that scores samples of its held-out splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness.api.dataset import Arrays, Dataset, Split, sample
from harness.api.task import DataFile, Task
from harness.plugin.registry import Entry, Registry
from harness.seeds import Seeds, evaluation_seed
from harness.study.floors import floors_of
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.plans import PlanOf, only_cell
from tests.support.toys import ToySum


class Sampled(ToySum):
    """Its baseline answers 0."""

    name: ClassVar[str] = "sampled"

    def sample_floor(self, sample: Dataset, train: Dataset) -> float:
        assert isinstance(sample, Arrays)
        assert isinstance(train, Arrays)
        assert len(train) == self.sequences
        return float(sample.targets.square().mean())


class Absent(Sampled):
    """Its file is not here."""

    name: ClassVar[str] = "absent"

    def files(self) -> tuple[DataFile, ...]:
        return (DataFile(name="absent/file", bytes=1, sha256="00"),)

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        raise AssertionError("its file is missing")


def drawn(task: ToySum, split: Split, limit: int) -> float:
    seeds = Seeds.of(7, 0)
    drawn_sample = sample(task.load(split, seeds, {}), limit, evaluation_seed(seeds, split))
    assert isinstance(drawn_sample, Arrays)
    return float(drawn_sample.targets.square().mean())


def test_floors_are_those_of_the_samples_that_every_trial_scores() -> None:
    task = Sampled()
    floors = floors_of(task, 3, seed=7)
    assert (floors.test, floors.validation) == (drawn(task, "test", 3), drawn(task, "validation", 3))
    assert floors.sampled
    assert floors_of(task, 4, seed=7) != floors


@pytest.mark.parametrize(("task", "limit"), [(Sampled(), None), (ToySum(), 3), (Absent(), 3)])
def test_floors_are_of_the_whole_splits_without_a_limit_a_rule_or_data(task: ToySum, limit: int | None) -> None:
    floors = floors_of(task, limit, seed=7)
    assert (floors.test, floors.validation, floors.sampled) == (1 / 18, 1 / 18, False)


def test_facts_of_a_cell_have_them(toy_registry: Registry, toy_study: MakeStudy, plan_of: PlanOf) -> None:
    entry: Entry[type[Task]] = Entry(Sampled.name, Sampled, toy_registry.plugins[0], "here")
    tasks: dict[str, Entry[type[Task]]] = {**toy_registry.tasks, Sampled.name: entry}
    registry = replace(toy_registry, tasks=tasks)
    training = {"updates": 8, "evaluation_limit": 3}
    study = toy_study(tasks=[{"name": "sampled", "parameters": 161}], training=training, search={"seed": 7})
    facts = only_cell(make_plan(study, registry)).facts
    assert (facts.floor, facts.sampled_floors) == (drawn(Sampled(), "test", 3), True)
    assert not only_cell(plan_of(training=training)).facts.sampled_floors
