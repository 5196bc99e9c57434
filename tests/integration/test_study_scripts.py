"""Scripts of studies/ that train or read a store: what they refuse, in one line and with exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.tracking.client import prepare_store, store_uri

recompute = pytest.importorskip("recompute", reason="the core's wheel is tested without studies/")
published_variants = pytest.importorskip("published_variants")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def run(
    script: ModuleType, arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Run a script; return its exit code and what it prints on standard error."""
    monkeypatch.setattr(sys, "argv", [script.__name__, *arguments.split()])
    code = script.main()
    printed = capsys.readouterr()
    assert printed.out == ""
    return code, printed.err


def test_recompute_without_a_store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, error = run(recompute, "music", monkeypatch, capsys)
    assert (code, error.count("\n")) == (2, 1)
    assert "mlflow.db" in error
    assert not Path("mlflow.db").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [("jazz", "no experiment 'jazz' in this store\n"), ("music", "music: the store holds no final trials\n")],
)
def test_recompute_of_nothing(
    asked: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_store(store_uri(Path.cwd()), "music")
    capsys.readouterr()  # MLflow says that it creates its tables
    assert run(recompute, asked, monkeypatch, capsys) == (2, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "jsb-chorales tcn --only as-stated,louder",
            "--only: no variant 'louder'; the variants are as-stated, no-clip",
        ),
        ("jsb-chorale tcn", "task 'jsb-chorale' is not installed; did you mean 'jsb-chorales'?"),
        ("jsb-chorales tcm", "model 'tcm' is not installed; did you mean 'tcn'?"),
    ],
)
def test_variants_of_nothing(
    arguments: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("harness_models", "harness_tasks"):
        pytest.importorskip(package, reason="tcn and jsb-chorales come from packages of their own")
    code, error = run(published_variants, arguments, monkeypatch, capsys)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(message)
