"""`harness.run(skip_missing=True)` on a study that has trained the cells whose data are missing now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import harness
from harness.api.task import DataFile
from harness.errors import LedgerError
from harness.ledger.exported import read_folder
from harness.ledger.folder import MANIFEST, read_manifest, write_atomically
from harness.ledger.journal import read_study
from harness.workflow.export import export
from tests.support.ledgers import reproducible_by_key
from tests.support.toys import ToyEma, ToyRagged, ToySum

FOLDER = Path("runs/toys")
ABSENT = (DataFile(name="absent/toys.bin", bytes=3, sha256="0" * 64),)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-tasks,seqharness-modern")


def run(
    *, updates: int = 6, parameters: int = 161, space: dict[str, Any] | None = None, skip_missing: bool = False
) -> harness.Results:
    """Run one model on two tasks.  updates: of toy-sum."""
    sizes: dict[str, Any] = {"parameters": parameters}
    study = harness.Study(
        "toys",
        [{"name": ToyEma, "as": "toy-ema", "space": space or {}}],
        [{"name": ToySum, **sizes, "training": {"updates": updates}}, {"name": ToyRagged, **sizes}],
        budget={"trials": 1, "repetitions": 2, "tolerance": 0.2},
        training={"updates": 6, "batch_size": 8, "evaluations": 2},
    )
    return harness.run(study, executor="serial", progress=False, log_models=False, skip_missing=skip_missing)


def run_without_data(monkeypatch: pytest.MonkeyPatch) -> harness.Results:
    with monkeypatch.context() as patch:
        patch.setattr(ToySum, "files", lambda _: ABSENT)
        return run(skip_missing=True)


def lose_the_cell(*also: str) -> None:
    """Leave the manifest as earlier versions did after `run_without_data`.  also: other tasks without data."""
    manifest = read_manifest(FOLDER)
    assert manifest is not None
    kept = tuple(facts for facts in manifest.cells if facts.cell.task not in ("toy-sum", *also))
    write_atomically(FOLDER / MANIFEST, manifest.model_copy(update={"cells": kept}).model_dump_json())


def tasks_of(results: harness.Results) -> list[str]:
    return results.comparison["task"].tolist()


def test_trained_cell_whose_data_are_missing_stays_in_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    before = reproducible_by_key(FOLDER)
    results = run_without_data(monkeypatch)
    assert tasks_of(results) == ["toy-sum", "toy-ragged"]
    assert results.content.left_out == ()
    assert results.comparison["repetitions_ended"].tolist() == [2, 2]
    assert tasks_of(harness.load_results("toys")) == ["toy-sum", "toy-ragged"]  # from MLflow
    assert len(read_folder(export(read_study(FOLDER), Path("exported"))).entries()) == len(before)
    with pytest.raises(LedgerError, match="toy-sum/toy-ema was started with other training"):
        run(updates=7)
    run()
    assert reproducible_by_key(FOLDER) == before


def test_cell_that_the_manifest_lost_is_reported_as_left_out_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    before = reproducible_by_key(FOLDER)
    lose_the_cell()
    for results in (harness.load_results(FOLDER), run_without_data(monkeypatch), harness.load_results("toys")):
        assert set(results.trials["task"]) == {"toy-ragged"}
        reason = "toy-sum/toy-ema: trials that are not shown: 3, because manifest.json lacks the cell;"
        assert reason in results.summary()
    assert len(read_folder(export(read_study(FOLDER), Path("exported"))).entries()) == 3
    assert tasks_of(run()) == ["toy-sum", "toy-ragged"]
    assert reproducible_by_key(FOLDER) == before


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"updates": 7}, "training"),
        ({"parameters": 300}, "parameters or tolerance"),
        ({"space": {"bias": [False, True]}}, "search space or published setting"),
    ],
)
def test_cell_that_the_manifest_lost_is_not_resumed_in_another_way(changes: dict[str, Any], what: str) -> None:
    run()
    lose_the_cell("toy-ragged")
    before = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    with pytest.raises(LedgerError, match=rf"toy-sum/toy-ema was started with other .*{what}.*; .*--fresh"):
        run(**changes)
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()} == before
