"""studies/gpu/train_row.py: a cell of the paper protocol, trained without Ray and MLflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.records import Point, Trial, TrialResult

SCRIPT = Path(__file__).parents[2] / "studies" / "gpu" / "train_row.py"
BLOCKED = """
import runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SMALL = ["length=200", "sequences=256", "as=adding-200"]

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the core's wheel is tested without the studies")


def _train(out: Path, *arguments: str) -> str:
    pytest.importorskip("harness_models", reason="the studies need seqharness-models")
    pytest.importorskip("harness_tasks", reason="the studies need seqharness-tasks")
    given = ["--task", "adding-600", "--model", "tcn", "--device", "cpu", "--out", str(out), *arguments]
    for text in (*(f"tasks.0.{option}" for option in SMALL), "training.evaluation_limit=8"):
        given += ["-s", text]
    ended = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(SCRIPT), *given], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_each_trial_is_written_with_its_records_and_neither_ray_nor_mlflow_is_imported(tmp_path: Path) -> None:
    said = _train(tmp_path, "--seeds", "2", "-s", "training.updates=6", "-s", "training.evaluations=3")
    paths = sorted(tmp_path.iterdir())
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


def test_a_trial_stops_at_the_first_evaluation_after_its_minutes(tmp_path: Path) -> None:
    given = ("-s", "training.updates=1000")
    said = _train(tmp_path, "--minutes", "0", "--seeds", "2", *given)
    (path,) = tmp_path.iterdir()
    record = json.loads(path.read_text())
    assert (record["updates"], record["stopped"]) == ({"done": 8, "of": 1000}, True)  # an epoch
    assert (len(record["points"]), record["result"]["updates"]) == (1, 8)
    assert "stopped by --minutes after 8 of 1000 updates" in said
    assert "seed 2 of 2: not started" in said
