"""What the training commands share."""

from __future__ import annotations

import logging
from pathlib import Path

import typer
from rich.console import Console

from harness.errors import StudyError
from harness.workflow.study_log import logger
from harness.workflow.training import Place

INCOMPLETE = "harness: not complete: some trials were postponed; run the same command again to resume"


def place_of(runs: Path, *, serial: bool, address: str | None, log_models: bool) -> Place:
    """Return where the options of a command say that the study is trained."""
    return Place(runs, "serial" if serial else "ray", address, log_models=log_models)


def console_of(*, verbose: bool, quiet: bool) -> Console:
    """Return the console of the progress: standard error.

    verbose: also show the log's records of level DEBUG.  quiet: show nothing.  Raises StudyError for both.
    """
    if verbose and quiet:
        raise StudyError("--verbose shows more and --quiet less; give only one of them")
    console = Console(stderr=True, quiet=quiet)
    if verbose:
        logger.addHandler(_DebugLines(console))
        logger.setLevel(logging.DEBUG)
    return console


class _DebugLines(logging.Handler):
    """Shows the records of level DEBUG; the others are shown in any case."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.DEBUG:
            self._console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


def interrupted() -> int:
    """Print that the command was interrupted and return the exit code of Ctrl-C."""
    typer.echo("harness: interrupted; run the same command again to resume", err=True)
    return 130
