"""A study as Parquet files: the same frames, reports and figures as from its ledger."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import harness
from harness.errors import LedgerError
from harness.ledger.exported import SUMS, study_folders, sums_of
from tests.support.command import run_command
from tests.support.toys import ToyEma, ToyStack, ToySum

FRAMES = ("trials", "scores", "curves", "comparison", "decisions", "best_of_k")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folders `runs/toys` and `evidence/toys`."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-tasks,seqharness-modern")
        study = harness.Study(
            "toys",
            [ToyEma, ToyStack],
            [{"name": ToySum, "parameters": 161}],
            budget={"trials": 2, "repetitions": 3, "tolerance": 0.1},
            training={"updates": 6, "batch_size": 8, "evaluations": 3},
        )
        harness.run(study, executor="serial", progress=False, log_models=False)
        assert run_command(patch, "export", "toys", "--to", "evidence") == 0
    return place


def test_every_frame_and_report_is_that_of_the_ledger(trained: Path) -> None:
    ledger, exported = (harness.load_results(trained / place / "toys") for place in ("runs", "evidence"))
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(ledger, name), getattr(exported, name))
    for format in ("markdown", "latex", "html", "csv", "json"):
        assert ledger.report(format) == exported.report(format)
    assert ledger.figures.keys() == exported.figures.keys()
    assert not exported.curves.empty


def test_the_files_are_the_public_frames_and_say_where_they_come_from(trained: Path) -> None:
    folder, results = trained / "evidence" / "toys", harness.load_results(trained / "runs" / "toys")
    for name in ("scores", "curves"):
        pd.testing.assert_frame_equal(pd.read_parquet(folder / f"{name}.parquet"), getattr(results, name))
    trials = pd.read_parquet(folder / "trials.parquet").set_index("key")
    public = results.trials.set_index("key")
    pd.testing.assert_frame_equal(trials.loc[public.index, list(public)], public)
    for name in ("manifest.json", "study.toml"):
        assert (folder / name).read_text().rstrip() == (trained / "runs" / "toys" / name).read_text().rstrip()


def test_report_reads_folders_without_mlflow(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written = []
    for place in ("runs", "evidence", "evidence/toys", "evidence/toys/trials.parquet"):
        given = ("--from", str(trained / place), "--output", "report.md", "--figures", "figures")
        assert run_command(monkeypatch, "report", *given) == 0
        written.append((Path("report.md").read_text(), {path.name for path in Path("figures").iterdir()}))
    assert all(one == written[0] for one in written)
    assert "| toy-ema |" in written[0][0]
    assert not Path("mlflow.db").exists()
    assert run_command(monkeypatch, "report") == 2
    assert "give the name of a study, or --from FOLDER" in capsys.readouterr().err


def test_a_folder_without_a_study_and_another_study_are_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LedgerError, match="holds no study"):
        study_folders(tmp_path)
    shutil.copytree(trained / "evidence", tmp_path / "evidence")
    manifest = tmp_path / "evidence" / "toys" / "manifest.json"
    study_id = harness.load_results(trained / "runs" / "toys").study_id
    manifest.write_text(manifest.read_text().replace(study_id, "0" * 12))
    (manifest.parent / SUMS).unlink()
    with pytest.raises(LedgerError, match=f"holds trials of study {study_id}.*export the study again"):
        harness.load_results(tmp_path / "evidence" / "toys")
    monkeypatch.chdir(trained)
    assert run_command(monkeypatch, "export", "toys", "--to", str(tmp_path / "evidence")) == 2
    assert "holds study 000000000000 of the same name" in capsys.readouterr().err


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "evidence" / "toys", tmp_path / "toys")


def test_digests_are_those_of_sha256sum(copied: Path) -> None:
    checked = subprocess.run(["sha256sum", "-c", SUMS], cwd=copied, capture_output=True, text=True, check=True)
    names = ["curves.parquet", "manifest.json", "scores.parquet", "study.toml", "trials.parquet"]
    assert checked.stdout.splitlines() == [f"{name}: OK" for name in names]


def test_other_files_and_line_ends_that_git_converts_do_not_matter(copied: Path) -> None:
    for path in (copied / "manifest.json", copied / "study.toml", copied / SUMS):
        text = path.read_bytes()
        assert text.endswith(b"\n")
        path.write_bytes(text.replace(b"\n", b"\r\n"))
    (copied / "README.md").write_text("notes")
    assert "README.md" not in sums_of(copied)
    assert len(harness.load_results(copied).trials) == 10


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0  trials.parquet"], ids=["empty", "bytes", "one line"])
def test_digests_that_do_not_cover_the_files_are_refused(copied: Path, content: bytes) -> None:
    (copied / SUMS).write_bytes(content)
    with pytest.raises(LedgerError, match=r"differs from its digest in SHA256SUMS|not a readable export") as caught:
        harness.load_results(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["curves.parquet", "manifest.json", "scores.parquet", "trials.parquet"])
def test_a_file_that_has_changed_or_is_missing_is_refused(copied: Path, name: str) -> None:
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content + b" ")
    with pytest.raises(LedgerError, match=rf"{name}: differs from its digest in SHA256SUMS; restore the file"):
        harness.load_results(copied)
    (copied / name).unlink()
    with pytest.raises(LedgerError, match=rf"{name}: is missing, but SHA256SUMS has it|holds no study"):
        harness.load_results(copied)


Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("trials", lambda trials: pd.concat([trials, trials.tail(1)]), r"holds trial \w+/toy-sum/\S+ 2 times"),
        ("trials", lambda trials: trials.assign(attempt=None), r"is not a readable export \(TypeError"),
        ("trials", lambda trials: trials.drop(columns="trial_record"), r"is not a readable export \(KeyError"),
        ("curves", lambda curves: curves.assign(quantity=None), "is not a readable export"),
        (
            "curves",
            lambda curves: curves[curves["quantity"] != "validation/mse"],
            r"curves\.parquet beside it lacks mse of trial \w+/toy-sum/",
        ),
    ],
    ids=["twice", "no attempt", "no column", "no quantity", "no metric"],
)
def test_content_that_cannot_be_a_study_is_one_line(copied: Path, name: str, change: Change, fault: str) -> None:
    path = copied / f"{name}.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    (copied / SUMS).write_text(sums_of(copied))
    with pytest.raises(LedgerError, match=fault) as caught:
        harness.load_results(copied)
    assert str(caught.value).endswith("export the study again with `harness export`")
    assert "\n" not in str(caught.value)


def test_a_cell_that_the_manifest_lacks_is_named(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["cells"] = [cell for cell in manifest["cells"] if cell["cell"]["model"] != "toy-stack"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    (copied / SUMS).unlink()  # exports of earlier versions have none
    with pytest.raises(LedgerError, match=r"holds trial \w+/toy-sum/toy-stack/\S+, but manifest.json .* no such cell"):
        harness.load_results(copied)


def test_a_damaged_file_is_one_line(copied: Path) -> None:
    (copied / "curves.parquet").write_bytes(b"PAR1")
    (copied / SUMS).unlink()
    with pytest.raises(LedgerError, match="is not a readable export") as caught:
        harness.load_results(copied)
    assert "\n" not in str(caught.value)
