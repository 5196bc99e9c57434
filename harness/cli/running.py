"""`harness run` and `harness train`."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Sequence, Set
from pathlib import Path

import typer
from rich.console import Console

from harness.cli.progress import progress
from harness.errors import StudyError, TrackingError, did_you_mean
from harness.hookspecs import hookimpl
from harness.ledger import Ledger
from harness.plan import make_plan
from harness.plugins import Loaded, load_plugins
from harness.records import Point, Trial, TrialResult
from harness.replay import Replay, Tracker, start_replay
from harness.report import build_report, to_markdown
from harness.run import Execute, Outcome, Runner
from harness.serial import run_serial
from harness.space import cell_space
from harness.study import Study, TrainingSection, parse_assignment, parse_study, read_study_file
from harness.tracking import prepare_store, read_store, store_uri
from harness.trial import Worker

DRAIN_SECONDS = 60.0
"""How long the end of a run waits for MLflow."""


def read(path: Path, overrides: Sequence[str] | None, models: str | None) -> Study:
    names = [name.strip() for name in models.split(",") if name.strip()] if models is not None else None
    return read_study_file(path, overrides or (), models=names)


def load_with_messages() -> Loaded:
    """Installed plugins; a broken one costs one line on standard error."""
    loaded = load_plugins()
    for message in loaded.registry.messages:
        typer.echo(f"harness: {message}", err=True)
    return loaded


def run(study: Study, *, runs: Path, fresh: bool, serial: bool, address: str | None) -> int:
    if platform.system() == "Windows":
        typer.echo("harness: on Windows run inside WSL; nothing here is tested outside it", err=True)
    loaded = load_with_messages()
    runner = Runner(study, loaded, runs, fresh=fresh)
    runner.check()
    uri = store_uri(Path.cwd())
    prepare_store(uri)
    console = Console(stderr=True)
    tracking = _Tracking(uri)
    execute = _executor(runner, loaded, serial=serial, address=address)
    try:
        with progress(console, runner.plan) as shown:
            outcome = runner.run(execute, lambda ledger: [tracking.begin(ledger), shown])
    except KeyboardInterrupt:
        outcome = None
    finally:
        error = tracking.close()
    for message in runner.messages:
        console.print(f"note: {message}", style="yellow", markup=False, highlight=False)
    if outcome is None:
        typer.echo("harness: interrupted; the same command continues", err=True)
        return 130
    return _close(outcome, error, study, uri)


class _Tracking:
    """Lets MLflow hear of every trial, from the thread that replays the ledger."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._replay: Replay | None = None

    def begin(self, ledger: Ledger) -> _Tracking:
        self._replay = start_replay(Tracker(ledger, self._uri))
        return self

    @hookimpl
    def harness_trial_started(self) -> None:
        self._wake()

    @hookimpl
    def harness_trial_reported(self) -> None:
        self._wake()

    @hookimpl
    def harness_trial_finished(self) -> None:
        self._wake()

    def _wake(self) -> None:
        if self._replay is not None:
            self._replay.wake()

    def close(self) -> str | None:
        """What could not be sent, in words, or None."""
        return self._replay.close(DRAIN_SECONDS) if self._replay is not None else None


def _executor(runner: Runner, loaded: Loaded, *, serial: bool, address: str | None) -> Execute:
    if serial:
        return lambda desk: run_serial(desk, Worker(runner.folder, loaded.registry))
    from harness.cluster import Cluster  # Ray takes seconds to import

    cluster = Cluster(address, messages=runner.messages)
    return lambda desk: cluster.run(desk, runner.folder, loaded.registry.plugins)


def _close(outcome: Outcome, error: str | None, study: Study, uri: str) -> int:
    """Print the table, and say what is missing of the study or of its record."""
    if error is not None:
        typer.echo(f"harness: {error}; send the rest later: harness sync {study.name}", err=True)
    try:
        typer.echo(to_markdown(build_report(read_store(uri, study.name, outcome.study_id))))
    except TrackingError as failure:
        typer.echo(f"harness: no table, since the store cannot be read: {failure}", err=True)
    for failure_text in outcome.failed:
        typer.echo(f"harness: FAILED {failure_text}", err=True)
    return 1 if error is not None or outcome.failed or not outcome.complete else 0


class _Echo:
    """Lets `harness train` keep no ledger and print the curve as it grows."""

    def __init__(self, metric: str) -> None:
        self._metric = metric

    def begin(self, trial: Trial) -> None:
        shown = ", ".join(f"{name}={value}" for name, value in trial.params.items())
        typer.echo(f"{trial.cell}: {trial.parameters:,} parameters, widths {_widths(trial.widths)}, {shown}")

    def point(self, point: Point) -> None:
        typer.echo(
            f"update {point.update:>7}  epoch {point.epoch:7.2f}  train loss {point.train_loss:.5g}  "
            f"validation {self._metric} {point.metrics[self._metric]:.5g}  {point.seconds:.1f} s"
        )

    def end(self, result: TrialResult) -> None:
        if result.outcome == "complete":
            typer.echo(f"best validation {self._metric} {result.score:.6g} at update {result.best_update}")
        else:
            typer.echo(f"{result.outcome}: {result.reason}", err=True)


def train(task: str, model: str, assignments: Sequence[str]) -> int:
    """One search trial, in a folder that is thrown away."""
    from harness.search import CellState

    loaded = load_with_messages()
    study = _study_of_one(loaded, task, model, assignments)
    plan = make_plan(study, loaded.registry).cells[0]
    state = CellState(plan, study_id="train", seed=study.search.seed, sampler="random")
    trial = state.search_trial(0)
    echo = _Echo(plan.facts.metric.name)
    echo.begin(trial)
    with tempfile.TemporaryDirectory(prefix="seqharness-") as folder:
        active = Worker(Path(folder), loaded.registry).start(trial, 1)
        while True:
            slice_ = active.advance(1.0)
            for point in slice_.points:
                echo.point(point)
            if slice_.result is not None:
                echo.end(slice_.result)
                return 0 if slice_.result.outcome == "complete" else 1


def _study_of_one(loaded: Loaded, task: str, model: str, assignments: Sequence[str]) -> Study:
    """Each assignment to the part of a study that knows its key."""
    kind = loaded.registry.task(task).value
    options = kind.model_fields
    signature = kind().signature()
    source = loaded.registry.model(model).value
    space = cell_space(kind(), source, signature, shared={}, own={}, where="train")
    homes: dict[str, Set[str]] = {
        "task": options.keys() | {"parameters"},
        "training": TrainingSection.model_fields.keys(),
        "shared": space.common.keys(),
        "own": space.architecture.keys(),
        "search": {"seed"},
    }
    known = sorted(key for keys in homes.values() for key in keys)
    parts: dict[str, dict[str, object]] = {name: {} for name in homes}
    for text in assignments:
        key, value = parse_assignment(text)
        if key not in known:
            raise StudyError(f"train: unknown key {key!r};{did_you_mean(key, known)} Known: {', '.join(known)}")
        home = next(name for name, keys in homes.items() if key in keys)
        parts[home][key] = "none" if value is None else value
    data = {
        "name": "train",
        "models": [{"name": model, "space": parts["own"]}],
        "tasks": [{"name": task, **parts["task"]}],
        "training": parts["training"] if "epochs" in parts["training"] else {"updates": 1000, **parts["training"]},
        "search": {**parts["search"], "space": parts["shared"]},
    }
    return parse_study(data, source="train")


def _widths(widths: tuple[int, ...]) -> str:
    return f"{widths[0]} x {len(widths)}" if len(set(widths)) == 1 else ",".join(map(str, widths))
