from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.plugin.loader import load_plugins
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.file import read_study_file, study_toml
from harness.study.plan import make_plan

FOLDER = Path(__file__).parents[2] / "studies"
STUDIES = sorted(FOLDER.rglob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_study_plans_every_cell_within_tolerance_and_needs_no_data(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("harness_models", reason="the studies need seqharness-models")
    pytest.importorskip("harness_tasks", reason="the studies need seqharness-tasks")
    if path.stem == "beyond":
        pytest.importorskip("harness_modern", reason="the study needs seqharness-modern")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    study = read_study_file(path)
    plan = make_plan(study, load_plugins().registry)
    cells = {cell.cell for cell in plan.cells} | {left.cell for left in plan.left_out}
    assert len(cells) == len(study.models) * sum(max(1, len(entry.sizes)) for entry in study.tasks)
    for cell in plan.cells:
        if study.protocol == "paper":
            assert cell.setting is not None
            assert cell.published_size().widths == cell.setting.widths
            continue
        trial = CellState(Proposer(cell, seed=0), study_id="s").search_trial(0)
        size = cell.size(trial.build)
        assert abs(size.count.parameters - size.budget) <= size.allowed
        assert math.isfinite(size.bare_deviation)


ROWS = [
    "sequential-mnist", "permuted-mnist", "adding-600", "copy-1000", "jsb-chorales", "nottingham", "ptb-word",
    "wikitext-103", "lambada", "ptb-char", "text8",
]  # fmt: skip
"""Of Table 1 of Bai, Kolter & Koltun 2018, in its order."""


@pytest.mark.skipif(not STUDIES, reason="the core's wheel is tested without the studies")
def test_fair_study_of_all_rows_has_all_cells_and_trains_each_task_as_its_own_study() -> None:
    whole = read_study_file(FOLDER / "fair.toml")
    assert [task.label or task.name for task in whole.tasks] == ROWS
    assert [model.name for model in whole.models] == ["tcn", "lstm", "gru", "rnn"]
    for row, task in zip(ROWS, whole.tasks, strict=True):
        alone = read_study_file(FOLDER / "fair" / f"{row}.toml")
        assert whole.training.overridden_by(task.training) == alone.training
        assert [task.model_copy(update={"training": alone.tasks[0].training})] == [*alone.tasks]


def test_paper_study_of_all_rows_has_the_published_cells_and_says_why_others_are_missing() -> None:
    pytest.importorskip("harness_models", reason="the studies need seqharness-models")
    pytest.importorskip("harness_tasks", reason="the studies need seqharness-tasks")
    whole = read_study_file(FOLDER / "paper.toml")
    for row, task in zip(ROWS, whole.tasks, strict=True):
        assert [task] == [*read_study_file(FOLDER / "paper" / f"{row}.toml").tasks]
    plan = make_plan(whole, load_plugins().registry)
    assert len(plan.cells) == 20
    assert {str(left.cell): left.reason for left in plan.left_out if left.cell.model in ("tcn", "lstm")} == {
        "wikitext-103/lstm": "no published setting of lstm for wikitext-103",
        "lambada/lstm": "no published setting of lstm for lambada",
    }
    assert len(plan.left_out) == 24


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_study_written_in_full_reads_the_same(path: Path, tmp_path: Path) -> None:
    study = read_study_file(path)
    whole = tmp_path / "study.toml"
    whole.write_text(study_toml(study))
    assert read_study_file(whole) == study
