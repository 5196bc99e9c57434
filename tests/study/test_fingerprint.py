"""What changes the fingerprint of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from optuna.samplers import TPESampler

from harness.api.model import Published
from harness.api.sampler import Draw, SamplerFactory
from harness.plugin.registry import Entry, Registry
from harness.records import Optimisation, Plugin
from harness.study.plan import Plan, make_plan
from tests.conftest import MakeStudy
from tests.support.plans import PlanOf, only_cell, with_model
from tests.support.toys import ToyEma


def _changed(before: Plan, after: Plan) -> set[str]:
    first, second = only_cell(before).facts.fingerprint, only_cell(after).facts.fingerprint
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"tasks": [{"name": "toy-sum", "parameters": 161, "sequences": 32, "as": "toy-sum"}]}, {"task options"}),
        ({"tasks": [{"name": "toy-sum", "parameters": 200}]}, {"parameters"}),
        ({"models": [{"name": "toy-stack", "as": "toy-ema"}]}, {"model", "space"}),
        ({"models": [{"name": "toy-ema", "as": "toy-ema", "space": {"bias": True}}]}, {"space"}),
        (
            {"models": [{"name": "toy-ema", "as": "toy-ema", "setting": "published"}]},
            {"setting", "space", "sampler", "tolerance"},
        ),
        ({"search": {"space": {"clip": 1.0}}}, {"space"}),
        ({"search": {"sampler": "tpe"}}, {"sampler"}),
        ({"search": {"seed": 1}}, {"seed"}),
        ({"budget": {"trials": 2, "repetitions": 2, "tolerance": 0.02}}, {"tolerance"}),
        ({"training": {"updates": 9, "batch_size": 8, "evaluations": 2}}, {"training"}),
        ({"training": {"updates": 8, "batch_size": 9, "evaluations": 2}}, {"training"}),
        ({"training": {"updates": 8, "batch_size": 8, "evaluations": 2, "patience": 1}}, {"training"}),
        ({"training": {"updates": 8, "batch_size": 8, "evaluations": 2, "seconds": 9}}, {"training"}),
        ({"training": {"updates": 8, "batch_size": 8, "evaluations": 2, "schedule": {"kind": "step"}}}, {"schedule"}),
    ],
)
def test_fingerprint_changes_with_everything_that_changes_trials(
    plan_of: PlanOf, changes: dict[str, Any], parts: set[str]
) -> None:
    assert _changed(plan_of(), plan_of(**changes)) == parts


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": {"trials": 9, "repetitions": 2}},
        {"budget": {"trials": 2, "repetitions": 9}},
        {"resources": {"cpu": 4, "memory_gib": 1}},
        {"name": "another"},
        {"models": ["toy-ema", "toy-stack"]},
        {"tasks": [{"name": "toy-sum", "length": 6, "parameters": 161}]},
        {"tasks": [{"name": "toy-sum", "parameters": "published"}]},
        {"tasks": [{"name": "toy-sum", "parameters": 161, "training": {"updates": 8}, "resources": {"cpu": 3}}]},
        {"models": [{"name": "toy-ema", "as": "other"}]},
        # 64 sequences in batches of 8: one epoch is 8 updates.
        {"training": {"epochs": 1, "batch_size": 8, "evaluations": 2}},
    ],
    ids=str,
)
def test_fingerprint_does_not_change_with_anything_else(plan_of: PlanOf, changes: dict[str, Any]) -> None:
    before, after = plan_of().cells[0], plan_of(**changes).cells[0]
    assert after.facts.fingerprint == before.facts.fingerprint


def test_fingerprint_changes_with_a_plugins_version(toy_registry: Registry, toy_study: MakeStudy) -> None:
    newer = Plugin(name="toys", version="9")
    models = {name: replace(entry, plugin=newer) for name, entry in toy_registry.models.items()}
    before = make_plan(toy_study(), toy_registry)
    assert _changed(before, make_plan(toy_study(), replace(toy_registry, models=models))) == {"plugins"}


PUBLISHED = Published(
    source="here",
    widths=(9,),
    params={"bias": True},
    optimisation=Optimisation(learning_rate=0.1),
    batch_size=4,
    epochs=1,
    assumed=frozenset({"clip", "epochs", "batch_size", "learning_rate"}),
)


class _Republished(ToyEma):
    def __init__(self, setting: Published) -> None:
        self.setting = setting

    def published(self, row: str) -> Published | None:
        return self.setting


@pytest.mark.parametrize(
    ("change", "altered"),
    [
        ({"widths": (8,)}, True),
        ({"params": {"bias": False}}, True),
        ({"optimisation": Optimisation(learning_rate=0.2)}, True),
        ({"batch_size": 5}, True),
        ({"epochs": 2}, True),
        ({"embedding": 3}, True),
        ({"assumed": frozenset({"clip"})}, False),
        ({"source": "there"}, False),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, Mapping) else "",
)
def test_fingerprint_of_a_published_setting(
    toy_registry: Registry, toy_study: MakeStudy, change: dict[str, Any], altered: bool
) -> None:
    study = toy_study(protocol="paper", training={})
    before = make_plan(study, with_model(toy_registry, _Republished(PUBLISHED)))
    after = make_plan(study, with_model(toy_registry, _Republished(replace(PUBLISHED, **change))))
    assert ("setting" in _changed(before, after)) == altered
    assert bool(_changed(before, after)) == altered


def test_search_settings_do_not_change_a_published_cell(plan_of: PlanOf) -> None:
    budget = {"trials": 5, "repetitions": 2, "tolerance": 0.05}
    before = plan_of(protocol="paper")
    after = plan_of(protocol="paper", budget=budget, search={"sampler": "tpe", "space": {"optimizer": ["adam"]}})
    assert _changed(before, after) == set()


def test_stack_changes_no_fingerprint(plan_of: PlanOf) -> None:
    alone, stacked = (plan_of(resources=given).cells[0] for given in ({}, {"stack": 4, "graphs": True}))
    assert alone.facts.fingerprint == stacked.facts.fingerprint


def test_precision_is_part_of_a_trial_and_of_its_cell(plan_of: PlanOf) -> None:
    plain, reduced = (plan_of(training={"updates": 8, **given}).cells[0] for given in ({}, {"precision": "bfloat16"}))
    assert (plain.training.precision, reduced.training.precision) == ("float32", "bfloat16")
    assert plain.facts.fingerprint["training"] != reduced.facts.fingerprint["training"]


def test_fingerprint_of_a_sampler_from_a_partial_has_its_function_and_its_arguments(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    def planned(factory: SamplerFactory) -> Plan:
        entry = Entry("mine", factory, Plugin(name="toys", version="1"), "here")
        samplers = {**toy_registry.samplers, "mine": entry}
        return make_plan(toy_study(search={"sampler": "mine"}), replace(toy_registry, samplers=samplers))

    five, six = (planned(partial(_startup, count=count)) for count in (5, 6))
    assert _changed(five, six) == {"sampler"}
    assert _changed(five, planned(partial(_startup, count=5))) == set()
    # A bound method has the source of its function, which is in this file too.
    assert _changed(planned(_Kept().make), planned(_default)) == set()


def _startup(draw: Draw, *, count: int) -> TPESampler:
    return TPESampler(seed=draw.seed, n_startup_trials=count)


def _default(draw: Draw) -> TPESampler:
    return TPESampler(seed=draw.seed)


class _Kept:
    def make(self, draw: Draw) -> TPESampler:
        return TPESampler(seed=draw.seed)
