"""A study stated in Python: the same as its file, and clear about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.errors import StudyError
from tests.support.toys import ToyEma, ToySum

BUDGET = {"trials": 2, "repetitions": 2}


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
