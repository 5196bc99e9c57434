"""The plan of one cell: facts, training, resources and published settings."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import SpaceError, StudyError
from harness.plugin.registry import Registry
from harness.records import Resources, Schedule, Training
from harness.study.cell_planning import FAIR_BATCH_SIZE, metric_facts
from tests.support.plans import PlanOf, only_cell
from tests.support.toys import ToySum


def test_facts_name_only_options_that_differ(plan_of: PlanOf) -> None:
    task = {"name": "toy-sum", "length": 6, "sequences": 32}
    assert only_cell(plan_of(tasks=[task])).facts.task.options == {"sequences": 32}


def test_facts_of_a_searched_cell(plan_of: PlanOf, toy_registry: Registry) -> None:
    plan = only_cell(plan_of(budget={"trials": 7, "repetitions": 3}, tasks=[{"name": "toy-sum"}]))
    facts = plan.facts
    assert (facts.trials, facts.repetitions, facts.parameters) == (7, 3, 161)
    assert (facts.floor, facts.published, facts.published_source) == (1 / 18, 0.01, "tests/support/toys.py")
    assert facts.metric == metric_facts(ToySum().metric)
    assert facts.others == tuple(metric_facts(metric) for metric in ToySum().metrics()[1:])
    assert facts.assumed == ()
    assert plan.setting is None
    assert plan.plugins == toy_registry.plugins


def test_facts_say_when_a_size_is_off_the_budget_and_whether_it_is_ranked(plan_of: PlanOf) -> None:
    default = only_cell(plan_of(budget={"trials": 1, "repetitions": 1})).facts
    assert (default.tolerance, default.allow_deviation) == (0.01, False)
    given = only_cell(plan_of(budget={"tolerance": 0.2, "allow_deviation": True})).facts
    assert (given.tolerance, given.allow_deviation) == (0.2, True)


def test_allowing_a_deviation_changes_no_trial(plan_of: PlanOf) -> None:
    cells = [only_cell(plan_of(budget={"allow_deviation": allowed})) for allowed in (False, True)]
    assert cells[0].facts.fingerprint == cells[1].facts.fingerprint


def test_model_without_a_published_result_has_none(plan_of: PlanOf) -> None:
    facts = only_cell(plan_of(models=["toy-stack"])).facts
    assert (facts.published, facts.published_source) == (None, "")


def test_budget_without_a_published_size_must_be_given(plan_of: PlanOf) -> None:
    message = r"no parameter size is published for toy-sum-9; give the task parameters = N"
    with pytest.raises(StudyError, match=message):
        plan_of(tasks=[{"name": "toy-sum", "length": 9}])


def test_resources_of_a_task_replace_the_studys(plan_of: PlanOf) -> None:
    tasks = [{"name": "toy-sum"}, {"name": "toy-sum", "as": "b", "resources": {"gpu": 0.5}}]
    plan = plan_of(tasks=tasks, resources={"cpu": 2})
    assert [cell.resources for cell in plan.cells] == [Resources(cpu=2), Resources(gpu=0.5)]


@pytest.mark.parametrize(
    ("study", "task", "expected"),
    [
        ({"updates": 100}, {}, Training(updates=100, batch_size=FAIR_BATCH_SIZE, evaluate_every=5)),
        ({"updates": 100, "batch_size": 8}, {}, Training(updates=100, batch_size=8, evaluate_every=5)),
        ({"updates": 7, "evaluations": 3}, {}, Training(updates=7, batch_size=16, evaluate_every=3)),
        ({"updates": 7}, {}, Training(updates=7, batch_size=16, evaluate_every=1)),
        # 64 sequences: 4 updates an epoch at 16, 7 at 10.
        ({"epochs": 5}, {}, Training(updates=20, batch_size=16, evaluate_every=1)),
        ({"epochs": 5, "batch_size": 10}, {}, Training(updates=35, batch_size=10, evaluate_every=2)),
        ({"epochs": 0.3}, {}, Training(updates=2, batch_size=16, evaluate_every=1)),
        ({"epochs": 1e-9}, {}, Training(updates=1, batch_size=16, evaluate_every=1)),
        ({"epochs": 1.1, "batch_size": 7}, {}, Training(updates=11, batch_size=7, evaluate_every=1)),
        ({"updates": 100}, {"updates": 40}, Training(updates=40, batch_size=16, evaluate_every=2)),
        ({"updates": 100}, {"epochs": 2}, Training(updates=8, batch_size=16, evaluate_every=1)),
        ({"epochs": 2}, {"updates": 40}, Training(updates=40, batch_size=16, evaluate_every=2)),
        ({"epochs": 2}, {"batch_size": 32}, Training(updates=4, batch_size=32, evaluate_every=1)),
        (
            {"updates": 60, "patience": 3, "minimum_updates": 20, "seconds": 5},
            {"patience": 4},
            Training(updates=60, batch_size=16, evaluate_every=3, patience=4, minimum_updates=20, seconds=5),
        ),
    ],
)
def test_training_section_becomes_updates_and_evaluations(
    plan_of: PlanOf, study: dict[str, Any], task: dict[str, Any], expected: Training
) -> None:
    plan = plan_of(training=study, tasks=[{"name": "toy-sum", "training": task}])
    assert only_cell(plan).training == expected


def test_updates_of_fractional_epochs_are_rounded_up_once(plan_of: PlanOf) -> None:
    """2.2 epochs of 25 updates are 55, although 2.2 · 25 is a little more in binary."""
    assert 2.2 * 25 > 55
    task = {"name": "toy-sum", "parameters": 161, "sequences": 50}
    assert only_cell(plan_of(training={"epochs": 2.2, "batch_size": 2}, tasks=[task])).training.updates == 55


def test_training_without_a_length_is_refused(plan_of: PlanOf) -> None:
    with pytest.raises(StudyError, match="toy-sum/toy-ema: training has no length; give updates or epochs"):
        plan_of(training={"batch_size": 4})


def test_all_models_of_a_task_train_in_the_same_way(plan_of: PlanOf) -> None:
    """The published row too: under `fair` its own batch, epochs and schedule do not count."""
    models = ["toy-ema", "toy-stack", {"name": "toy-ema", "setting": "published"}]
    plan = plan_of(models=models, tasks=[{"name": "toy-sum"}], training={"epochs": 3})
    assert len({cell.training for cell in plan.cells}) == 1
    assert {cell.schedule for cell in plan.cells} == {Schedule()}
    assert plan.cells[0].training.batch_size == FAIR_BATCH_SIZE


def test_paper_protocol_trains_published_settings_unchanged(plan_of: PlanOf) -> None:
    plan = plan_of(protocol="paper", training={}, budget={"repetitions": 3})
    cell = only_cell(plan)
    # 64 sequences in batches of 8 are 8 updates an epoch, 4 epochs; read once an epoch.
    assert cell.training == Training(updates=32, batch_size=8, evaluate_every=8)
    assert cell.schedule == Schedule(kind="cosine")
    assert (cell.facts.trials, cell.facts.repetitions, cell.facts.parameters) == (0, 3, None)
    assert cell.facts.assumed == ("clip",)
    assert cell.published_size().widths == (40,)
    assert cell.published_size().deviation == 0
    assert plan.trials() == 3


def test_study_may_shorten_a_published_training(plan_of: PlanOf) -> None:
    cell = only_cell(
        plan_of(protocol="paper", training={"updates": 10, "evaluations": 5, "schedule": {"kind": "step"}})
    )
    assert cell.training == Training(updates=10, batch_size=8, evaluate_every=2)
    assert cell.schedule == Schedule(kind="step")


def test_published_row_of_a_fair_study_has_solved_widths_and_no_search(plan_of: PlanOf) -> None:
    models = ["toy-ema", {"name": "toy-ema", "setting": "published"}]
    searched, published = plan_of(models=models, tasks=[{"name": "toy-sum", "parameters": 241}]).cells
    assert (searched.setting, searched.facts.trials) == (None, 2)
    assert published.setting is not None
    assert (published.facts.trials, published.facts.parameters) == (0, 241)
    assert published.published_size().widths == (60,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"search": {"space": {"optimizer": "rmsprop"}}},
            r"has optimizer = 'adam', outside the study's space \{rmsprop\}",
        ),
        ({"search": {"space": {"clip": "none"}}}, r"has clip = 1\.0, outside the study's space \{none\}"),
        (
            {"models": [{"name": "toy-ema", "setting": "published", "space": {"bias": False}}]},
            r"has bias = True, outside the study's space \{False\}; widen the space or drop the setting",
        ),
    ],
)
def test_published_setting_outside_the_studys_space_is_refused(
    plan_of: PlanOf, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpaceError, match=rf"study 'toys', toy-sum/toy-ema\S*: the published setting {message}"):
        plan_of(**{"models": [{"name": "toy-ema", "setting": "published"}], **changes})


def test_published_setting_within_a_narrowed_space_is_accepted(plan_of: PlanOf) -> None:
    space = {"space": {"optimizer": "adam", "clip": [1.0, "none"]}}
    assert only_cell(plan_of(models=[{"name": "toy-ema", "setting": "published"}], search=space)).setting is not None


def test_second_published_setting_is_selected_by_name(plan_of: PlanOf) -> None:
    plan = plan_of(protocol="paper", models=["toy-ema", {"name": "toy-ema", "setting": "published-second"}])
    assert [cell.cell.model for cell in plan.cells] == ["toy-ema"]
    (left,) = plan.left_out
    assert (str(left.cell), left.reason) == (
        "toy-sum/toy-ema-published-second",
        "no published setting of toy-ema for toy-sum/second",
    )


def test_stack_is_kept_if_the_model_offers_it(plan_of: PlanOf) -> None:
    plan = plan_of(models=["toy-ema", "toy-stack"], resources={"cpu": 2, "stack": 4})
    assert {cell.model.name: cell.resources for cell in plan.cells} == {
        "toy-ema": Resources(cpu=2, stack=4),
        "toy-stack": Resources(cpu=2),
    }


def test_stack_and_a_limit_in_seconds_exclude_each_other(plan_of: PlanOf) -> None:
    with pytest.raises(
        StudyError, match=r"toy-ema: training\.seconds limits the time of a single trial.*drop one of the"
    ):
        plan_of(resources={"stack": 2}, training={"updates": 8, "seconds": 3.0})
