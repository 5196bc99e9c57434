"""`harness data`."""

from __future__ import annotations

import typer

from harness.cli.options import TaskNames


def data_status(tasks: TaskNames = None) -> None:
    """Show which data files are here, where, and which are missing or damaged."""
    from harness.cli.actions import data

    raise typer.Exit(data.status(tasks or []))


def data_fetch(tasks: TaskNames = None) -> None:
    """Download the data files that are missing and whose address is known."""
    from harness.cli.actions import data

    raise typer.Exit(data.fetch_missing(tasks or []))


def data_verify(tasks: TaskNames = None) -> None:
    """Check size and SHA-256 of the data files; exit code 1 where one is missing or damaged."""
    from harness.cli.actions import data

    raise typer.Exit(data.status(tasks or [], all_must_be_there=True))
