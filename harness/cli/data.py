"""`harness data`."""

from __future__ import annotations

import typer

from harness.cli.options import TaskNames


def data_status(tasks: TaskNames = None) -> None:
    """List the data files: where they are, and which are missing or damaged. Always exits with code 0."""
    from harness.cli.actions import data

    raise typer.Exit(data.status(tasks or []))


def data_fetch(tasks: TaskNames = None) -> None:
    """Download the missing data files whose address is known.

    Exit codes: 0, all files are present; 1, a file could not be downloaded; 2, a usage error.
    """
    from harness.cli.actions import data

    raise typer.Exit(data.fetch_missing(tasks or []))


def data_verify(tasks: TaskNames = None) -> None:
    """Check the size and the SHA-256 of the data files.

    Exit codes: 0, all files are intact; 1, a file is missing or damaged; 2, a usage error.
    """
    from harness.cli.actions import data

    raise typer.Exit(data.status(tasks or [], all_required=True))
