"""What the training commands share."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.workflow.training import Place

INCOMPLETE = "harness: not complete: some trials were postponed; run the same command again to resume"


def place_of(runs: Path, *, serial: bool, address: str | None, log_models: bool) -> Place:
    """Return where the options of a command say that the study is trained."""
    return Place(runs, "serial" if serial else "ray", address, log_models=log_models)


def interrupted() -> int:
    """Print that the command was interrupted and return the exit code of Ctrl-C."""
    typer.echo("harness: interrupted; run the same command again to resume", err=True)
    return 130
