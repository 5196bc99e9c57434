"""A command that starts over moves the earlier study away only when nothing can refuse it any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import harness
from harness.errors import BudgetError, PluginError
from harness.plugin.loader import Loaded
from harness.recommendation import state
from harness.recommendation.time_budget import Throughput
from harness.workflow import recommend, run
from harness.workflow.study_log import LOG
from tests.support.toys import ToySum

MODELS = ["toy-ema", "toy-stack"]
FAST = Throughput(update_seconds=0.01, evaluation_seconds=0.0, start_seconds=0.0)


@pytest.fixture(scope="module", autouse=True)
def _here(tmp_path_factory: pytest.TempPathFactory, toy_loaded: Loaded) -> Iterator[None]:
    """Work in one folder, in which `load_plugins` finds the toys, with a finished race and a finished study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fresh"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for module in (recommend, run):
            patch.setattr(module, "load_plugins", lambda: toy_loaded)
        race(trials=1, repetitions=2, options={"updates": 8})
        study()
        yield


def race(*, options: dict[str, Any], **changes: Any) -> None:
    small = {"batch_size": 8, "evaluations": 2, "budget.tolerance": 0.2}
    fixed: dict[str, Any] = {"executor": "serial", "progress": False, "log_models": False, "name": "race"}
    harness.recommend(task="toy-sum", budget=161, models=MODELS, options=small | options, **fixed | changes)


def study(**changes: Any) -> None:
    given = harness.Study(
        "study",
        ["toy-ema"],
        [{"name": "toy-sum", "parameters": 161}],
        budget={"trials": 1, "repetitions": 1},
        training={"updates": 8, "batch_size": 8, "evaluations": 2},
    )
    harness.run(given, executor="serial", progress=False, log_models=False, **changes)


def content() -> dict[str, bytes]:
    """Return the files of all studies."""
    return {str(path): path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}


def pilot_measures(monkeypatch: pytest.MonkeyPatch, throughput: Throughput) -> None:
    monkeypatch.setattr(state, "measure", lambda *_: dict.fromkeys(MODELS, throughput))


def test_refused_race_leaves_the_earlier_one_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content()
    pilot_measures(monkeypatch, FAST.model_copy(update={"update_seconds": 10.0}))
    with pytest.raises(BudgetError, match="are too short"):
        race(options={}, minutes=1, resume=False)
    assert content() == before


def test_race_that_ends_with_an_error_before_its_first_round_has_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("no pilot")

    monkeypatch.setattr(state, "measure", fail)
    with pytest.raises(RuntimeError, match="no pilot"):
        race(options={}, minutes=1, name="failing")
    text = Path("runs/failing", LOG).read_text()
    assert "pilot: measuring the throughput" in text
    assert "ERROR the run ended with an error" in text
    assert "RuntimeError: no pilot" in text


def test_refused_run_leaves_the_earlier_study_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ToySum) -> NoReturn:
        raise ValueError("no facts")

    before = content()
    monkeypatch.setattr(ToySum, "prediction_facts", refuse)
    with pytest.raises(PluginError, match="no facts"):
        study(resume=False)
    assert content() == before


def test_accepted_race_logs_in_its_own_folder_from_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = Path("runs/race", LOG).read_bytes()
    pilot_measures(monkeypatch, FAST)
    race(options={"updates": 8}, minutes=1, trials=1, repetitions=2, resume=False)
    (kept,) = Path("runs").glob("race.*")
    assert (kept / LOG).read_bytes() == earlier
    first, second, *_ = Path("runs/race", LOG).read_text().splitlines()
    assert "pilot: measuring the throughput of 2 models" in first
    assert "milliseconds per update: toy-ema 10, toy-stack 10" in second
