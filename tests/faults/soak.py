"""Kill processes of a study at random for some minutes, and compare the study with an undisturbed one.

    python -m tests.faults.soak [--minutes 10] [--seed 0] [--trials 6] [--updates 200]

If the study finishes before the time is over, give more --updates.

A study of short trials runs on Ray on this machine and logs to an MLflow server.  Every few seconds a process is
killed (SIGKILL): the driver, a worker, Ray's raylet or the server.  The driver is restarted with the same command, the
server on the same store.  Some of the models change settings of their worker's process or try to end it.  When the time
is over, the study may finish.  Then ledger, MLflow and table are compared by key with an undisturbed run of the same
study, one trial after another in one process.  The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.analysis.stored_study import StoredStudy, SyncMark
from harness.ledger.folder import MANIFEST
from harness.ledger.journal import TrialEntry, read_study
from harness.report.report import build_report
from harness.report.writers.tabular import to_csv
from harness.tracking.client import prepare_store
from harness.tracking.reader import read_store
from tests.faults.place import ROOT, install_toys

NAME = "soak"
BAD_HABITS = ("double", "environment", "folder", "signals", "system-exit", "exit")
"""Faults of models that take part: `tests.support.toys.commit`."""
SPOILERS = ", ".join(
    f'{{{{ name = "toy-ema", as = "{fault}", space = {{{{ fault = "{fault}" }}}} }}}}' for fault in BAD_HABITS
)
STUDY = f"""
name = "{NAME}"
models = ["tcn", {SPOILERS}, "gru"]

[[tasks]]
name = "copy-memory"
length = 5
sequences = 320
parameters = 3000

[budget]
trials = {{trials}}
repetitions = 5
tolerance = 0.1

[training]
updates = {{updates}}
batch_size = 32
evaluations = 20

[resources]
checkpoint_seconds = 0.5
"""
COSTS = {"study_id", "seconds", "peak_bytes", "update_seconds"}
"""Columns of the table that differ between any two runs."""
ENDED = (0, 1)
"""Exit codes of a study that has ended; 1: some cells failed, as those of models that always exit."""
RESTARTS_AFTERWARDS = 5
"""Restarts of the driver after the last kill."""
WEIGHTS = {"driver": 1, "worker": 3, "server": 2, "raylet": 1}
"""Relative frequency of kills.  A driver takes longest to start, and trains nothing meanwhile."""
PAUSE_SECONDS = (2.0, 8.0)
"""Minimum and maximum time between two kills."""
DRIVER = [sys.executable, "-c", "from harness.cli.main import main; main()", "run", f"{NAME}.toml"]


@dataclass
class Tally:
    """How often each process was killed, and in which state of the study."""

    kills: Counter[str] = field(default_factory=Counter)
    between: int = 0
    """Kills while some trials were finished and others running."""
    resumes: int = 0
    """How often the command was run again."""


class Soak:
    """The study's folder, its driver and its MLflow server."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.tally = Tally()
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.port = _free_port()
        self.served = f"http://127.0.0.1:{self.port}"
        self.log = (folder / "driver.log").open("w")
        self.site = install_toys(folder / "site")
        prepare_store(self.uri)
        self.undisturbed = self._start_undisturbed()
        self.server = self._start_server()
        while not _answers(self.port):
            time.sleep(1)
        self.driver = self._start_driver()

    def _start_server(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.uri, "--workers", "1"]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--artifacts-destination", f"{self.folder}/artifacts"]
        quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        log = (self.folder / "server.log").open("a")
        return subprocess.Popen([*command, *place], stdout=log, stderr=log, env=quiet)

    def _environment(self) -> dict[str, str]:
        """Return the environment, with the toys installed."""
        path = [str(self.site), str(ROOT), os.environ.get("PYTHONPATH", "")]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def _start_driver(self) -> subprocess.Popen[bytes]:
        tracked = {**self._environment(), "MLFLOW_TRACKING_URI": self.served}
        return subprocess.Popen(DRIVER, cwd=self.folder, stdout=self.log, stderr=self.log, env=tracked)

    def _start_undisturbed(self) -> subprocess.Popen[bytes]:
        apart = {**self._environment(), "MLFLOW_TRACKING_URI": f"{self.uri}.undisturbed"}
        log = (self.folder / "undisturbed.log").open("a")
        command = [*DRIVER, "--serial", "--runs", "undisturbed"]
        return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=apart)

    def entries(self) -> tuple[TrialEntry, ...]:
        folder = self.folder / "runs" / NAME
        return read_study(folder).entries() if (folder / MANIFEST).exists() else ()

    def keep_going(self) -> None:
        """Restart the server and the driver if they were killed.  A driver that has finished is not restarted."""
        if self.server.poll() is not None:
            self.server = self._start_server()
        if self.driver.poll() not in (None, *ENDED):
            self.driver = self._start_driver()
            self.tally.resumes += 1

    def kill_at_random(self) -> None:
        """Kill one process that has started, if there is any."""
        entries = self.entries()
        finished = sum(entry.result is not None for entry in entries)
        running = sum(entry.result is None for entry in entries)
        workers = self._workers()
        victims = {
            "driver": [self.driver.pid] if workers else [],
            "worker": workers,
            "server": self._with_children(self.server) if entries and _answers(self.port) else [],
            "raylet": self._named("raylet") if workers else [],
        }
        # Processes that are still starting are spared, and so is the server before the study has started: without a
        # store a new study is rejected.
        candidates = [name for name in WEIGHTS if victims[name]]
        if not candidates:
            return
        (victim,) = self.rng.choices(candidates, [WEIGHTS[name] for name in candidates])
        for pid in victims[victim] if victim == "server" else [self.rng.choice(victims[victim])]:
            _kill(pid)
        self.tally.kills[victim] += 1
        self.tally.between += bool(finished and running and workers)
        print(f"{time.strftime('%X')}  {victim:<7} {finished:>3} finished {running:>2} running", flush=True)

    def _workers(self) -> list[int]:
        """Return the ids of the worker processes.  Tune's name for the class differs from ours."""
        return self._named("ray::ResourceTrainable", "ray::RayWorker")

    def _named(self, *names: str) -> list[int]:
        return [pid for pid, name in _descendants(self.driver.pid) if name.startswith(names)]

    def _with_children(self, parent: subprocess.Popen[bytes]) -> list[int]:
        return [parent.pid, *(pid for pid, _ in _descendants(parent.pid))]

    def end(self) -> None:
        """Let both studies finish without further kills.  A model that ends its process ends a study in one process."""
        while self.undisturbed.wait() not in ENDED:
            self.undisturbed = self._start_undisturbed()
        for _ in range(RESTARTS_AFTERWARDS):
            self.keep_going()
            if self.driver.wait() in ENDED:
                return
        raise RuntimeError(
            f"{self.folder}: without further kills the study ends with exit code {self.driver.returncode}"
        )

    def close(self) -> None:
        for process in (self.driver, self.server, self.undisturbed):
            if process.poll() is None:
                for pid in self._with_children(process):
                    _kill(pid)
            process.wait()
        self.log.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="seed of the kills")
    parser.add_argument("--trials", type=int, default=6, help="search trials of each of the eight cells")
    parser.add_argument("--updates", type=int, default=200, help="updates per trial")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seqharness-soak-") as name:
        folder = Path(name)
        (folder / f"{NAME}.toml").write_text(STUDY.format(trials=arguments.trials, updates=arguments.updates))
        soak = Soak(folder, random.Random(arguments.seed))
        try:
            disturb(soak, arguments.minutes * 60)
            soak.end()
            return compare(soak)
        finally:
            soak.close()


def disturb(soak: Soak, seconds: float) -> None:
    """Kill processes for some time, or until the study has finished, and print how often."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and soak.driver.poll() not in ENDED:
        time.sleep(soak.rng.uniform(*PAUSE_SECONDS))
        soak.keep_going()
        soak.kill_at_random()
    tally = soak.tally
    print(f"{sum(entry.result is not None for entry in soak.entries())} trials had ended at the last kill")
    print(f"kills: {dict(tally.kills)}, {tally.between} with trials both finished and running")
    print(f"the command was run again {tally.resumes} times", flush=True)


def compare(soak: Soak) -> int:
    """Compare ledger, curves, MLflow and table with those of the undisturbed study.  Return how many differ."""
    undisturbed = read_study(soak.folder / "undisturbed" / NAME)
    expected, stored = by_key(undisturbed.entries()), read_store(soak.served, NAME)
    curves = {entry.trial.key.partition("/")[2]: curve(entry) for entry in undisturbed.entries()}
    entries = undisturbed.entries()
    rows, expected_rows = table(stored), table(StoredStudy(undisturbed.manifest, entries, SyncMark.of(entries)))
    equal = {
        "ledger": by_key(soak.entries()) == expected,
        "curves": {entry.trial.key.partition("/")[2]: curve(entry) for entry in soak.entries()} == curves,
        "MLflow": by_key(stored.entries) == expected,
        "table": rows == expected_rows,
    }
    print(f"{len(expected)} trials, retried {sum(entry.attempt - 1 for entry in soak.entries())} times")
    for name, same in equal.items():
        print(f"{name}: {'equals the undisturbed run by key' if same else 'DIFFERS'}")
    pairs = zip(rows, expected_rows, strict=False)
    differing = {name for row, expected_row in pairs for name in row if row[name] != expected_row.get(name)}
    if differing:
        print(f"columns of the table that differ: {', '.join(sorted(differing))}")
    return sum(not same for same in equal.values())


def by_key(entries: Sequence[TrialEntry]) -> dict[str, object]:
    """Return by key what must not depend on kills: all but times, nodes and the study's random id."""
    return {entry.trial.key.partition("/")[2]: _reproducible(entry) for entry in entries}


def _reproducible(entry: TrialEntry) -> object:
    assert entry.result is not None
    trial = entry.trial.model_dump(mode="json", exclude={"study", "winner", "resources"})
    result = entry.result
    scores = (result.outcome, result.score, result.metrics, result.updates, result.best_update, result.test_opened)
    return trial, (entry.trial.winner or "").partition("/")[2], scores


def curve(entry: TrialEntry) -> list[tuple[int, float, dict[str, float]]]:
    """Return update, training loss and validation metrics of each point."""
    return [(point.update, point.train_loss, point.metrics) for point in entry.points]


def table(stored: StoredStudy) -> list[dict[str, str]]:
    """Return the rows of the table, without the costs of trials and the study's random id."""
    rows = csv.DictReader(io.StringIO(to_csv(build_report(stored))))
    return [{name: value for name, value in row.items() if name not in COSTS} for row in rows]


def _descendants(pid: int) -> list[tuple[int, str]]:
    """Return id and name of all processes below a process."""
    processes = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                processes.append((process.pid, process.name()))
    return processes


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main())
