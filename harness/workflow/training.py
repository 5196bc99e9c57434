"""Train what a study lacks: runner, executor, MLflow and progress joined."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

from rich.console import Console

from harness.errors import StudyError, TrackingError
from harness.execution.runner import Execute, Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.ledger.ledger import Ledger
from harness.plugin.local import NO_CLASSES, LocalClasses
from harness.tracking.client import prepare_store, store_uri
from harness.tracking.listener import TrackingListener
from harness.workflow.progress import progress
from harness.workflow.study_log import logger

DRAIN_SECONDS = 60.0
"""Maximum time that the end of a run waits for MLflow, in seconds."""

INTERRUPTED_SECONDS = 5.0
"""The same after Ctrl-C."""


_said: WeakKeyDictionary[Console, set[str]] = WeakKeyDictionary()
"""Console → messages that `say_once` has printed on it."""


@dataclass(frozen=True)
class Place:
    """Where a study is trained, and where its results go."""

    runs: Path = Path("runs")
    """Folder that holds one folder per study; on a cluster, a path that driver and workers share."""
    executor: Literal["ray", "serial"] = "ray"
    """serial: one trial after another in this process."""
    address: str | None = None
    """Of a Ray cluster; None: workers on this machine."""
    tracking_uri: str | None = None
    """Of MLflow; None: MLFLOW_TRACKING_URI, or the database `mlflow.db` in the current folder."""
    log_models: bool = True
    """Whether the trained models become MLflow models."""

    def __post_init__(self) -> None:
        if self.executor not in ("ray", "serial"):
            raise StudyError(f"executor={self.executor!r}: give 'ray' or 'serial'")
        if self.executor == "serial" and self.address is not None:
            raise StudyError(f"address={self.address!r} is that of a Ray cluster; leave it out, or give executor='ray'")

    @property
    def store(self) -> str:
        return self.tracking_uri or store_uri(Path.cwd())


@dataclass(frozen=True)
class Trained:
    """How the training of a study ended."""

    outcome: StudyOutcome | None
    """None if the training was interrupted."""
    error: str | None
    """Why MLflow lacks some of the results; None if it has all."""
    tracking: TrackingListener


def checked(runner: Runner, console: Console) -> Runner:
    """Check the study before anything is written, and return the runner."""
    if platform.system() == "Windows":
        say(console, "Windows is not tested; run inside WSL")
    runner.check()
    return runner


def reach_store(place: Place, study: str, console: Console, *, begun: bool) -> None:
    """Check that MLflow is reachable and accepts the study.

    If it is not, a study that has started goes on.  For a new study TrackingError is raised, so that a mistake in the
    URI does not show only after days of training.
    """
    try:
        prepare_store(place.store, study)
    except TrackingError as error:
        if not begun:
            raise
        say_once(console, f"{error}; training continues")


def train(
    runner: Runner,
    place: Place,
    console: Console,
    local: LocalClasses = NO_CLASSES,
    *,
    notes: Sequence[str] = (),
) -> Trained:
    """Train what the study lacks, send the results to MLflow, show the progress on the console and log it.

    local: models and tasks of the study that no package provides.  notes: lines to print once the study is this run's.
    """
    tracking = TrackingListener(place.store, lambda text: say_once(console, text))
    patience = DRAIN_SECONDS
    execute = _executor(runner, place, local, lambda text: say(console, text))
    try:
        with progress(console, runner.plan) as shown:

            def listeners(ledger: Ledger) -> list[object]:
                _log_start(runner, place)
                for note in notes:
                    console.print(note, markup=False, highlight=False, soft_wrap=True)
                return [tracking.begin(ledger), shown.begin(ledger.entries())]

            outcome = runner.run(execute, listeners)
    except KeyboardInterrupt:
        outcome, patience = None, INTERRUPTED_SECONDS
    finally:
        error = tracking.close(patience)
        for message in runner.messages:
            logger.warning("%s", message)
            console.print(f"note: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    logger.info("%s", _end(outcome))
    if outcome is not None and error is not None:
        say(console, f"{error}; send the rest later: harness sync {runner.study.name}")
    return Trained(outcome, error, tracking)


def _log_start(runner: Runner, place: Place) -> None:
    where = place.executor if place.address is None else f"{place.executor} at {place.address}"
    logger.info(
        "seqharness %s, study %s (%s), %d trials planned, executor %s, MLflow %s",
        version("seqharness"),
        runner.study.name,
        runner.study_id,
        runner.plan.trials(),
        where,
        place.store,
    )


def _end(outcome: StudyOutcome | None) -> str:
    if outcome is None:
        return "interrupted"
    return "; ".join([f"ended {'complete' if outcome.complete else 'incomplete'}", *outcome.failed])


def say(console: Console, text: str) -> None:
    """Print one message, unchanged and unwrapped, and log it."""
    logger.info("%s", text)
    console.print(f"harness: {text}", markup=False, highlight=False, soft_wrap=True)


def say_once(console: Console, text: str) -> None:
    """Print a message unless the console shows it already: a store that fails stays so in every round of a race."""
    said = _said.setdefault(console, set())
    if text not in said:
        said.add(text)
        say(console, text)


def _executor(runner: Runner, place: Place, local: LocalClasses, tell: Callable[[str], None]) -> Execute:
    if place.executor == "serial":
        return lambda source: run_serial(source, Worker(runner.folder, runner.loaded.registry))
    where = "on this machine" if place.address is None else f"at {place.address}"

    def on_ray(source: TrialSource) -> None:
        tell(f"starting Ray {where}; this takes some seconds")
        from harness.execution.ray_backend.tuner import RayExecutor  # Ray takes seconds to import

        executor = RayExecutor(place.address, local=local, messages=runner.messages)
        executor.run(source, runner.folder, runner.loaded.registry.plugins)

    return on_ray
