"""Crash traces of real worker processes, and what is read from them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.execution.crash_trace import classify_failure, read_trace, trace_path
from harness.execution.retry_policy import FailureKind

WORKER = """
import ctypes, os, sys, time
from pathlib import Path
from harness.execution.crash_trace import Recorder


def advance():
    if sys.argv[2] == "hang":
        while True:
            pass
    elif sys.argv[2] == "hang in C":
        ctypes.PyDLL(None).sleep(600)
    elif sys.argv[2] == "segfault":
        ctypes.string_at(0)
    elif sys.argv[2] == "abort":
        os.abort()
    elif sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
    elif sys.argv[2] == "exit":
        os._exit(3)


recorder = Recorder(Path(sys.argv[1]))
with recorder.watch(0.3):
    advance()
recorder.close()
time.sleep(0.5)
"""


def work(tmp_path: Path, what: str) -> tuple[int, tuple[str, str]]:
    """Return the exit code of a worker, and what its trace says."""
    path = trace_path(tmp_path / "trial", 1)
    done = subprocess.run([sys.executable, "-c", WORKER, str(path), what], capture_output=True, check=False, timeout=60)
    return done.returncode, read_trace(path, 0.3)


@pytest.mark.parametrize(
    ("what", "code", "reason"),
    [
        ("hang", 1, r"no progress for 0\.3 s \(<string>:\d+ in advance\)"),
        ("hang in C", 1, r"no progress for 0\.3 s \(<string>:\d+ in advance\)"),
        ("segfault", -signal.SIGSEGV, r"Segmentation fault \(__init__\.py:\d+ in string_at\)"),
        ("abort", -signal.SIGABRT, r"Aborted \(<string>:\d+ in advance\)"),
    ],
)
def test_worker_that_hangs_or_crashes_leaves_its_position(tmp_path: Path, what: str, code: int, reason: str) -> None:
    """`sleep` by ctypes.PyDLL keeps the interpreter's lock, as a loop in C does, so that no Python code can run."""
    exit_code, (kind, text) = work(tmp_path, what)
    assert (exit_code, kind) == (code, "crash")
    assert re.fullmatch(reason, text), text


@pytest.mark.parametrize(("what", "code"), [("killed", -9), ("exit", 3), ("nothing", 0)])
def test_worker_that_ends_without_a_trace_had_started_its_trial(tmp_path: Path, what: str, code: int) -> None:
    assert work(tmp_path, what) == (code, ("silent", ""))


def test_worker_that_never_started_its_trial_leaves_no_trace_file(tmp_path: Path) -> None:
    assert read_trace(trace_path(tmp_path, 1), 1800) == ("early", "")


DIED = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task."


@pytest.mark.parametrize(
    ("ray_error", "node_lost", "kind"),
    [
        (f"{DIED}\nThe worker was killed: ray.exceptions.OutOfMemoryError: 95 %", False, "memory"),
        (f"{DIED}\nThe actor died because its node has died. Node Id: ff", False, "node"),
        (DIED, True, "node"),
        ("ray.exceptions.RayTaskError(KeyError): ray::RayWorker.train()\nKeyError: 'x'", False, "crash"),
        (DIED, False, "early"),
    ],
)
def test_ray_s_error_text_is_classified(tmp_path: Path, ray_error: str, node_lost: bool, kind: FailureKind) -> None:
    classified, reason = classify_failure(ray_error, trace_path(tmp_path, 1), hang_seconds=9, node_lost=node_lost)
    assert classified == kind
    assert reason
    assert "\n" not in reason


def test_trace_is_preferred_to_ray_s_error_text(tmp_path: Path) -> None:
    trace_path(tmp_path, 1).write_text(
        'Timeout (0:00:09)!\nThread 0x1 (most recent call first):\n  File "/a/b.py", line 7 in f\n'
    )
    failure = classify_failure(DIED, trace_path(tmp_path, 1), hang_seconds=9, node_lost=False)
    assert failure == ("crash", "no progress for 9 s (b.py:7 in f)")
