"""Compare `harness run` with the scripts that users of Ray Tune and of Optuna write: time, and what a kill loses.

    python benchmarks/peers.py [harness ray optuna] [--save FILE]

Each runs the same forty trials (same model, data and updates) with two workers and logs them to MLflow on SQLite.
wall, cpu: of the command with all its processes.  overhead: wall time per trial minus training time per trial and
worker.  lost: trials that had ended before kill -9 of all processes, and that the same command then trained again.
The command is killed once half of the trials have ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.errors import LedgerError
from harness.ledger.journal import read_study
from measure import environment
from peer_scripts import BATCH_SIZE, EVALUATIONS, LENGTH, SEQUENCES, TRIALS, UPDATES, WORKERS
from scale import Json, markdown

PYTHON = sys.executable
REPETITIONS = 3
POLL_SECONDS = 0.2
STUDY = f"""
name = "peers"
models = [{{ name = "gru", space = {{ layers = 1 }} }}]
tasks = [{{ name = "adding", length = {LENGTH}, sequences = {SEQUENCES}, parameters = 3000 }}]

[budget]
trials = {TRIALS - REPETITIONS}
repetitions = {REPETITIONS}

[training]
updates = {UPDATES}
batch_size = {BATCH_SIZE}
evaluations = {EVALUATIONS}
"""


def harness_ended(folder: Path) -> list[float]:
    """Return the training seconds of the trials that have ended."""
    try:
        entries = read_study(folder / "runs" / "peers").entries()
    except LedgerError:
        return []
    return [entry.result.train_seconds for entry in entries if entry.result is not None]


def script_ended(folder: Path) -> list[float]:
    """Return the training seconds of every training of a script, those after a kill included."""
    path = folder / "trained.log"
    return [float(line) for line in path.read_text().split()] if path.exists() else []


@dataclass(frozen=True)
class Peer:
    """A command that runs the trials in a folder."""

    command: tuple[str, ...]
    ended: Callable[[Path], list[float]]


SCRIPT = str(Path(__file__).with_name("peer_scripts.py"))
PEERS = {
    "harness": Peer((str(Path(PYTHON).with_name("harness")), "run", "peers.toml", "--no-log-models"), harness_ended),
    "ray": Peer((PYTHON, SCRIPT, "ray", "."), script_ended),
    "optuna": Peer((PYTHON, SCRIPT, "optuna", "."), script_ended),
}


@dataclass
class Watched:
    """A running command, and the CPU time of all its processes so far."""

    folder: Path
    command: tuple[str, ...]
    _seconds: dict[psutil.Process, float] = field(default_factory=dict)

    def run(self, stop: Callable[[], bool]) -> int | None:
        """Run the command to its end, or until `stop`; then all its processes are killed.  Return its exit code."""
        with (self.folder / "output.log").open("ab") as output:
            process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=output, stderr=output, start_new_session=True
            )
            root = psutil.Process(process.pid)
            while process.poll() is None:
                self._count(root)
                if stop():
                    self._kill(root)
                    process.wait()
                    return None
                time.sleep(POLL_SECONDS)
        return process.returncode

    def cpu_seconds(self) -> float:
        return sum(self._seconds.values())

    def _count(self, root: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._seconds[process] = times.user + times.system

    def _kill(self, root: psutil.Process) -> None:
        """Kill the command and every process that it has started."""
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)


def measure(name: str) -> Json:
    """Run a peer once to its end, and once with a kill."""
    peer = PEERS[name]
    with _folder() as folder:
        watched, begun = Watched(folder, peer.command), time.monotonic()
        _check(watched.run(lambda: False), folder)
        wall = time.monotonic() - begun
        seconds = peer.ended(folder)
    with _folder() as folder:
        Watched(folder, peer.command).run(lambda: len(peer.ended(folder)) >= TRIALS // 2)
        before = len(peer.ended(folder))
        unchanged = _results(folder)
        _check(Watched(folder, peer.command).run(lambda: False), folder)
        after = _results(folder)
        again = len(peer.ended(folder)) - before - (TRIALS - before)
        lost = sum(after.get(key) != ended for key, ended in unchanged.items()) if name == "harness" else again
    return {
        "command": name,
        "trials": len(seconds),
        "wall (s)": wall,
        "cpu (s)": watched.cpu_seconds(),
        "training (s)": sum(seconds),
        "overhead (s/trial)": (wall - sum(seconds) / WORKERS) / TRIALS,
        "ended before the kill": before,
        "lost": lost,
        "load": os.getloadavg()[0],
    }


def _results(folder: Path) -> dict[str, float]:
    """Return key → end of each trial in the ledger; empty without one."""
    try:
        entries = read_study(folder / "runs" / "peers").entries()
    except LedgerError:
        return {}
    return {entry.trial.key: entry.result.ended for entry in entries if entry.result is not None}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        (Path(name) / "peers.toml").write_text(STUDY)
        yield Path(name)


def _check(code: int | None, folder: Path) -> None:
    if code != 0:
        raise SystemExit(f"exit code {code}\n{(folder / 'output.log').read_text()[-3000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", metavar="COMMAND", help=f"of {', '.join(PEERS)}; all unless given")
    parser.add_argument("--save", type=Path, metavar="FILE", help="JSON file for the table")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.peers) - set(PEERS))
    if unknown:
        parser.error(f"no command {', '.join(unknown)}; there are {', '.join(PEERS)}")
    facts = environment("ray", "optuna", "mlflow")
    rows = []
    for name in arguments.peers or PEERS:
        rows.append(measure(name))
        print(rows[-1], file=sys.stderr, flush=True)
    print(f"{'; '.join(f'{key}: {value}' for key, value in facts.items())}\n\n{markdown(rows)}")
    if arguments.save is not None:
        arguments.save.write_text(json.dumps([{**row, "environment": facts} for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
