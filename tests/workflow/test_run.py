"""`harness.run`: the same trials as the command line, resumed, with results that agree with MLflow."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness.api.model import Model
from harness.errors import LedgerError, StudyError
from harness.ledger.journal import read_study
from harness.plugin.hookspecs import hookimpl
from harness.records import Trial, TrialResult
from harness.workflow import progress
from harness.workflow.progress import Progress
from tests.support.command import run_command
from tests.support.ledgers import reproducible_by_key
from tests.support.toys import ToyEma, ToyStack, ToySum


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-tasks,seqharness-modern")


def study(models: Sequence[type[Model]] = (ToyEma, ToyStack), **sections: Any) -> harness.Study:
    given: dict[str, Any] = {
        "budget": {"trials": 2, "repetitions": 2, "tolerance": 0.1},
        "training": {"updates": 6, "batch_size": 8, "evaluations": 2},
        **sections,
    }
    return harness.Study("toys", models, [{"name": ToySum, "parameters": 161}], **given)


def run(given: harness.Study | None = None, **options: Any) -> harness.Results:
    return harness.run(given or study(), executor="serial", progress=False, **{"log_models": False, **options})


def test_results_are_those_of_the_ledger_and_of_mlflow() -> None:
    results = run()
    assert results.folder == Path("runs/toys").resolve()
    assert len(results.trials) == len(read_study(results.folder).entries()) == 8
    assert results.trials["outcome"].tolist() == ["complete"] * 8
    stored = harness.load_results("toys")
    assert stored.study_id == results.study_id
    assert harness.load_results(f"toys/{results.study_id}").study_id == results.study_id
    order = ["model", "phase", "number"]
    for name in ("trials", "scores", "comparison", "decisions", "leader_changes", "best_of_k"):
        mine, theirs = (getattr(which, name) for which in (results, stored))
        keys = [key for key in order if key in mine.columns] or None
        if keys:
            mine, theirs = (frame.sort_values(keys, ignore_index=True) for frame in (mine, theirs))
        pd.testing.assert_frame_equal(mine, theirs)
    assert harness.load_results("runs/toys").trials.equals(results.trials)


def test_same_call_resumes_and_another_budget_trains_only_what_is_missing() -> None:
    before = reproducible_by_key(_folder_of(run()))
    more = run(study(budget={"trials": 2, "repetitions": 3, "tolerance": 0.1}))
    after = reproducible_by_key(_folder_of(more))
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 2


def test_study_of_a_notebook_is_resumed_with_one_more_class() -> None:
    before = reproducible_by_key(_folder_of(run(study([ToyEma]))))
    after = reproducible_by_key(_folder_of(run(study([ToyEma, ToyStack]))))
    assert {key: after[key] for key in before} == before
    assert len(after) == 2 * len(before)


def test_fresh_run_keeps_the_earlier_study_beside_it() -> None:
    first = run()
    second = run(resume=False)
    assert first.study_id != second.study_id
    assert Path(f"runs/toys.{first.study_id}").is_dir()


def test_interrupt_is_a_keyboard_interrupt_and_the_same_call_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupts(Progress):
        @hookimpl
        def harness_trial_finished(self, trial: Trial, result: TrialResult) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(progress, "Progress", Interrupts)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert 0 < len(harness.load_results("runs/toys").trials) < 8
    assert len(run().trials) == 8


def test_failed_cell_is_a_warning_that_names_it() -> None:
    given = harness.Study(
        "toys",
        [ToyEma, {"name": ToyEma, "as": "raises", "space": {"fault": "raise"}}],
        [{"name": ToySum, "parameters": 161}],
        budget={"trials": 1, "repetitions": 1, "tolerance": 0.1},
        training={"updates": 6, "batch_size": 8, "evaluations": 2},
    )
    with pytest.warns(harness.IncompleteWarning, match=r"FAILED toy-sum/raises: no search trial completed"):
        results = run(given)
    states = results.comparison.set_index("model")["state"]
    assert states.to_dict() == {"toy-ema": "complete", "raises": "failed"}


def test_figures_reports_and_html_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    results = run()
    assert str(results.report()).startswith("# toys")
    assert results.report("parquet")[:4] == b"PAR1"
    assert "data:image/svg+xml" in results._repr_html_()
    assert results.figure("scores-toy-sum").axes
    assert results.figure("scores-toy-sum")._repr_svg_().startswith("<?xml"), "notebooks display it"  # type: ignore[attr-defined]
    with pytest.raises(StudyError, match="no figure 'score-toy-sum'; did you mean 'scores-toy-sum'"):
        results.figure("score-toy-sum")
    with pytest.raises(StudyError, match="format 'html5'"):
        results.report("html5")


def test_command_line_and_python_train_the_same_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HARNESS_DISABLE_PLUGINS")
    pytest.importorskip("harness_models")
    pytest.importorskip("harness_tasks")
    given = harness.Study(
        "small",
        ["gru", "tcn"],
        [{"name": "adding", "length": 10, "sequences": 64, "parameters": 500}],
        budget={"trials": 1, "repetitions": 1, "tolerance": 0.1},
        training={"updates": 4, "batch_size": 8, "evaluations": 2},
    )
    given.to_toml("small.toml")
    assert run_command(monkeypatch, "run", "small.toml", "--serial", "--runs", "command") == 0
    results = run(given, storage="python")
    assert reproducible_by_key(_folder_of(results)) == reproducible_by_key(tmp_path / "command" / "small")


def test_unknown_executor_and_serial_with_an_address_are_refused() -> None:
    with pytest.raises(StudyError, match="executor='dask': give 'ray' or 'serial'"):
        harness.run(study(), executor="dask")  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="is that of a Ray cluster"):
        run(address="127.0.0.1:1")


def test_folder_without_a_study_is_one_line() -> None:
    Path("runs/empty").mkdir(parents=True)
    with pytest.raises(LedgerError, match=r"runs/empty: holds no study; give the folder of one"):
        harness.load_results("runs/empty")


def test_size_that_is_added_to_a_list_trains_its_cells_alone() -> None:
    def at(*sizes: int) -> harness.Study:
        tasks = [{"name": ToySum, "parameters": sizes}]
        budget = {"trials": 1, "repetitions": 2, "tolerance": 0.2}
        return harness.Study("sizes", [ToyEma], tasks, budget=budget, training={"updates": 6, "evaluations": 2})

    before = reproducible_by_key(_folder_of(run(at(161, 300))))
    results = run(at(161, 300, 600))
    after = reproducible_by_key(_folder_of(results))
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 3
    assert results.content.sizes[0].parameters == (161, 300, 600)
    assert results.leader_changes["verdict"].tolist() == ["undetermined"]


def _folder_of(results: harness.Results) -> Path:
    assert results.folder is not None
    return results.folder


class Coarse(ToyEma):
    """One more on its width costs 40 parameters."""

    name = "coarse"

    def build(self, signature: Any, widths: tuple[int, ...], **params: Any) -> Any:
        return super().build(signature, (10 * widths[0],), **params)


def test_model_off_the_budget_is_ranked_once_the_study_allows_it() -> None:
    models = [{"name": Coarse, "as": "coarse", "space": {"bias": True}}]

    def coarse(**budget: Any) -> harness.Study:
        sections: dict[str, Any] = {
            "budget": {"trials": 1, "repetitions": 2, **budget},
            "training": {"updates": 6, "batch_size": 8, "evaluations": 2},
        }
        return harness.Study("coarse", models, [{"name": ToySum, "parameters": 141}], **sections)

    assert coarse().plan()["off_budget"].tolist() == [True]
    assert study().plan()["off_budget"].tolist() == [False, False]
    (before,) = run(coarse()).comparison.to_dict("records")
    assert (before["parameters"], before["off_budget"]) in [(121, True), (161, True)]
    assert pd.isna(before["rank"])
    trained = read_study(Path("runs/coarse")).entries()
    (after,) = run(coarse(allow_deviation=True)).comparison.to_dict("records")
    assert (after["rank"], after["off_budget"], after["allow_deviation"]) == (1, True, True)
    assert read_study(Path("runs/coarse")).entries() == trained
