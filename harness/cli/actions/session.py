"""What the commands that train share: the study, the plugins, the store and the executor."""

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
"""How long the end of a run waits for MLflow."""

INTERRUPTED_SECONDS = 5.0
"""The same after Ctrl-C."""


def interrupted() -> int:
    """Says so; the exit code of what Ctrl-C ended."""
    typer.echo("harness: interrupted; the same command continues", err=True)
    return 130


def checked(runner: Runner) -> Runner:
    if platform.system() == "Windows":
        typer.echo("harness: on Windows run inside WSL; nothing here is tested outside it", err=True)
    runner.check()
    return runner


@dataclass(frozen=True)
class Done:
    """How a training of a study ended, told as far as anything went wrong."""

    outcome: StudyOutcome | None
    """None where it was interrupted."""
    error: str | None
    """What MLflow did not take."""
    tracking: TrackingListener
    uri: str


def train(runner: Runner, loaded: Loaded, *, serial: bool, address: str | None) -> Done:
    """All that the study is granted, tracked, with its progress shown."""
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
    """A store that is away delays no study that was begun; a new one is refused, lest a slip shows after days."""
    try:
        prepare_store(store_uri(Path.cwd()))
    except TrackingError as error:
        if not begun:
            raise
        typer.echo(f"harness: {error}; training goes on", err=True)


def _executor(runner: Runner, loaded: Loaded, *, serial: bool, address: str | None) -> Execute:
    if serial:
        return lambda desk: run_serial(desk, Worker(runner.folder, loaded.registry))
    from harness.execution.ray_backend.tuner import RayExecutor  # Ray takes seconds to import

    cluster = RayExecutor(address, messages=runner.messages)
    return lambda desk: cluster.run(desk, runner.folder, loaded.registry.plugins)
