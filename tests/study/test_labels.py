"""Labels of tasks and models."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import StudyError
from tests.support.plans import PlanOf, only_cell


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
def test_task_label_is_the_name_and_the_options_that_differ(plan_of: PlanOf, task: dict[str, Any], label: str) -> None:
    assert only_cell(plan_of(tasks=[{"name": "toy-sum", "parameters": 161, **task}])).cell.task == label


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
def test_model_label_is_the_name_and_the_fixed_values(plan_of: PlanOf, model: dict[str, Any], label: str) -> None:
    assert only_cell(plan_of(models=[model])).cell.model == label


def test_label_of_a_value_with_other_characters_is_valid(plan_of: PlanOf) -> None:
    cell = only_cell(plan_of(models=[{"name": "toy-ema", "space": {"fault": ["Né/../x_Y", "a b"]}}])).cell
    assert cell.model == "toy-ema-fault-n-..-x-y-a-b"


def test_label_that_is_too_long_is_refused(plan_of: PlanOf) -> None:
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
