"""What a study records of its machine, code and libraries."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from harness.execution import environment
from harness.execution.environment import environment_versions, git_commit, machine


def test_versions_are_those_of_the_installed_distributions() -> None:
    versions = environment_versions()
    assert versions["python"] == platform.python_version()
    for name in ("torch", "numpy", "optuna", "ray", "mlflow"):
        assert versions[name] == version(name)


def test_machine_has_the_cores_and_the_memory_of_this_machine() -> None:
    facts = machine()
    assert facts["host"] == platform.node()
    assert int(facts["cores"]) == psutil.cpu_count()
    gib, unit = facts["memory"].split()
    assert unit == "GiB"
    assert float(gib) == pytest.approx(psutil.virtual_memory().total / 2**30, abs=0.05)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with one commit, from which the code seems to run."""
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    (tmp_path / "environment.py").write_text("")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_commit_is_twelve_digits_and_a_plus_after_a_change(checkout: Path) -> None:
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout
    assert git_commit() == head[:12]
    (checkout / "environment.py").write_text("changed")
    assert git_commit() == f"{head[:12]}+"


def test_code_outside_a_checkout_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    assert git_commit() == ""
