"""studies/gpu: a cell of the paper protocol, trained without Ray, MLflow and Optuna, and its ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.records import Point, Trial, TrialResult
from tests.support.command import run_command
from tests.support.ledgers import entries_by_key

GPU = Path(__file__).parents[2] / "studies" / "gpu"
SCRIPT = GPU / "train_row.py"
BLOCKED = """
import runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow", "optuna"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SMALL = ["length=200", "sequences=256", "as=adding-200"]

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the core's wheel is tested without the studies")


def _call(*arguments: str) -> str:
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def _plan(row: Path, seeds: int, *settings: str) -> None:
    pytest.importorskip("harness_models", reason="the studies need seqharness-models")
    pytest.importorskip("harness_tasks", reason="the studies need seqharness-tasks")
    given = ["--task", "adding-600", "--model", "tcn", "--device", "cpu", "--out", str(row), "--seeds", str(seeds)]
    for text in (*(f"tasks.0.{option}" for option in SMALL), "training.evaluation_limit=8", *settings):
        given += ["-s", text]
    _call(str(GPU / "plan_row.py"), *given)


def _train(row: Path, out: Path, *arguments: str) -> str:
    return _call("-c", BLOCKED, str(SCRIPT), str(row), "--device", "cpu", "--out", str(out), *arguments)


def test_each_trial_is_written_with_its_records_without_ray_mlflow_and_optuna(tmp_path: Path) -> None:
    _plan(tmp_path / "row.json", 2, "training.updates=6", "training.evaluations=3")
    said = _train(tmp_path / "row.json", tmp_path / "out")
    paths = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in paths] == ["adding-200-tcn-0.json", "adding-200-tcn-1.json"]
    for repetition, path in enumerate(paths):
        record = json.loads(path.read_text())
        trial, result = Trial.model_validate(record["trial"]), TrialResult.model_validate(record["result"])
        points = [Point.model_validate(point) for point in record["points"]]
        assert (trial.phase, trial.repetition, trial.widths) == ("final", repetition, (27,) * 7)
        assert [point.update for point in points] == [2, 4, 6]
        assert (result.outcome, result.updates, result.test_opened) == ("complete", 6, 1)
        assert result.metrics.keys() == {"validation", "test", "test-last3"}
        assert (record["updates"], record["stopped"], record["device"]) == ({"done": 6, "of": 6}, False, "cpu")
        assert {"torch", "seqharness"} <= record["versions"].keys()
        assert "cpu" in record["machine"]
    assert said.count("complete after 6 of 6 updates") == 2


def test_row_that_is_planned_for_another_device_is_refused_with_how_to_plan_it(tmp_path: Path) -> None:
    row = tmp_path / "row.json"
    _plan(row, 1, "training.updates=2", "training.evaluations=1")
    given = [str(row), "--device", "cuda", "--out", str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, str(SCRIPT), *given], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"{row} is planned for --device cpu, not cuda; plan it again: plan_row.py --device cuda\n"


def test_a_trial_stops_at_the_first_evaluation_after_its_minutes(tmp_path: Path) -> None:
    _plan(tmp_path / "row.json", 2, "training.updates=1000")
    said = _train(tmp_path / "row.json", tmp_path / "out", "--minutes", "0")
    (path,) = (tmp_path / "out").iterdir()
    record = json.loads(path.read_text())
    assert (record["updates"], record["stopped"]) == ({"done": 8, "of": 1000}, True)  # an epoch
    assert (len(record["points"]), record["result"]["updates"]) == (1, 8)
    assert "stopped by --minutes after 8 of 1000 updates" in said
    assert "seed 2 of 2: not started" in said
    collected = _call(str(GPU / "collect_row.py"), str(tmp_path / "row.json"), str(tmp_path / "out"), *_runs(tmp_path))
    assert "0 trials have ended" in collected
    assert "was stopped by --minutes, so it has no result; plan fewer updates" in collected
    (entry,) = entries_by_key(tmp_path / "runs" / "paper-adding-600").values()
    assert (entry.result, [point.update for point in entry.points]) == (None, [8])


def _runs(folder: Path) -> tuple[str, str]:
    return "--runs", str(folder / "runs")


def test_a_damaged_result_and_one_that_is_there_twice_are_one_line(tmp_path: Path) -> None:
    _plan(tmp_path / "deep" / "row.json", 1, "training.updates=2", "training.evaluations=1")
    _train(tmp_path / "deep" / "row.json", tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    again = path.with_name("again.json")
    for text, fault in (
        (path.read_text(), f"{path} and {again} both hold "),
        (path.read_text()[:-200], f"{again}: is no result of train_row.py (JSONDecodeError"),
        ("[]", f"{again}: is no result of train_row.py (TypeError"),
    ):
        again.write_text(text)
        given = [sys.executable, str(GPU / "collect_row.py"), str(tmp_path / "deep" / "row.json"), str(path.parent)]
        ended = subprocess.run([*given, *_runs(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
        assert ended.stderr.startswith(fault)
        assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_trials_are_those_of_harness_run_and_their_ledger_is_synced_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("training.updates=6", "training.evaluations=3")
    row, runs = tmp_path / "row.json", tmp_path / "runs"
    _plan(row, 2, *settings)
    _train(row, tmp_path / "out")
    said = _call(str(GPU / "collect_row.py"), str(row), str(tmp_path / "out"), "--runs", str(runs))
    assert said == f"{runs / 'paper-adding-600'}: 2 trials have ended\n"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run_command(monkeypatch, "sync", "paper-adding-600") == 0
    capsys.readouterr()
    reports = []
    for source in (["paper-adding-600"], ["--from", "runs"]):
        assert run_command(monkeypatch, "report", *source) == 0
        reports.append(capsys.readouterr().out)
    assert reports[0] == reports[1]
    assert "1 of 1 cells are complete" in reports[0]
    study = Path(__file__).parents[2] / "studies" / "paper" / "adding-600.toml"
    changed = (*(f"tasks.0.{option}" for option in SMALL), "training.evaluation_limit=8", *settings)
    given = ("--models", "tcn", "--serial", "--no-log-models", "--runs", "here", "-s", "budget.repetitions=2")
    options = [part for text in changed for part in ("-s", text)]
    assert run_command(monkeypatch, "run", str(study), *given, *options) == 0
    there, here = (entries_by_key(tmp_path / place / "paper-adding-600") for place in ("runs", "here"))
    assert there.keys() == here.keys()
    for key, entry in there.items():
        result = here[key].result
        assert entry.result is not None
        assert result is not None
        assert entry.result.metrics == result.metrics
