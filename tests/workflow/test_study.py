"""A study stated in Python: the same as its file, and clear about what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from harness.errors import StudyError
from tests.support.toys import ToyEma, ToySum

BUDGET = {"trials": 2, "repetitions": 2}
FRAME = pd.DataFrame({"a": [1, 2]})


def test_study_and_its_toml_are_equal_both_ways(tmp_path: Path) -> None:
    study = harness.Study(
        "mine",
        models=["tcn", {"name": "gru", "as": "small-gru", "space": {"layers": [1, 2]}}],
        tasks=["copy", {"name": "adding", "length": 200, "parameters": 5000, "training": {"updates": 10}}],
        budget=BUDGET,
        search={"sampler": "tpe", "space": {"clip": None}},
    )
    text = study.to_toml(tmp_path / "study.toml")
    assert (tmp_path / "study.toml").read_text() == text
    again = harness.Study.from_toml(tmp_path / "study.toml")
    assert again == study
    assert again.to_toml() == text
    assert harness.Study.from_toml(tmp_path / "study.toml", ["budget.trials=3"]) != study
    with pytest.raises(StudyError, match=r"'overrides' must be a list, got 'budget\.trials=3'; write \['budget"):
        harness.Study.from_toml(tmp_path / "study.toml", "budget.trials=3")


def test_instance_of_a_task_gives_its_options() -> None:
    study = harness.Study("mine", models=["tcn"], tasks=[ToySum(length=9)], budget=BUDGET)
    assert study.definition.tasks[0].options == {"length": 9}
    assert study.local.tasks == (ToySum,)


def test_classes_and_instances_of_models_are_taken_by_their_name() -> None:
    by_class = harness.Study("mine", models=[ToyEma], tasks=[ToySum])
    table = harness.Study("mine", models=[{"name": ToyEma(), "as": "other"}], tasks=[{"name": ToySum, "length": 9}])
    assert by_class.definition.models[0].name == "toy-ema"
    assert (table.definition.models[0].label, table.definition.tasks[0].options) == ("other", {"length": 9})
    assert "toy-ema on toy-sum" in repr(by_class)


def test_one_object_can_be_several_entries_of_a_study() -> None:
    model = ToyEma()
    study = harness.Study("mine", [model, {"name": model, "as": "other"}], [ToySum, {"name": ToySum, "length": 9}])
    assert study.local.models == (model,)
    assert study.local.tasks == (ToySum,)


class OtherEma(ToyEma):
    """Another class with the name of its base."""


class OtherSum(ToySum):
    """Another class with the name of its base."""


@pytest.mark.parametrize(
    ("models", "tasks", "name"),
    [
        ([{"name": ToyEma(), "as": "three"}, {"name": ToyEma(), "as": "seven"}], [ToySum], "toy-ema"),
        ([ToyEma, {"name": OtherEma, "as": "other"}], [ToySum], "toy-ema"),
        ([ToyEma], [ToySum, {"name": OtherSum, "as": "other"}], "toy-sum"),
    ],
)
def test_two_objects_of_one_name_are_refused(models: list[Any], tasks: list[Any], name: str) -> None:
    with pytest.raises(StudyError, match=rf"Study\('mine'\): '{name}' is the name of two different objects.*give each"):
        harness.Study("mine", models, tasks)


def test_class_that_cannot_be_made_is_named() -> None:
    class Sized(ToyEma):
        def __init__(self, size: int) -> None:
            self.size = size

    with pytest.raises(StudyError, match=r"Sized\(\) raised TypeError: .*'size'.*; give an instance"):
        harness.Study("mine", [Sized], [ToySum])


def test_values_of_numpy_and_paths_are_those_of_python(tmp_path: Path) -> None:
    given = harness.Study(
        "mine",
        [
            {
                "name": "tcn",
                "space": {"kernel_size": np.array([3, 5]), "dropout": np.float64(0.5), "bias": np.bool_(True)},
            }
        ],
        [{"name": "arrays", "data": Path("x.csv"), "parameters": np.int64(500), "training": {"updates": np.int32(7)}}],
        budget={"trials": np.int64(3)},
        training={"seconds": np.float32(0.5)},
    )
    expected = harness.Study(
        "mine",
        [{"name": "tcn", "space": {"kernel_size": [3, 5], "dropout": 0.5, "bias": True}}],
        [{"name": "arrays", "data": "x.csv", "parameters": 500, "training": {"updates": 7}}],
        budget={"trials": 3},
        training={"seconds": 0.5},
    )
    assert given == expected
    given.to_toml(tmp_path / "study.toml")
    assert harness.Study.from_toml(tmp_path / "study.toml") == expected


def test_section_that_is_none_has_its_defaults() -> None:
    assert harness.Study("mine", ["tcn"], ["copy"], training=None) == harness.Study("mine", ["tcn"], ["copy"])


def test_local_classes_have_no_file() -> None:
    with pytest.raises(StudyError, match=r"no file can name \(ToyEma, ToySum\); register them as a plugin"):
        harness.Study("mine", models=[ToyEma], tasks=[ToySum]).to_toml()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": [3]}, "3 is no model; give a name, a table, or a subclass of harness.Model"),
        ({"tasks": [ToyEma]}, "is no task; give a name, a table, or a subclass of harness.Task"),
        ({"budget": {"trails": 3}}, "Study('mine'): unknown key 'budget.trails'; did you mean 'trials'?"),
        ({"budgets": {}}, "unknown key 'budgets'; did you mean 'budget'?"),
        ({"name": "Mine!"}, "'name' is 'Mine!'; a label has only"),
        ({"models": []}, "models"),
        ({"models": "tcn"}, "Study('mine'): 'models' must be a list, got 'tcn'; write ['tcn']"),
        ({"tasks": {"name": "adding", "length": 9}}, "Study('mine'): 'tasks' must be a list, got a table"),
        ({"tasks": ToySum(length=9)}, "Study('mine'): 'tasks' must be a list, got "),
        ({"models": None}, "Study('mine'): 'models' must be a list, got None"),
        ({"models": [{"as": "other"}]}, "'models.0.name' is missing"),
        ({"tasks": [{"length": 9}]}, "'tasks.0.name' is missing"),
        ({"budget": 5}, "Study('mine'): 'budget' must be a table, got 5"),
        ({"budget": {"trials": {3}}}, "Study('mine'): 'budget.trials' is of type set; give a number"),
        ({"tasks": [{"name": "copy", 5: 1}]}, "'tasks.0.5' ends in a key that is no string"),
        ({"tasks": [{"name": "arrays", "data": FRAME}]}, "'tasks.0.data' is of type DataFrame; give a number"),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"name": "mine", "models": ["tcn"], "tasks": ["copy"], **arguments}
    with pytest.raises(StudyError) as caught:
        harness.Study(**given)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plan_has_a_row_per_cell_with_numbers_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-tasks,seqharness-modern")
    study = harness.Study(
        "mine",
        models=[ToyEma],
        tasks=[{"name": ToySum, "parameters": 161}],
        budget={**BUDGET, "tolerance": 0.1},
        training={"updates": 5, "batch_size": 8},
    )
    frame = study.plan()
    line = frame.iloc[0]
    assert (line["task"], line["model"], line["budget"], line["trials"], line["updates"]) == (
        "toy-sum", "toy-ema", 161, 2, 5,
    )  # fmt: skip
    assert abs(line["deviation_percent"]) < 10
    assert "object" not in set(frame.dtypes.astype(str))
