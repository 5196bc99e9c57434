from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.study import parse_study

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").exists(), reason="the core's wheel is tested without the documents"
)


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a Markdown file in this language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [block.strip() for block in blocks("README.md", "sh")]
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert commands[1] == ci[-1]


def test_the_study_of_the_readme_is_a_study() -> None:
    (text,) = blocks("README.md", "toml")
    assert parse_study(tomllib.loads(text), "README.md").name == "jsb"


def test_the_model_of_the_docs_installs_is_listed_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("harness_tasks", reason="the docs train on a task of seqharness-tasks")
    package, site = tmp_path / "running-mean", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(blocks("docs/write-a-model.md", "toml")[0])
    (package / "running_mean.py").write_text(blocks("docs/write-a-model.md", "python")[0])
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(package)], check=True
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "list") == 0
    assert "running-mean" in capsys.readouterr().out
    command = "train copy-memory running-mean length=5 sequences=64 parameters=500 updates=4 batch_size=8 evaluations=2"
    assert run(monkeypatch, *command.split()) == 0
    assert "best validation" in capsys.readouterr().out
