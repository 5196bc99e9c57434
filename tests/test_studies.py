from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.plan import make_plan
from harness.plugins import load_plugins
from harness.search import CellState
from harness.study import read_study_file, study_toml

STUDIES = sorted((Path(__file__).parents[1] / "studies").rglob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_study_plans_every_cell_within_tolerance_and_needs_no_data(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("harness_models", reason="the studies need seqharness-models")
    pytest.importorskip("harness_tasks", reason="the studies need seqharness-tasks")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    study = read_study_file(path)
    plan = make_plan(study, load_plugins().registry)
    assert {cell.facts.cell.model for cell in plan.cells} | {left.cell.model for left in plan.left_out} == {
        "tcn",
        "lstm",
        "gru",
        "rnn",
    }
    for cell in plan.cells:
        if study.protocol == "paper":
            assert cell.setting is not None
            assert cell.published_size().widths == cell.setting.widths
            continue
        trial = CellState(cell, study_id="s", seed=0, sampler="random").search_trial(0)
        size = cell.size(trial.build)
        assert abs(size.count.parameters - size.budget) <= size.allowed
        assert math.isfinite(size.bare_deviation)
    if study.protocol == "paper":
        assert {left.cell.model for left in plan.left_out} >= {"gru", "rnn"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_study_written_in_full_reads_the_same(path: Path, tmp_path: Path) -> None:
    study = read_study_file(path)
    whole = tmp_path / "study.toml"
    whole.write_text(study_toml(study))
    assert read_study_file(whole) == study
