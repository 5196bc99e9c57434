from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.execution.crash_trace import death_of, last_words, trace_path
from harness.records import Death

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
    """Exit code of a worker, and its last words."""
    path = trace_path(tmp_path / "trial", 1)
    done = subprocess.run([sys.executable, "-c", WORKER, str(path), what], capture_output=True, check=False, timeout=60)
    return done.returncode, last_words(path, 0.3)


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("hang", 1, r"no progress for 0\.3 s \(<string>:\d+ in advance\)"),
        ("hang in C", 1, r"no progress for 0\.3 s \(<string>:\d+ in advance\)"),
        ("segfault", -signal.SIGSEGV, r"Segmentation fault \(__init__\.py:\d+ in string_at\)"),
        ("abort", -signal.SIGABRT, r"Aborted \(<string>:\d+ in advance\)"),
    ],
)
def test_a_worker_that_hangs_or_crashes_leaves_where_it_stood(tmp_path: Path, what: str, code: int, words: str) -> None:
    """`sleep` by ctypes.PyDLL keeps the interpreter's lock, as a loop in C does: no Python can run."""
    found, (death, text) = work(tmp_path, what)
    assert (found, death) == (code, "crash")
    assert re.fullmatch(words, text), text


@pytest.mark.parametrize(("what", "code"), [("killed", -9), ("exit", 3), ("nothing", 0)])
def test_a_worker_that_goes_without_a_word_had_begun(tmp_path: Path, what: str, code: int) -> None:
    assert work(tmp_path, what) == (code, ("silent", ""))


def test_a_worker_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    assert last_words(trace_path(tmp_path, 1), 1800) == ("early", "")


DIED = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task."


@pytest.mark.parametrize(
    ("told", "machine_gone", "death"),
    [
        (f"{DIED}\nThe worker was killed: ray.exceptions.OutOfMemoryError: 95 %", False, "memory"),
        (f"{DIED}\nThe actor died because its node has died. Node Id: ff", False, "node"),
        (DIED, True, "node"),
        ("ray.exceptions.RayTaskError(KeyError): ray::RayWorker.train()\nKeyError: 'x'", False, "crash"),
        (DIED, False, "early"),
    ],
)
def test_what_ray_says_of_a_death_is_read(tmp_path: Path, told: str, machine_gone: bool, death: Death) -> None:
    found, why = death_of(told, trace_path(tmp_path, 1), hang_seconds=9, machine_gone=machine_gone)
    assert found == death
    assert why
    assert "\n" not in why


def test_a_trace_says_more_than_ray(tmp_path: Path) -> None:
    trace_path(tmp_path, 1).write_text(
        'Timeout (0:00:09)!\nThread 0x1 (most recent call first):\n  File "/a/b.py", line 7 in f\n'
    )
    found = death_of(DIED, trace_path(tmp_path, 1), hang_seconds=9, machine_gone=False)
    assert found == ("crash", "no progress for 9 s (b.py:7 in f)")
