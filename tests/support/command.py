"""The command `harness` in the process of a test."""

from __future__ import annotations

import sys

import pytest

from harness.cli.main import main


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `harness` with these arguments and return its exit code.  Its output goes to `capsys`."""
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)
