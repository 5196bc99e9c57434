"""`harness report`, `harness export`, `harness sync` and `harness ui`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer

from harness.analysis.stored_study import StoredStudy, of_ledger
from harness.errors import LedgerError, StudyError, did_you_mean
from harness.ledger.exported import read_folder, study_folders
from harness.ledger.journal import read_study
from harness.report.formats import ENDINGS, FORMATS, pictures
from harness.report.report import build_report
from harness.study.file import read_study_file
from harness.tracking.client import prepare_store, store_uri, study_pages, ui_command
from harness.tracking.reader import read_store
from harness.tracking.sync import Tracker
from harness.workflow.export import export as write_export
from harness.workflow.formatting import several


@dataclass(frozen=True)
class Sources:
    """Which studies a report is made of."""

    names: tuple[str, ...]
    """Names or TOML files of studies in MLflow."""
    folders: tuple[Path, ...]
    """Folders of studies."""
    study_id: str | None


def report(sources: Sources, format_: str | None, output: Path | None, figures: Path | None) -> None:
    """Print or write the report of these studies.

    Raises StudyError if the options do not fit together, TrackingError if MLflow lacks a study.
    """
    format_ = format_ or _format_of(output)
    if format_ not in FORMATS:
        raise StudyError(f"--format {format_!r}:{did_you_mean(format_, FORMATS)} Known: {', '.join(FORMATS)}")
    if output is None and format_ == "parquet":
        raise StudyError("--format parquet is not a text format; give --output FILE")
    reports = [build_report(stored) for stored in _stored(sources)]
    if figures is not None:
        for name, svg in pictures(reports).items():
            _write(figures / f"{name}.svg", svg, "--figures")
    written = FORMATS[format_](*reports)
    if output is None:
        typer.echo(written)
    else:
        _write(output, written, "--output")


def _stored(sources: Sources) -> list[StoredStudy]:
    """Return the studies, those of MLflow first."""
    if not sources.names and not sources.folders:
        raise StudyError("nothing to report; give the name of a study, or --from FOLDER")
    if sources.study_id is not None and (len(sources.names) > 1 or sources.folders):
        raise StudyError(
            f"--id {sources.study_id} selects among studies of the same name in MLflow; give one name with it"
        )
    names, uri = dict.fromkeys(map(_name, sources.names)), store_uri(Path.cwd())
    folders = dict.fromkeys(folder for path in sources.folders for folder in study_folders(path))
    return [
        *(read_store(uri, name, sources.study_id, curves=True) for name in names),
        *(of_ledger(read_folder(folder)) for folder in folders),
    ]


def _format_of(output: Path | None) -> str:
    """Return the format of a file's ending, Markdown without a file.  Raises StudyError if the ending is unknown."""
    if output is None:
        return "markdown"
    names = {f".{ending}": name for name, ending in ENDINGS.items()}
    if output.suffix.lower() not in names:
        raise StudyError(f"--output {output}: give --format, or an ending that names one: {', '.join(names)}")
    return names[output.suffix.lower()]


def _write(path: Path, written: str | bytes, option: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written if isinstance(written, bytes) else written.encode())
    except OSError as error:
        raise StudyError(f"{option} {path}: cannot be written ({error.strerror})") from error


def export(study: str, to: Path, runs: Path) -> None:
    """Write the study's Parquet files.  Raises LedgerError if there is no such study in `runs`."""
    snapshot = read_study(_folder(study, runs))
    folder = write_export(snapshot, to)
    size = sum(path.stat().st_size for path in folder.iterdir())
    typer.echo(f"{folder}: {several(len(snapshot.entries()), 'trial')}, {size / 1000:,.0f} kB")


def _folder(study: str, runs: Path) -> Path:
    folder = runs / _name(study)
    if not folder.is_dir():
        known = [path.name for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
        raise LedgerError(
            f"{folder}: no such study;{did_you_mean(_name(study), known)} Give the folder of the studies with --runs"
        )
    return folder


def sync(study: str, runs: Path) -> None:
    """Send the trials that MLflow lacks.  Raises LedgerError if there is no such study in `runs`."""
    folder = _folder(study, runs)
    snapshot = read_study(folder)
    uri = store_uri(Path.cwd())
    prepare_store(uri)
    Tracker(snapshot, uri).sync()
    typer.echo(f"{folder.name}: {len(snapshot.entries())} trials are in MLflow")


def ui(port: int) -> NoReturn:
    """Replace this process by the MLflow server, so that a signal to this command ends the server.

    Raises TrackingError if there is no store.
    """
    uri, address = store_uri(Path.cwd()), f"http://127.0.0.1:{port}"
    command, variables = ui_command(uri, port)
    pages = study_pages(uri, address)
    typer.echo(f"MLflow on {address} (press Ctrl-C to stop it)")
    for name, page in pages.items():
        typer.echo(f"  {name}: {page}")
    sys.stdout.flush()
    os.execve(command[0], command, os.environ | variables)


def _name(study: str) -> str:
    """Return the name of a study that is given by its name or by its TOML file."""
    return read_study_file(Path(study)).name if study.endswith(".toml") else study
