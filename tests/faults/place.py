"""The place where faults are injected: the real command in separate processes, and its results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from harness.execution.runner import Runner
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.folder import MANIFEST
from harness.ledger.journal import TrialEntry, read_study
from harness.plugin.loader import load_plugins
from harness.study.file import read_study_file
from harness.study.plan import make_plan
from harness.tracking import run_data

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
COMMAND = [sys.executable, "-c", "from harness.cli.main import main; main()"]
TIMEOUT_SECONDS = 360.0
SLOW_TOYS = {"TOY_PAUSE_SECONDS": "0.01"}
"""Environment for faults in the middle of a trial: even on a fast machine, 600 updates take at least 6 s."""

STUDY = """
name = "toys"
models = {models}

[[tasks]]
name = "toy-sum"
parameters = 161

[budget]
trials = {trials}
repetitions = {repetitions}
tolerance = 0.1

[training]
updates = {updates}
batch_size = 8
evaluations = {evaluations}

[resources]
checkpoint_seconds = {checkpoint_seconds}
hang_seconds = {hang_seconds}
"""

KILLER = '''
import os
import signal
from harness import hookimpl

LEFT = [int(os.environ.get("KILL_AT", "-1"))]


def event():
    """Kill the driver, in which hooks run, at the event with this number, from 0."""
    if LEFT[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    LEFT[0] -= 1


@hookimpl
def harness_trial_started():
    event()


@hookimpl
def harness_trial_reported():
    event()


@hookimpl
def harness_trial_paused():
    event()


@hookimpl
def harness_trial_finished():
    event()


@hookimpl
def harness_study_finished():
    event()
'''


def install(site: Path, name: str, code: str, version: str = "0.3") -> Path:
    """Write code as an installed distribution with one entry point, below a folder of the Python path.  Return it."""
    module = name.replace("-", "_")
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[harness]\n{name} = {module}\n")
    (site / f"{module}.py").write_text(code)
    return site


def install_toys(site: Path) -> Path:
    """Install the toys and the plugin that kills the driver."""
    install(site, "seqharness-toys", (TESTS / "support" / "toys.py").read_text())
    return install(site, "seqharness-killer", KILLER)


def study_text(**changes: object) -> str:
    """Return a small study file with some of its values changed."""
    defaults = {
        "models": '["toy-ema", "toy-stack"]',
        "trials": 2,
        "repetitions": 2,
        "updates": 40,
        "evaluations": 4,
        "checkpoint_seconds": 0.2,
        "hang_seconds": 1800,
    }
    return STUDY.format(**{**defaults, **changes})


@dataclass
class Place:
    """A folder with a study, and the folder of its plugins."""

    folder: Path
    site: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(self.site), str(ROOT), os.environ.get("PYTHONPATH", "")]))
        disabled = "seqharness-models,seqharness-modern,seqharness-tasks"
        return {
            **os.environ,
            "PYTHONPATH": path,
            "HARNESS_DISABLE_PLUGINS": disabled,
            "MLFLOW_TRACKING_URI": self.uri,
        } | more

    def write(self, name: str = "toys.toml", **changes: object) -> Path:
        path = self.folder / name
        path.write_text(study_text(**changes))
        return path

    def start(self, *arguments: str, before: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
        """Start the command in a separate process, with its output in pipes.  before: command line to put before it."""
        process = subprocess.Popen(
            [*before, *COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run the command to its end.  Return exit code, standard output and standard error."""
        return ended(self.start(*arguments, **environment))

    def entries(self, name: str = "toys", runs: str = "runs") -> tuple[TrialEntry, ...]:
        folder = self.folder / runs / name
        return read_study(folder).entries() if (folder / MANIFEST).exists() else ()

    def by_key(self, name: str = "toys", runs: str = "runs") -> dict[str, object]:
        """Return by key what must not depend on faults."""
        return {entry.trial.key.partition("/")[2]: lasting(entry) for entry in self.entries(name, runs)}

    def undisturbed(self, study: str = "toys.toml") -> dict[str, object]:
        """Run the study in this process without faults.  Return by key what must not depend on faults."""
        loaded = load_plugins(PathDistribution(next(self.site.glob("*toys*-info"))).entry_points)
        runner = Runner(
            make_plan(read_study_file(self.folder / study), loaded.registry), loaded, self.folder / "undisturbed"
        )
        runner.run(lambda source: run_serial(source, Worker(runner.folder, loaded.registry)))
        return self.by_key(runs="undisturbed")

    def stored(self, uri: str | None = None, name: str = "toys") -> dict[str, Any]:  # runs of MLflow, untyped
        """Return MLflow's runs of trials by key.  Fails if two runs have the same key."""
        client = MlflowClient(uri or self.uri)
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], f"tags.`{run_data.KIND}` = 'trial'", max_results=1000)
        keys = Counter(run.data.tags[run_data.KEY] for run in runs)
        assert all(count == 1 for count in keys.values()), f"runs stored twice: {keys}"
        return {run.data.tags[run_data.KEY].partition("/")[2]: run for run in runs}

    def workers(self, driver: subprocess.Popen[str]) -> list[psutil.Process]:
        """Return the worker processes of a driver on this machine."""
        return [
            process
            for process in children(driver.pid)
            if _name(process).startswith(("ray::ResourceTrainable", "ray::RayWorker"))
        ]

    def end_all(self) -> None:
        """End every process that was started here."""
        for process in self.processes:
            for child in children(process.pid):
                kill(child)
            if process.poll() is None:
                process.kill()
            process.communicate()


def lasting(entry: TrialEntry) -> object:
    """Return what must not depend on faults: all but times, nodes, attempts and the study's random id."""
    assert entry.result is not None, f"{entry.trial.key} has not ended"
    trial = entry.trial.model_dump(mode="json", exclude={"study", "winner", "resources"})
    winner = entry.trial.winner.partition("/")[2] if entry.trial.winner else None
    result = entry.result
    curve = [(point.update, point.train_loss, point.gradient_norm, point.metrics) for point in entry.points]
    scores = (result.outcome, result.score, result.metrics, result.updates, result.best_update, result.test_opened)
    return trial, winner, curve, scores


def trains(entry: TrialEntry, points: int = 0) -> bool:
    """Return whether a trial has reported more points than `points` and has not ended."""
    return len(entry.points) > points and entry.result is None


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process.  Return exit code, standard output and standard error.  Fails if it prints a traceback."""
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition holds.  Fails if the process ends before, or at the time limit."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not reached within {TIMEOUT_SECONDS:g} s"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()[1]}")
        time.sleep(0.05)


def children(pid: int) -> list[psutil.Process]:
    """Return all processes below a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> bool:
    """Send a signal to a process.  Return whether the process existed."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def kill_driver(process: subprocess.Popen[str]) -> None:
    """Kill the driver alone, as a machine that is out of memory does; its child processes end by themselves."""
    process.kill()
    process.wait()


def _name(process: psutil.Process) -> str:
    try:
        return process.name() if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""


def mount_of(size: str, folder: Path) -> Callable[[], None]:
    """Mount a disk of this size at a folder.  Return a function that unmounts it.  Skips if that is not permitted."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")

    def unmount() -> None:
        subprocess.run(["umount", "-l", str(folder)], check=True)

    return unmount


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
