"""A study that is struck at random for minutes, and set beside one that is not.

    python -m tests.faults.soak [--minutes 10] [--seed 0] [--trials 26] [--updates 200]

On a machine where the study is over before the time is, give more --updates.

A study of short trials runs on Ray on this machine and logs to an MLflow server.  Every few seconds a process is
killed (SIGKILL): the driver, a worker or the server; the driver is started again by the same command, the server on
the same store.  When the time is over the study may finish.  Then ledger, MLflow and table are compared by key with
an undisturbed run of the same study, one trial after another in one process.  Exit code 1 where anything differs.
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

NAME = "soak"
STUDY = f"""
name = "{NAME}"
models = ["tcn", "gru"]

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
"""Columns of the table that no two runs share."""
RESTARTS_IN_PEACE = 5
WEIGHTS = {"driver": 1, "worker": 3, "server": 2}
"""How often each is struck: a driver takes longest to start, and trains nothing while it does."""
PAUSE_SECONDS = (2.0, 8.0)
"""Between two strikes."""
DRIVER = [sys.executable, "-c", "from harness.cli.main import main; main()", "run", f"{NAME}.toml"]


@dataclass
class Tally:
    """What was struck, and in which state the study was."""

    struck: Counter[str] = field(default_factory=Counter)
    between: int = 0
    """Strikes with trials both finished and running."""
    resumes: int = 0
    """How often the command was started again."""


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

    def _start_driver(self) -> subprocess.Popen[bytes]:
        tracked = {**os.environ, "MLFLOW_TRACKING_URI": self.served}
        return subprocess.Popen(DRIVER, cwd=self.folder, stdout=self.log, stderr=self.log, env=tracked)

    def _start_undisturbed(self) -> subprocess.Popen[bytes]:
        apart = {**os.environ, "MLFLOW_TRACKING_URI": f"{self.uri}.undisturbed"}
        log = (self.folder / "undisturbed.log").open("w")
        command = [*DRIVER, "--serial", "--runs", "undisturbed"]
        return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=apart)

    def entries(self) -> tuple[TrialEntry, ...]:
        folder = self.folder / "runs" / NAME
        return read_study(folder).entries() if (folder / MANIFEST).exists() else ()

    def keep_going(self) -> None:
        """Both processes are there, whatever befell them; a driver that has finished is left in peace."""
        if self.server.poll() is not None:
            self.server = self._start_server()
        if self.driver.poll() is not None and self.driver.returncode != 0:
            self.driver = self._start_driver()
            self.tally.resumes += 1

    def strike(self) -> None:
        entries = self.entries()
        finished = sum(entry.result is not None for entry in entries)
        running = sum(entry.result is None for entry in entries)
        workers = self._workers()
        victims = {
            "driver": [self.driver.pid] if workers else [],
            "worker": workers,
            "server": self._family(self.server) if entries and _answers(self.port) else [],
        }
        # What is still starting is not struck, nor the server before the study has begun: that would be refused.
        there = [what for what in WEIGHTS if victims[what]]
        if not there:
            return
        (what,) = self.rng.choices(there, [WEIGHTS[what] for what in there])
        for pid in victims[what] if what == "server" else [self.rng.choice(victims[what])]:
            _kill(pid)
        self.tally.struck[what] += 1
        self.tally.between += bool(finished and running and workers)
        print(f"{time.strftime('%X')}  {what:<7} {finished:>3} finished {running:>2} running", flush=True)

    def _workers(self) -> list[int]:
        """Processes that train; Tune calls the class otherwise than we do."""
        names = ("ray::ResourceTrainable", "ray::RayWorker")
        return [pid for pid, name in _below(self.driver.pid) if name.startswith(names)]

    def _family(self, parent: subprocess.Popen[bytes]) -> list[int]:
        return [parent.pid, *(pid for pid, _ in _below(parent.pid))]

    def end(self) -> None:
        """The study runs to its end in peace."""
        for _ in range(RESTARTS_IN_PEACE):
            self.keep_going()
            if self.driver.wait() == 0:
                return
        raise RuntimeError(f"{self.folder}: in peace the study ends with exit code {self.driver.returncode}")

    def close(self) -> None:
        for process in (self.driver, self.server, self.undisturbed):
            if process.poll() is None:
                for pid in self._family(process):
                    _kill(pid)
            process.wait()
        self.log.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the strikes")
    parser.add_argument("--trials", type=int, default=26, help="search trials of each of the two cells")
    parser.add_argument("--updates", type=int, default=200, help="of each trial")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seqharness-soak-") as name:
        folder = Path(name)
        (folder / f"{NAME}.toml").write_text(STUDY.format(trials=given.trials, updates=given.updates))
        soak = Soak(folder, random.Random(given.seed))
        try:
            struck_for(soak, given.minutes * 60)
            soak.end()
            return compare(soak)
        finally:
            soak.close()


def struck_for(soak: Soak, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and soak.driver.poll() != 0:
        time.sleep(soak.rng.uniform(*PAUSE_SECONDS))
        soak.keep_going()
        soak.strike()
    tally = soak.tally
    print(f"{sum(entry.result is not None for entry in soak.entries())} trials had ended when the strikes did")
    print(f"strikes: {dict(tally.struck)}, {tally.between} with trials both finished and running")
    print(f"the command was started again {tally.resumes} times", flush=True)


def compare(soak: Soak) -> int:
    """Ledger, MLflow and table of the struck study beside those of an undisturbed one; how many of them differ."""
    assert soak.undisturbed.wait() == 0
    here = read_study(soak.folder / "undisturbed" / NAME)
    expected, stored = by_key(here.entries()), read_store(soak.served, NAME)
    curves = {entry.trial.key.partition("/")[2]: curve(entry) for entry in here.entries()}
    rows, others = table(stored), table(StoredStudy(here.manifest, here.entries(), SyncMark.of(here.entries())))
    alike = {
        "ledger": by_key(soak.entries()) == expected,
        "curves": {entry.trial.key.partition("/")[2]: curve(entry) for entry in soak.entries()} == curves,
        "MLflow": by_key(stored.entries) == expected,
        "table": rows == others,
    }
    print(f"{len(expected)} trials, retried {sum(entry.attempt - 1 for entry in soak.entries())} times")
    for name, same in alike.items():
        print(f"{name}: {'agrees by key with the undisturbed run' if same else 'DIFFERS'}")
    differing = {name for row, other in zip(rows, others, strict=False) for name in row if row[name] != other.get(name)}
    if differing:
        print(f"columns of the table that differ: {', '.join(sorted(differing))}")
    return sum(not same for same in alike.values())


def by_key(entries: Sequence[TrialEntry]) -> dict[str, object]:
    """Trials by key, with what must not depend on what befell them: all but times, places and the study's random id."""
    return {entry.trial.key.partition("/")[2]: _lasting(entry) for entry in entries}


def _lasting(entry: TrialEntry) -> object:
    assert entry.result is not None
    trial = entry.trial.model_dump(mode="json", exclude={"study", "winner", "resources"})
    result = entry.result
    scores = (result.outcome, result.score, result.metrics, result.updates, result.best_update, result.test_opened)
    return trial, (entry.trial.winner or "").partition("/")[2], scores


def curve(entry: TrialEntry) -> list[tuple[int, float, dict[str, float]]]:
    return [(point.update, point.train_loss, point.metrics) for point in entry.points]


def table(stored: StoredStudy) -> list[dict[str, str]]:
    """The rows of the table, without what trials cost and the study's random id."""
    rows = csv.DictReader(io.StringIO(to_csv(build_report(stored))))
    return [{name: value for name, value in row.items() if name not in COSTS} for row in rows]


def _below(pid: int) -> list[tuple[int, str]]:
    """The processes that one has started, and those have, by id and name."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append((process.pid, process.name()))
    return found


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
