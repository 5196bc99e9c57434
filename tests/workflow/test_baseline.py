"""New models beside stored cells: the comparison of a study that trains both, and refusals that name what differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness.errors import LedgerError, StudyError
from harness.ledger.exported import read_folder
from harness.ledger.journal import Snapshot
from harness.plugin.loader import load_plugins
from harness.plugin.local import with_local
from harness.plugin.registry import Registry
from harness.study.file import read_study_file
from harness.study.plan import make_plan
from harness.workflow.baseline import StoredCell, baseline_cells, beside
from tests.support.command import run_command
from tests.support.documents import ROOT, code_blocks
from tests.support.toys import ToyEma, ToyStack, ToySum

OPTIONS: dict[str, Any] = {"executor": "serial", "progress": False, "log_models": False}


def study(name: str, models: list[Any], **sections: Any) -> harness.Study:
    given: dict[str, Any] = {
        "budget": {"trials": 2, "repetitions": 3, "tolerance": 0.1},
        "training": {"updates": 6, "batch_size": 8, "evaluations": 3},
        **sections,
    }
    return harness.Study(name, models, [{"name": ToySum, "parameters": 161}], **given)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `evidence/stored`, whose only model is `toy-stack`."""
    place = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        _enter(place, patch)
        harness.run(study("stored", [ToyStack]), **OPTIONS)
        assert run_command(patch, "export", "stored", "--to", "evidence") == 0
    return place


def _enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-tasks,seqharness-modern")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _enter(tmp_path, monkeypatch)


def test_the_comparison_is_that_of_a_study_that_trains_both(place: Path) -> None:
    beside = harness.run(study("new", [ToyEma]), baseline=place / "evidence", **OPTIONS)
    both = harness.run(study("both", [ToyEma, ToyStack]), **OPTIONS)
    assert set(harness.load_results("runs/new").trials["model"]) == {"toy-ema"}
    columns = ["model", "rank", "test_mean", "test_low", "test_high", "best_validation", "against_best_verdict"]
    pd.testing.assert_frame_equal(beside.comparison[columns], both.comparison[columns])
    pd.testing.assert_frame_equal(beside.decisions, both.decisions)
    assert beside.decisions["pairs"].tolist() == [3]
    assert "toy-sum/toy-stack: stored results of study stored (" in beside.report("markdown")
    assert "stored results" not in both.report("markdown")


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        (
            {"training": {"updates": 6, "batch_size": 4, "evaluations": 3}},
            r"toy-sum/toy-stack differs in batch_size \(8 stored, 4 here\); set the study to the stored values",
        ),
        (
            {"budget": {"trials": 1, "repetitions": 2, "tolerance": 0.2}},
            r"tolerance; repetitions \(3 stored, 2 here\); trials \(2 stored, 1 here\)",
        ),
        ({"search": {"seed": 1}}, "differs in seed;"),
        ({"search": {"sampler": "tpe"}}, "differs in sampler;"),
    ],
)
def test_what_differs_is_named_before_anything_is_trained(place: Path, sections: dict[str, Any], named: str) -> None:
    with pytest.raises(StudyError, match=named) as caught:
        harness.run(study("new", [ToyEma], **sections), baseline=place / "evidence" / "stored", **OPTIONS)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


Edit = Callable[[dict[str, Any]], None]


def _in_cell(**values: Any) -> Edit:
    return lambda manifest: manifest["cells"][0].update(values)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (_in_cell(task={"name": "toy-other", "options": {}}), r"task \(toy-other stored, toy-sum here\)"),
        (
            lambda manifest: manifest["cells"][0]["metric"].update(unit="m", better="higher"),
            r"metric unit \(m stored, none here\); metric better \(higher stored, lower here\)",
        ),
        (_in_cell(fingerprint={}), "differs in task options; seed; data; schedule; sampler; tolerance"),
    ],
    ids=["task", "metric", "fingerprint"],
)
def test_stored_cell_of_something_else_is_refused(place: Path, edit: Edit, named: str) -> None:
    shutil.copytree(place / "evidence" / "stored", "edited")
    Path("edited/SHA256SUMS").unlink()
    manifest = json.loads(Path("edited/manifest.json").read_text())
    edit(manifest)
    Path("edited/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StudyError, match=named):
        harness.run(study("new", [ToyEma]), baseline="edited", **OPTIONS)


def test_race_is_no_baseline(place: Path) -> None:
    """Its repetitions depend on the scores."""
    shutil.copytree(place / "evidence" / "stored", "race")
    manifest = json.loads(Path("race/manifest.json").read_text())
    Path("race/manifest.json").write_text(json.dumps({**manifest, "race": True}))
    Path("race/SHA256SUMS").unlink()
    with pytest.raises(StudyError, match=r"holds no other cell of .* races of `harness recommend` do not count"):
        harness.run(study("new", [ToyEma]), baseline="race", **OPTIONS)


def test_code_that_has_changed_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        stored = read_folder(place / "evidence" / "stored")
        empty = Snapshot(stored.folder, stored.manifest.model_copy(update={"cells": ()}), ())
        (origin,) = beside(empty, baseline_cells(plan, place / "evidence", registry)).baseline
        return origin.partition("not trained again")[2]

    alone = study("new", [ToyEma]).definition
    registry = with_local(load_plugins(), study("both", [ToyEma, ToyStack]).local).registry
    plan = make_plan(alone, registry)
    assert said() == ""
    monkeypatch.setattr("harness.workflow.baseline.code_of", lambda *_: ["other"])
    assert said() == "; seqharness or a plugin of toy-stack has changed since"
    registry = with_local(load_plugins(), study("new", [ToyEma]).local).registry
    assert said() == "; toy-stack: not installed, so whether the code has changed is unknown"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("training.updates=6", r"updates \(15630 stored, 6 here\)"),
        ("training.batch_size=16", r"batch_size \(32 stored, 16 here\)"),
        ("tasks.0.training.evaluation_limit=8", r"evaluation_limit \(none stored, 8 here\)"),
        ("training.precision=bfloat16", r"precision \(float32 stored, bfloat16 here\)"),
    ],
)
def test_training_of_a_study_of_published_settings_must_agree(
    monkeypatch: pytest.MonkeyPatch, changed: str, named: str
) -> None:
    """Batch size, epochs and schedule are those of each model's published setting, and may differ."""
    registry = _published_models(monkeypatch)
    for same in ("budget.repetitions=3", "training.evaluations=10"):  # under `paper` there is one an epoch
        assert [str(cell.facts.cell) for cell in _beside_lstm(registry, same)] == ["adding-600/tcn"]
    with pytest.raises(StudyError, match=named):
        _beside_lstm(registry, changed)


def test_published_setting_that_has_changed_since_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = _published_models(monkeypatch)
    tcn = registry.models["tcn"].value
    setting = tcn.published("adding-600")
    assert setting is not None
    other = replace(setting, params={**setting.params, "dropout": 0.3})
    monkeypatch.setattr(type(tcn), "published", lambda *_: other)
    with pytest.raises(StudyError, match="adding-600/tcn differs in published setting; set the study to"):
        _beside_lstm(registry, "budget.repetitions=3")


def test_stored_model_that_is_not_installed_is_compared_by_what_no_setting_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = _published_models(monkeypatch)
    without = replace(registry, models={name: entry for name, entry in registry.models.items() if name != "tcn"})
    for same in ("budget.repetitions=3", "training.batch_size=16"):  # whose setting states the batch size
        (stored,) = _beside_lstm(without, same)
        assert (stored.facts.model, stored.changed) == ("tcn", None)
    with pytest.raises(StudyError, match=r"precision \(float32 stored, bfloat16 here\)"):
        _beside_lstm(without, "training.precision=bfloat16")


def _published_models(monkeypatch: pytest.MonkeyPatch) -> Registry:
    for package in ("harness_models", "harness_tasks"):
        pytest.importorskip(package, reason="published settings are of the first-party plugins")
    monkeypatch.delenv("HARNESS_DISABLE_PLUGINS")
    return load_plugins().registry


def _beside_lstm(registry: Registry, *overrides: str) -> tuple[StoredCell, ...]:
    """Return the stored cells of adding-600 that a study of the published LSTM is compared with."""
    study = read_study_file(ROOT / "studies" / "paper" / "adding-600.toml", overrides, models=["lstm"])
    stored = ROOT / "docs" / "results" / "data" / "paper-adding-600"
    return baseline_cells(make_plan(study, registry), stored, registry)


def test_a_baseline_without_a_cell_to_compare_with_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no other cell of toy-sum under protocol fair"):
        harness.run(study("new", [ToyStack]), baseline=place / "evidence", **OPTIONS)
    with pytest.raises(LedgerError, match="holds no study"):
        harness.run(study("new", [ToyEma]), baseline=tmp_path, **OPTIONS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_model_of_the_docs_beside_stored_chorales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of docs/write-a-model.md, with a small study in place of the shipped one."""
    tasks = pytest.importorskip("harness_tasks", reason="the page trains on a task of seqharness-tasks")
    files = pytest.importorskip("harness.data.files")
    if any(files.file_status(file).state == "missing" for file in tasks.JsbChorales().files()):
        pytest.skip("reads the chorales")
    monkeypatch.delenv("HARNESS_DISABLE_PLUGINS")
    _install_model(tmp_path, monkeypatch)
    budget = ("budget.trials=1", "budget.repetitions=3", "budget.tolerance=0.3", "tasks.0.parameters=20000")
    small = (*budget, "training.updates=20", "training.evaluations=2", "training.evaluation_limit=8")
    file, common = ROOT / "studies" / "fair" / "jsb-chorales.toml", [part for text in small for part in ("-s", text)]
    run = ("run", str(file), "--serial", "--no-log-models", *common)
    assert run_command(monkeypatch, *run, "--models", "gru,rnn", "--runs", "stored") == 0
    assert run_command(monkeypatch, "export", "fair-jsb-chorales", "--runs", "stored", "--to", "evidence") == 0
    capsys.readouterr()
    new = (*run, "--models", "running-mean", "--baseline", "evidence/fair-jsb-chorales")
    assert run_command(monkeypatch, *new) == 0
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if line.startswith(("| gru |", "| rnn |", "| running-mean |"))]
    assert [line.split(" | ")[0] for line in lines] == ["| running-mean", "| gru", "| rnn"]
    assert run_command(monkeypatch, *new, "-s", "training.batch_size=8", "--fresh") == 2
    assert "batch_size (16 stored, 8 here)" in capsys.readouterr().err


def _install_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model of docs/write-a-model.md a plugin, as installing it would."""
    site = folder / "site"
    info = site / "running_mean-0.1.0.dist-info"
    info.mkdir(parents=True)
    (site / "running_mean.py").write_text(code_blocks("docs/write-a-model.md", "python")[0])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: running-mean\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[harness]\nrunning-mean = running_mean\n")
    monkeypatch.syspath_prepend(site)
