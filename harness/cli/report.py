"""`harness report`, `harness sync` and `harness ui`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.cli.options import RUNS, Runs


def report(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Names of studies, or their TOML files.", show_default=False)
    ],
    format_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--format", help="markdown, latex, csv, parquet or html; else by the ending of --output."),
    ] = None,
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="Write to a file.")] = None,  # noqa: UP045
    figures: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--figures", metavar="FOLDER", help="Write every figure there, as SVG."),
    ] = None,
    study_id: Annotated[Optional[str], typer.Option("--id", help="One of several studies of a name.")] = None,  # noqa: UP045
) -> None:
    """Print the comparison of one or more studies from MLflow alone, and how complete the store is.

    What is sure, what it cost, whether published values were reached; what cannot be compared is not ranked.
    """
    from harness.cli.actions import report

    report.report(studies, format_, output, study_id, figures)


def sync(study: Annotated[str, typer.Argument(help="A study's name or its TOML file.")], runs: Runs = RUNS) -> None:
    """Send to MLflow whatever of a study's ledger it lacks: after it was away, or into another store."""
    from harness.cli.actions import report

    report.sync(study, runs)


def ui(port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000) -> None:
    """Open the MLflow UI on this folder's store, on loopback only."""
    from harness.cli.actions import report

    report.ui(port)
