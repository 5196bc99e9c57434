"""What the commands that train share: the study, the plugins, the store and the executor."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from harness.cli.actions.progress import progress
from harness.errors import StudyError, TrackingError
from harness.execution.runner import Execute, Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.folder import STUDY_FILE
from harness.plugin.loader import Loaded, load_plugins
from harness.study.cell_plan import CellPlan
from harness.study.file import read_study_file
from harness.study.from_data import parse_count, study_of_file
from harness.study.schema import Study
from harness.tracking.client import prepare_store, store_uri
from harness.tracking.listener import TrackingListener

DRAIN_SECONDS = 60.0
"""How long the end of a run waits for MLflow."""

INTERRUPTED_SECONDS = 5.0
"""The same after Ctrl-C."""


@dataclass(frozen=True)
class OwnData:
    """What was said of a user's own file on the command line."""

    data: Path
    target: str | None
    parameters: int
    task: str | None


def own_data(data: Path | None, *, target: str | None, budget: str | None, task: str | None) -> OwnData | None:
    """None where no file was given; StudyError where only a part was."""
    if data is None:
        given = {"--target": target, "--budget": budget, "--task": task}
        beside = next((option for option, value in given.items() if value is not None), None)
        if beside is not None:
            raise StudyError(f"{beside} is of a file of your own; give --data FILE with it")
        return None
    if budget is None:
        raise StudyError(f"--data {data}: how large may each network be? Give --budget 50k")
    return OwnData(data, target, parse_count(budget), task)


def read(
    study: Path | None,
    overrides: Sequence[str] | None,
    *,
    own: OwnData | None,
    models: str | None,
    tasks: str | None,
    profile: str | None,
    runs: Path,
) -> Study:
    """The study of a file, of a name that was run, or of a user's own data."""
    if own is not None:
        if study is not None or tasks is not None:
            raise StudyError(
                f"--data {own.data} makes the study; give no {'--tasks' if study is None else study} beside it"
            )
        return study_of_file(
            load_plugins().registry,
            own.data,
            parameters=own.parameters,
            target=own.target,
            task=own.task,
            models=names(models),
            overrides=overrides or (),
            profile=profile,
        )
    if study is None:
        raise StudyError("which study? Give its file, studies/quickstart.toml, or data of your own: --data FILE")
    kept = runs / study / STUDY_FILE
    path = kept if not study.suffix and not study.exists() and kept.exists() else study
    return read_study_file(path, overrides or (), models=names(models), tasks=names(tasks), profile=profile)


def names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def load_with_messages() -> Loaded:
    """Installed plugins; a broken one costs one line on standard error."""
    loaded = load_plugins()
    for message in loaded.registry.messages:
        typer.echo(f"harness: {message}", err=True)
    return loaded


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


def say_notes(console: Console, cells: Iterable[CellPlan]) -> None:
    """What the tasks have to say of their data."""
    for label, task in {plan.cell.task: plan.task for plan in cells}.items():
        for note in task.notes():
            console.print(f"{label}: {note}", markup=False, highlight=False, soft_wrap=True)


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
