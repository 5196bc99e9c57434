"""The code of docs/read-the-results.md, run on a separate store."""

from __future__ import annotations

import shlex
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from tests.support.command import run_command
from tests.support.documents import ROOT, code_blocks

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the core's wheel is tested without the documents")
PAGE = "docs/read-the-results.md"
SMALL = (
    "budget.trials=2", "budget.repetitions=2", "training.updates=4", "training.evaluations=2",
    "tasks.copy-30.sequences=64", "tasks.adding-50.sequences=64",
)  # fmt: skip


@pytest.mark.slow
def test_the_commands_and_the_notebook_of_the_page_give_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("harness_tasks", reason="the page is about the quickstart")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = [part for assignment in SMALL for part in ("-s", assignment)]
    study = str(ROOT / "studies" / "quickstart.toml")
    assert run_command(monkeypatch, "run", study, "--serial", "--models", "tcn,gru", *settings) == 0
    (commands,) = code_blocks(PAGE, "sh")
    for line in commands.splitlines():
        arguments = shlex.split(line, comments=True)
        if arguments[:3] == ["harness", "report", "quickstart"] and "--id" not in arguments:
            assert run_command(monkeypatch, *arguments[1:]) == 0
    assert {path.name for path in tmp_path.glob("quickstart.*")} == {
        "quickstart.html",
        "quickstart.tex",
        "quickstart.parquet",
    }
    capsys.readouterr()
    known: dict[str, object] = {}
    for block in code_blocks(PAGE, "python"):
        exec(block, known)
    assert "copy-30" in capsys.readouterr().out
    cells, table = known["cells"], known["table"]
    assert isinstance(cells, pd.DataFrame)
    assert isinstance(table, pd.DataFrame)
    places = zip(cells["tags.harness.task"], cells["tags.harness.model"], strict=True)
    means = dict(zip(places, cells["metrics.mean"], strict=True))
    reported = {(row.task, row.model): row.test_mean for row in table.itertuples()}
    assert means == pytest.approx(reported)
    assert len(means) == 4
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # MLflow's default, which `set_tracking_uri` of the page replaced
