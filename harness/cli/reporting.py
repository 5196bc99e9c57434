"""`harness report`, `harness sync` and `harness ui`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import typer

from harness.errors import LedgerError, StudyError, TrackingError, did_you_mean
from harness.ledger import read_study
from harness.replay import Tracker
from harness.report import build_report, to_csv, to_markdown
from harness.study import read_study_file
from harness.tracking import prepare_store, read_store, store_uri, ui_command

FORMATS = {"markdown": to_markdown, "csv": to_csv}


def report(study: str, format_: str, output: Path | None, study_id: str | None) -> None:
    if format_ not in FORMATS:
        raise StudyError(f"--format {format_!r}:{did_you_mean(format_, FORMATS)} Known: {', '.join(FORMATS)}")
    text = FORMATS[format_](build_report(read_store(_existing_store(), _name(study), study_id)))
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StudyError(f"--output {output}: cannot be written ({error.strerror})") from error


def sync(study: str, runs: Path) -> None:
    folder = runs / _name(study)
    if not folder.is_dir():
        known = [path.name for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
        raise LedgerError(f"{folder}: no such study;{did_you_mean(_name(study), known)} Name its folder with --runs")
    uri = store_uri(Path.cwd())
    prepare_store(uri)
    snapshot = read_study(folder)
    Tracker(snapshot, uri).pump()
    typer.echo(f"{folder.name}: {len(snapshot.entries())} trials are in MLflow")


def ui(port: int) -> NoReturn:
    """Becomes the MLflow server, so that whatever ends this command ends it."""
    command = ui_command(store_uri(Path.cwd()), port)
    typer.echo(f"MLflow on http://127.0.0.1:{port} (Ctrl-C ends it)")
    sys.stdout.flush()
    os.execv(command[0], command)


def _existing_store() -> str:
    """The store to read; one in a file is not made by looking into it."""
    uri = store_uri(Path.cwd())
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.exists():
        raise TrackingError(f"{path}: no such store; run a study here, or set MLFLOW_TRACKING_URI")
    return uri


def _name(study: str) -> str:
    """A study by name, or by the file that names it."""
    return read_study_file(Path(study)).name if study.endswith(".toml") else study
