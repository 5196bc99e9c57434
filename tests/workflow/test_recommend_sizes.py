"""`harness.recommend` and `harness recommend` at several sizes: a race per size, resumed, and one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.cli.actions import study_input
from harness.errors import StudyError
from harness.ledger.journal import TrialEntry, read_study
from harness.plugin.loader import Loaded
from harness.recommendation import predictor
from harness.workflow import recommend
from harness.workflow.question import Question
from tests.support.command import run_command

OPTIONS = {"updates": 200, "batch_size": 8, "evaluations": 2, "budget.tolerance": 0.2}
STUDIES = ["recommend-toy-sum-161", "recommend-toy-sum-300"]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, toy_loaded: Loaded) -> Iterator[Path]:
    """The current folder of all tests here, in which `load_plugins` finds the toys."""
    here = tmp_path_factory.mktemp("sizes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for module in (recommend, predictor, study_input):
            patch.setattr(module, "load_plugins", lambda: toy_loaded)
        yield here


def asked(budget: Any = (300, 161), **changes: Any) -> harness.RecommendationBySize:
    given: dict[str, Any] = {"models": ["toy-ema", "toy-stack"], "trials": 1, "repetitions": 2, "options": OPTIONS}
    fixed: dict[str, Any] = {"executor": "serial", "progress": False, "log_models": False}
    found = harness.recommend(task="toy-sum", budget=budget, **{**given, **fixed, **changes})
    assert isinstance(found, harness.RecommendationBySize)
    return found


@pytest.fixture(scope="module")
def found(folder: Path) -> harness.RecommendationBySize:
    return asked()


def entries(found: harness.RecommendationBySize) -> dict[int, tuple[TrialEntry, ...]]:
    return {size: read_study(each.folder).entries() for size, each in found.by_size.items()}


def test_each_size_has_a_race_of_its_own_and_the_same_call_resumes_them_all(
    found: harness.RecommendationBySize,
) -> None:
    assert [each.folder.name for each in found.by_size.values()] == STUDIES
    before = entries(found)
    assert {size: of_size[0].trial.parameters // 100 for size, of_size in before.items()} == {161: 1, 300: 3}
    assert asked().answer == found.answer
    assert entries(found) == before


def test_numbers_of_numpy_ask_the_same(found: harness.RecommendationBySize) -> None:
    before = entries(found)
    tables = {"budget": {"tolerance": np.float64(0.2)}}
    options = {**{key: np.int64(value) for key, value in OPTIONS.items() if "." not in key}, **tables}
    again = asked(np.array([300, 161]), options=options, trials=np.int64(1), repetitions=np.int64(2))
    assert again.answer == found.answer
    assert entries(again) == before


def test_repetitions_of_different_sizes_share_their_seeds(found: harness.RecommendationBySize) -> None:
    finals = [[entry.trial for entry in of_size if entry.trial.phase == "final"] for of_size in entries(found).values()]
    by_repetition = [{(trial.model, trial.repetition): trial.seeds for trial in of_size} for of_size in finals]
    assert by_repetition[0] == by_repetition[1]


def test_answer_table_and_page_have_every_size(found: harness.RecommendationBySize) -> None:
    assert found.table["budget"].tolist() == [161, 300]
    assert found.table["study"].tolist() == STUDIES
    assert found.answer.count("\n") == 2
    assert found.smallest in (None, *found.by_size.values())


def test_folder_of_each_size_predicts(found: harness.RecommendationBySize) -> None:
    for each in found.by_size.values():
        assert each.verdict != "nothing-learned"
        assert each.winner.network is not None


def test_command_prints_the_same_answer(
    found: harness.RecommendationBySize, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recommend", "toy-sum", "--budget", "161, 300", "--models", "toy-ema,toy-stack", "--serial", "-q"]
    command += ["--trials", "1", "--repetitions", "2", "--no-log-models"]
    command += [f"{key}={value}" for key, value in OPTIONS.items()]
    assert run_command(monkeypatch, *command) == 0
    assert capsys.readouterr().out.strip() == found.page().strip()
    assert run_command(monkeypatch, *command, "--json") == 0
    assert json.loads(capsys.readouterr().out) == found.content.model_dump(mode="json")


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ([161, 161], "--budget '161, 161': has 161 twice; give each size once"),
        ([161, "many"], "--budget ' many': not a number of parameters; give one, such as 50k"),
        ([], "--budget '': not a number of parameters"),
        ([161, 0], "not a number of parameters"),
        ("5k,20k", "--budget '5k,20k': not a number of parameters"),
    ],
)
def test_bad_sizes_are_refused_before_anything_is_trained(budget: Any, message: str) -> None:
    with pytest.raises(StudyError, match=r"^[^\n]+$") as caught:
        asked(budget, storage="untouched")
    assert message in str(caught.value)
    assert not Path("untouched").exists()


def test_name_that_is_too_long_with_its_size_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(StudyError, match=r"^study name 'b{99}-161' is longer than 100 characters; .*--name$"):
        asked(name="b" * 99, storage="untouched")
    assert not Path("untouched").exists()


def test_sizes_share_the_time_equally(toy_loaded: Loaded) -> None:
    question = Question(
        task="toy-sum", assignments=(), data=None, target=None, models=("toy-ema",), name="mine", trials=None,
        repetitions=6, minutes=30, confidence=0.95,
    )  # fmt: skip
    requests = [each.request(toy_loaded.registry) for each in question.at_sizes((161, 300))]
    assert [request.seconds for request in requests] == [900, 900]
    assert [request.study.name for request in requests] == ["mine-161", "mine-300"]
    (only,) = (each.request(toy_loaded.registry) for each in question.at_sizes((161,)))
    assert (only.seconds, only.study.name) == (1800, "mine")
