"""`harness report`, `harness export`, `harness sync` and `harness ui`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from harness.cli.options import RUNS, Json, Runs


def report(
    studies: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[STUDY]...", help="Names of studies, or their TOML files.", show_default=False),
    ] = None,
    from_: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="Read studies from files instead of MLflow: the folder of a study, one that `harness export` wrote, "
            "or a folder of such folders. Repeatable.",
        ),
    ] = None,
    format_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--format",
            help="markdown, latex, csv, parquet, html or json. Default: by the ending of --output, otherwise markdown.",
        ),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="File to write. Default: standard output."),
    ] = None,
    figures: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--figures", metavar="FOLDER", help="Folder for all figures, as SVG files."),
    ] = None,
    study_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--id", help="Id of the study, if several have the same name. Default: the newest."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the comparison of one or more studies, read from MLflow or, with --from, from files.

    The report has the ranking with its uncertainty, the cost of each cell, and whether published values were reached.
    Cells that are not comparable are not ranked. The report says which results MLflow lacks.
    """
    from harness.cli.actions import report

    sources = report.Sources(tuple(studies or ()), tuple(from_ or ()), study_id)
    report.report(sources, "json" if as_json else format_, output, figures)


def export(
    study: Annotated[str, typer.Argument(help="Name of a study, or its TOML file.")],
    to: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="Folder in which the folder of the study is written.")
    ],
    runs: Runs = RUNS,
) -> None:
    """Write the trials, scores and curves of a study as Parquet files, with its manifest and its study file.

    harness report --from FOLDER and harness.load_results make every table and figure again from these files.
    """
    from harness.cli.actions import report

    report.export(study, to, runs)


def sync(study: Annotated[str, typer.Argument(help="Name of a study, or its TOML file.")], runs: Runs = RUNS) -> None:
    """Send to MLflow the results of a study that it lacks: after MLflow was unreachable, or to fill another store."""
    from harness.cli.actions import report

    report.sync(study, runs)


def ui(port: Annotated[int, typer.Option("--port", min=1, max=65535, help="TCP port of the server.")] = 5000) -> None:
    """Start the MLflow UI on the MLflow store of this folder; only this machine can reach it."""
    from harness.cli.actions import report

    report.ui(port)
