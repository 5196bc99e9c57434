"""The steps that the training commands share: check, train, track and report problems."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from harness.cli.actions.progress import progress
from harness.errors import TrackingError
from harness.execution.runner import Execute, Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.plugin.loader import Loaded
from harness.tracking.client import prepare_store, store_uri
from harness.tracking.listener import TrackingListener

DRAIN_SECONDS = 60.0
"""Maximum time that the end of a run waits for MLflow, in seconds."""

INTERRUPTED_SECONDS = 5.0
"""The same after Ctrl-C."""

INCOMPLETE = "harness: not complete: some trials were postponed; run the same command again to resume"


def interrupted() -> int:
    """Print that the command was interrupted and return the exit code of Ctrl-C."""
    typer.echo("harness: interrupted; run the same command again to resume", err=True)
    return 130


def checked(runner: Runner) -> Runner:
    """Check the study before anything is written, and return the runner."""
    if platform.system() == "Windows":
        typer.echo("harness: Windows is not tested; run inside WSL", err=True)
    runner.check()
    return runner


@dataclass(frozen=True)
class Done:
    """How the training of a study ended.  Problems have already been printed."""

    outcome: StudyOutcome | None
    """None if the training was interrupted."""
    error: str | None
    """Why MLflow lacks some of the results; None if it has all."""
    tracking: TrackingListener
    uri: str


def train(runner: Runner, loaded: Loaded, *, serial: bool, address: str | None) -> Done:
    """Train what the study lacks, send the results to MLflow and show the progress."""
    uri = store_uri(Path.cwd())
    console = Console(stderr=True)
    tracking = TrackingListener(uri)
    patience = DRAIN_SECONDS
    execute = _executor(runner, loaded, serial=serial, address=address)
    try:
        with progress(console, runner.plan) as shown:
            outcome = runner.run(execute, lambda ledger: [tracking.begin(ledger), shown.begin(ledger.entries())])
    except KeyboardInterrupt:
        outcome, patience = None, INTERRUPTED_SECONDS
    finally:
        error = tracking.close(patience)
        for message in runner.messages:
            console.print(f"note: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if outcome is not None and error is not None:
        typer.echo(f"harness: {error}; send the rest later: harness sync {runner.study.name}", err=True)
    return Done(outcome, error, tracking, uri)


def reach_store(*, begun: bool) -> None:
    """Check that MLflow is reachable.

    If it is not, a study that has started goes on.  For a new study TrackingError is raised, so that a mistake in the
    URI does not show only after days of training.
    """
    try:
        prepare_store(store_uri(Path.cwd()))
    except TrackingError as error:
        if not begun:
            raise
        typer.echo(f"harness: {error}; training continues", err=True)


def _executor(runner: Runner, loaded: Loaded, *, serial: bool, address: str | None) -> Execute:
    if serial:
        return lambda source: run_serial(source, Worker(runner.folder, loaded.registry))
    from harness.execution.ray_backend.tuner import RayExecutor  # Ray takes seconds to import

    cluster = RayExecutor(address, messages=runner.messages)
    return lambda source: cluster.run(source, runner.folder, loaded.registry.plugins)
