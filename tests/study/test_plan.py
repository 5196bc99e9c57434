from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution

from harness.api.model import Model, Published
from harness.errors import BudgetError, PluginError, SpaceError, StudyError, UnknownNameError
from harness.plugin.registry import Entry, Registry
from harness.records import Optimisation, Plugin, Resources, Schedule, Training
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.cell_plan import CellPlan
from harness.study.cell_planning import FAIR_BATCH_SIZE, metric_facts
from harness.study.plan import Plan, make_plan
from tests.conftest import MakeStudy
from tests.support.toys import ToyEma, ToySum

BOTH = {"models": ["toy-ema", "toy-stack"], "tasks": [{"name": "toy-sum"}, {"name": "toy-ragged", "parameters": 200}]}


@pytest.fixture
def plan_of(toy_registry: Registry, toy_study: MakeStudy) -> Callable[..., Plan]:
    """Top-level keys of a study file that replace the toys' → its plan."""
    return lambda **overrides: make_plan(toy_study(**overrides), toy_registry)


PlanOf = Callable[..., Plan]


def _one(plan: Plan) -> CellPlan:
    (cell,) = plan.cells
    return cell


def _with_model(registry: Registry, model: Model) -> Registry:
    entry = Entry(model.name, model, registry.plugins[0], "here")
    return replace(registry, models={**registry.models, model.name: entry})


# Cells and labels


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


@pytest.mark.parametrize(
    ("task", "label"),
    [
        ({}, "toy-sum"),
        ({"length": 6}, "toy-sum"),
        ({"length": 9}, "toy-sum-length-9"),
        ({"sequences": 32, "length": 9}, "toy-sum-length-9-sequences-32"),
        ({"as": "nine", "length": 9}, "nine"),
    ],
)
def test_task_label_is_the_name_and_what_differs(plan_of: PlanOf, task: dict[str, Any], label: str) -> None:
    assert _one(plan_of(tasks=[{"name": "toy-sum", "parameters": 161, **task}])).cell.task == label


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ({"name": "toy-stack"}, "toy-stack"),
        ({"name": "toy-stack", "space": {"layers": 2}}, "toy-stack-layers-2"),
        ({"name": "toy-stack", "space": {"layers": [1, 2], "scale": 0.5}}, "toy-stack-layers-1-2-scale-0.5"),
        ({"name": "toy-ema", "setting": "published"}, "toy-ema-published"),
        ({"name": "toy-ema", "space": {"bias": False}}, "toy-ema-bias-false"),
        ({"name": "toy-stack", "as": "two", "space": {"layers": 2}}, "two"),
    ],
)
def test_model_label_is_the_name_and_what_is_fixed(plan_of: PlanOf, model: dict[str, Any], label: str) -> None:
    assert _one(plan_of(models=[model])).cell.model == label


def test_label_of_a_strange_value_is_still_a_label(plan_of: PlanOf) -> None:
    cell = _one(plan_of(models=[{"name": "toy-ema", "space": {"fault": ["Né/../x_Y", "a b"]}}])).cell
    assert cell.model == "toy-ema-fault-n-..-x-y-a-b"


def test_label_that_grows_too_long_asks_for_another(plan_of: PlanOf) -> None:
    with pytest.raises(StudyError, match=r"^model label 'toy-ema-fault-x+' is longer than 100 characters; give a shor"):
        plan_of(models=[{"name": "toy-ema", "space": {"fault": "x" * 100}}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"models": ["toy-ema", "toy-ema"]},
            "two models of the study are labelled 'toy-ema'; give one another label",
        ),
        ({"models": ["toy-stack", {"name": "toy-ema", "as": "toy-stack"}]}, "two models of the study are labelled"),
        (
            {"tasks": [{"name": "toy-sum"}, {"name": "toy-sum", "length": 6}]},
            r"two tasks of the study are labelled 'toy-sum'; give one another label: as = ",
        ),
        (
            {"models": [{"name": "toy-ema", "space": {"fault": "-1"}}, {"name": "toy-ema", "space": {"fault": "1"}}]},
            "two models of the study are labelled 'toy-ema-fault-1'",
        ),
    ],
)
def test_two_equal_labels_are_refused(plan_of: PlanOf, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        plan_of(**changes)


def test_same_model_under_two_labels_is_two_cells(plan_of: PlanOf) -> None:
    plan = plan_of(models=["toy-stack", {"name": "toy-stack", "as": "flat", "space": {"layers": 1}}])
    assert [cell.cell.model for cell in plan.cells] == ["toy-stack", "flat"]
    assert plan.cells[1].space.architecture["layers"] == CategoricalDistribution([1])
    assert "layers" in plan.cells[0].space.architecture


def test_unknown_names_and_options_are_told(plan_of: PlanOf) -> None:
    with pytest.raises(UnknownNameError, match=r"model 'toy-emma' is not installed; did you mean 'toy-ema'\?"):
        plan_of(models=["toy-emma"])
    with pytest.raises(UnknownNameError, match="task 'toy-summ' is not installed"):
        plan_of(tasks=[{"name": "toy-summ"}])
    with pytest.raises(StudyError, match=r"has no option 'paramters'; did you mean 'parameters'\? Options: length"):
        plan_of(tasks=[{"name": "toy-sum", "paramters": 3}])


def test_facts_name_only_options_that_differ(plan_of: PlanOf) -> None:
    task = {"name": "toy-sum", "length": 6, "sequences": 32}
    assert _one(plan_of(tasks=[task])).facts.task.options == {"sequences": 32}


# What a cell is granted


def test_facts_of_a_searched_cell(plan_of: PlanOf, toy_registry: Registry) -> None:
    plan = _one(plan_of(budget={"trials": 7, "repetitions": 3}, tasks=[{"name": "toy-sum"}]))
    facts = plan.facts
    assert (facts.trials, facts.repetitions, facts.parameters) == (7, 3, 161)
    assert (facts.floor, facts.published, facts.published_source) == (1 / 18, 0.01, "tests/support/toys.py")
    assert facts.metric == metric_facts(ToySum().metric)
    assert facts.others == tuple(metric_facts(one) for one in ToySum().metrics()[1:])
    assert facts.assumed == ()
    assert plan.setting is None
    assert plan.plugins == toy_registry.plugins


def test_model_without_a_published_result_has_none(plan_of: PlanOf) -> None:
    facts = _one(plan_of(models=["toy-stack"])).facts
    assert (facts.published, facts.published_source) == (None, "")


def test_budget_without_a_published_size_must_be_given(plan_of: PlanOf) -> None:
    message = r"no parameter size is published for toy-sum-9; give the task parameters = N"
    with pytest.raises(StudyError, match=message):
        plan_of(tasks=[{"name": "toy-sum", "length": 9}])


def test_resources_of_a_task_replace_the_studys(plan_of: PlanOf) -> None:
    tasks = [{"name": "toy-sum"}, {"name": "toy-sum", "as": "b", "resources": {"gpu": 0.5}}]
    plan = plan_of(tasks=tasks, resources={"cpu": 2})
    assert [cell.resources for cell in plan.cells] == [Resources(cpu=2), Resources(gpu=0.5)]


def test_size_gives_the_models_own_reason(plan_of: PlanOf) -> None:
    plan = _one(plan_of(models=["toy-stack"], tasks=[{"name": "toy-ragged", "parameters": 200}]))
    with pytest.raises(BudgetError, match=r"^1 layers reach 2 steps, but 3 are needed$"):
        plan.size({"layers": 1, "scale": 1.0, "dropout": 0.0})
    assert plan.size({"layers": 2, "scale": 1.0, "dropout": 0.0}).met


# Training


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
def test_training_is_translated(
    plan_of: PlanOf, study: dict[str, Any], task: dict[str, Any], expected: Training
) -> None:
    plan = plan_of(training=study, tasks=[{"name": "toy-sum", "training": task}])
    assert _one(plan).training == expected


def test_epochs_of_updates_are_rounded_up_once(plan_of: PlanOf) -> None:
    """2.2 epochs of 25 updates are 55, although 2.2 · 25 is a little more in binary."""
    assert 2.2 * 25 > 55
    task = {"name": "toy-sum", "parameters": 161, "sequences": 50}
    assert _one(plan_of(training={"epochs": 2.2, "batch_size": 2}, tasks=[task])).training.updates == 55


def test_training_without_a_length_is_refused(plan_of: PlanOf) -> None:
    with pytest.raises(StudyError, match="toy-sum/toy-ema: training has no length; give updates or epochs"):
        plan_of(training={"batch_size": 4})


def test_models_of_a_task_train_alike(plan_of: PlanOf) -> None:
    """The published row too: under `fair` its own batch, epochs and schedule do not count."""
    models = ["toy-ema", "toy-stack", {"name": "toy-ema", "setting": "published"}]
    plan = plan_of(models=models, tasks=[{"name": "toy-sum"}], training={"epochs": 3})
    assert len({cell.training for cell in plan.cells}) == 1
    assert {cell.schedule for cell in plan.cells} == {Schedule()}
    assert plan.cells[0].training.batch_size == FAIR_BATCH_SIZE


# Published settings


def test_paper_protocol_takes_published_settings_as_they_stand(plan_of: PlanOf) -> None:
    plan = plan_of(protocol="paper", training={}, budget={"repetitions": 3})
    cell = _one(plan)
    # 64 sequences in batches of 8 are 8 updates an epoch, 4 epochs; read once an epoch.
    assert cell.training == Training(updates=32, batch_size=8, evaluate_every=8)
    assert cell.schedule == Schedule(kind="cosine")
    assert (cell.facts.trials, cell.facts.repetitions, cell.facts.parameters) == (0, 3, None)
    assert cell.facts.assumed == ("clip",)
    assert cell.published_size().widths == (40,)
    assert cell.published_size().deviation == 0
    assert plan.trials() == 3


def test_paper_protocol_leaves_out_what_was_not_published(plan_of: PlanOf) -> None:
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


def test_study_may_shorten_a_published_training(plan_of: PlanOf) -> None:
    cell = _one(plan_of(protocol="paper", training={"updates": 10, "evaluations": 5, "schedule": {"kind": "step"}}))
    assert cell.training == Training(updates=10, batch_size=8, evaluate_every=2)
    assert cell.schedule == Schedule(kind="step")


def test_published_row_of_a_fair_study_has_solved_widths_and_no_search(plan_of: PlanOf) -> None:
    models = ["toy-ema", {"name": "toy-ema", "setting": "published"}]
    searched, published = plan_of(models=models, tasks=[{"name": "toy-sum", "parameters": 241}]).cells
    assert (searched.setting, searched.facts.trials) == (None, 2)
    assert published.setting is not None
    assert (published.facts.trials, published.facts.parameters) == (0, 241)
    assert published.published_size().widths == (60,)


def test_embedding_dropout_is_of_a_published_setting_as_it_stands_and_not_beside_searched_ones(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    model = _Republished(replace(PUBLISHED, embedding_dropout=0.25))
    registry = _with_model(toy_registry, model)
    paper = make_plan(toy_study(protocol="paper", training={}), registry)
    fair = make_plan(toy_study(models=[{"name": "toy-ema", "setting": "published"}]), registry)
    found = [plan.cells[0].setting for plan in (paper, fair)]
    assert [setting.embedding_dropout if setting else "none" for setting in found] == [0.25, None]
    states = (CellState(Proposer(plan.cells[0], seed=0, sampler="random"), study_id="id") for plan in (paper, fair))
    assert [state.final_trial(0).embedding_dropout for state in states] == [0.25, None]


def test_searched_cell_has_no_published_size(plan_of: PlanOf) -> None:
    with pytest.raises(BudgetError, match="toy-sum/toy-ema: has no published setting"):
        _one(plan_of()).published_size()


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


def test_published_setting_within_a_narrowed_space_is_taken(plan_of: PlanOf) -> None:
    space = {"space": {"optimizer": "adam", "clip": [1.0, "none"]}}
    assert _one(plan_of(models=[{"name": "toy-ema", "setting": "published"}], search=space)).setting is not None


# Fingerprints


def _changed(before: Plan, after: Plan) -> set[str]:
    one, other = _one(before).facts.fingerprint, _one(after).facts.fingerprint
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


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
def test_fingerprint_changes_with_what_alters_trials(plan_of: PlanOf, changes: dict[str, Any], parts: set[str]) -> None:
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
def test_fingerprint_stays_with_what_does_not(plan_of: PlanOf, changes: dict[str, Any]) -> None:
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
        ({"embedding_dropout": 0.1}, True),
        ({"embedding_dropout": None}, False),
        ({"assumed": frozenset({"clip"})}, False),
        ({"source": "there"}, False),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, Mapping) else "",
)
def test_fingerprint_of_a_published_setting(
    toy_registry: Registry, toy_study: MakeStudy, change: dict[str, Any], altered: bool
) -> None:
    study = toy_study(protocol="paper", training={})
    before = make_plan(study, _with_model(toy_registry, _Republished(PUBLISHED)))
    after = make_plan(study, _with_model(toy_registry, _Republished(replace(PUBLISHED, **change))))
    assert ("setting" in _changed(before, after)) == altered
    assert bool(_changed(before, after)) == altered


def test_search_settings_do_not_touch_a_published_cell(plan_of: PlanOf) -> None:
    budget = {"trials": 5, "repetitions": 2, "tolerance": 0.05}
    before = plan_of(protocol="paper")
    after = plan_of(protocol="paper", budget=budget, search={"sampler": "tpe", "space": {"optimizer": ["adam"]}})
    assert _changed(before, after) == set()


def test_second_published_setting_is_asked_for_by_name(plan_of: PlanOf) -> None:
    plan = plan_of(protocol="paper", models=["toy-ema", {"name": "toy-ema", "setting": "published-second"}])
    assert [cell.cell.model for cell in plan.cells] == ["toy-ema"]
    (left,) = plan.left_out
    assert (str(left.cell), left.reason) == (
        "toy-sum/toy-ema-published-second",
        "no published setting of toy-ema for toy-sum/second",
    )


def test_a_stack_is_kept_where_the_model_offers_it(plan_of: PlanOf) -> None:
    plan = plan_of(models=["toy-ema", "toy-stack"], resources={"cpu": 2, "stack": 4})
    assert {cell.model.name: cell.resources for cell in plan.cells} == {
        "toy-ema": Resources(cpu=2, stack=4),
        "toy-stack": Resources(cpu=2),
    }


def test_a_stack_and_a_bound_in_seconds_exclude_each_other(plan_of: PlanOf) -> None:
    with pytest.raises(
        StudyError, match=r"toy-ema: training\.seconds limits the time of a single trial.*drop one of the"
    ):
        plan_of(resources={"stack": 2}, training={"updates": 8, "seconds": 3.0})


def test_precision_is_part_of_a_trial_and_of_its_cell(plan_of: PlanOf) -> None:
    plain, reduced = (plan_of(training={"updates": 8, **given}).cells[0] for given in ({}, {"precision": "bfloat16"}))
    assert (plain.training.precision, reduced.training.precision) == ("float32", "bfloat16")
    assert plain.facts.fingerprint["training"] != reduced.facts.fingerprint["training"]


def test_a_stack_alters_no_cell_and_no_trial(plan_of: PlanOf) -> None:
    alone, stacked = (plan_of(resources=given).cells[0] for given in ({}, {"stack": 4, "graphs": True}))
    assert alone.facts.fingerprint == stacked.facts.fingerprint


# What a plugin raises


class Odd(ToyEma):
    """Raises where it is told to."""

    name = "odd"

    def __init__(self, where: str) -> None:
        self.where = where

    def space(self, signature: Any) -> Any:  # as its parent's, whose types this class does not import
        self._raise_at("space")
        return super().space(signature)

    def unsupported(self, signature: Any, **params: Any) -> str | None:
        self._raise_at("unsupported")
        return None

    def build(self, signature: Any, widths: tuple[int, ...], **params: Any) -> Any:
        self._raise_at("build")
        return super().build(signature, widths, **params)

    def _raise_at(self, where: str) -> None:
        if self.where == where:
            raise KeyError("odd")


def test_model_that_raises_in_its_space_is_one_line_with_its_plugin(
    toy_registry: Registry, toy_study: MakeStudy
) -> None:
    with pytest.raises(PluginError, match=r"^study 'toys', toy-sum/odd: toys unknown raised KeyError: .*; fix it"):
        make_plan(toy_study(models=["odd"]), _with_model(toy_registry, Odd("space")))


@pytest.mark.parametrize("where", ["unsupported", "build"])
def test_configuration_at_which_a_model_raises_cannot_serve(
    toy_registry: Registry, toy_study: MakeStudy, where: str
) -> None:
    """Like any other that cannot, it is drawn anew, with the reason."""
    cell = _one(make_plan(toy_study(models=["odd"]), _with_model(toy_registry, Odd(where))))
    with pytest.raises(BudgetError, match=r"^model 'odd': toys unknown raised KeyError: 'odd' \(test_plan\.py:\d+\)"):
        cell.size({"bias": True})


def test_task_that_raises_while_it_is_planned_is_one_line_with_its_plugin(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToySum, "floor", lambda _: 1 / 0)
    told = r"toys unknown raised ZeroDivisionError: division by zero \(test_plan\.py:\d+\)"
    with pytest.raises(PluginError, match=told):
        plan_of(tasks=[{"name": "toy-sum", "parameters": 161}])
