"""`harness new`."""

from __future__ import annotations

from pathlib import Path

from harness.cli.options import NewFolder, NewName


def new_model(name: NewName, folder: NewFolder = Path()) -> None:
    """Write a package with a small model that can be installed, checked and trained unchanged."""
    from harness.cli.actions import new

    new.make("model", name, folder)


def new_task(name: NewName, folder: NewFolder = Path()) -> None:
    """Write a package with a small task that can be installed, checked and trained unchanged."""
    from harness.cli.actions import new

    new.make("task", name, folder)
