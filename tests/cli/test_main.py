"""`python -m harness` is the command `harness`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest


def module(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_module_prints_the_version(tmp_path: Path) -> None:
    done = module(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"seqharness {version('seqharness')}\n"), done.stderr


def test_module_has_the_exit_code_and_the_line_of_a_usage_error(tmp_path: Path) -> None:
    done = module(tmp_path, "run", "nothing.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "harness: nothing.toml: no such file; the shipped ones are in studies/\n"


@pytest.mark.parametrize("arguments", [("run", "--help"), ("--help",)])
def test_module_shows_the_help_of_the_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = module(tmp_path, *arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: python -m harness")
