from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.errors import ClusterError
from harness.execution.ray_backend import watch
from harness.execution.ray_backend.guard import GRACE_SECONDS
from harness.execution.ray_backend.tuner import saved_since
from harness.execution.ray_backend.watch import Watch
from harness.training.checkpoint import attempt_path, folder_of
from tests.conftest import make_trial

GUARD = str(Path(watch.__file__).with_name("guard.py"))
CHILD = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has ended of Ray: nothing, until a test adds a text."""
    texts: list[str] = []
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(watch, "what_ended", lambda address: "".join(texts[:1]))
    return texts


def wait_in_tune() -> None:
    """Wait as Tune does, which swallows any Exception."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(Exception):
            time.sleep(0.05)


@pytest.mark.parametrize("in_main", [True, False])
def test_end_of_ray_ends_the_wait_of_any_thread_with_the_way_out(ended: list[str], in_main: bool) -> None:
    ended.append("the raylet has ended")
    caught: list[str] = []

    def study() -> None:
        try:
            with Watch(None)():
                wait_in_tune()
        except ClusterError as error:
            caught.append(str(error))

    start = time.monotonic()
    if in_main:
        study()
    else:
        thread = threading.Thread(target=study)
        thread.start()
        thread.join()
    assert time.monotonic() - start < 30
    assert caught == [
        "Ray on this machine: the raylet has ended; trials in training continue from their last checkpoint: "
        "run the same command again to resume"
    ]


def test_error_of_ray_before_the_watch_notices_is_the_same_message(ended: list[str]) -> None:
    def fail() -> None:
        ended.append("the GCS server has ended")
        raise RuntimeError("timeout in removing the placement group")

    with pytest.raises(ClusterError, match="the GCS server has ended"), Watch(None)():
        fail()


def test_other_errors_pass(ended: list[str]) -> None:
    with pytest.raises(RuntimeError, match="of a hook"), Watch(None)():
        raise RuntimeError("of a hook")


def test_ray_at_an_address_may_be_silent_for_some_seconds(ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ended.append("the GCS server at head:6379 does not answer")
    with Watch("head:6379")():
        time.sleep(0.5)
    monkeypatch.setattr(watch, "UNANSWERED_SECONDS", 0.5)
    with pytest.raises(ClusterError, match="--address head:6379: the GCS server at head:6379"), Watch("head:6379")():
        wait_in_tune()


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[str]]:
    """A process that ignores SIGTERM."""
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("end", ["killed", "disconnected"])
def test_guard_kills_what_is_left_when_the_driver_has_ended(stubborn: subprocess.Popen[str], end: str) -> None:
    driver = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    numbers = [str(driver.pid), str(stubborn.pid)]
    with subprocess.Popen([sys.executable, "-P", GUARD, *numbers], stdin=subprocess.PIPE) as guard:
        time.sleep(1)
        assert stubborn.poll() is None
        assert guard.stdin is not None
        if end == "killed":
            driver.kill()
            driver.wait()
        else:
            guard.stdin.close()
        assert guard.wait(GRACE_SECONDS + 30) == 0
        assert stubborn.wait(5) < 0
    assert end == "killed" or psutil.pid_exists(driver.pid)
    driver.kill()
    driver.wait()


def test_message_after_an_interrupt_counts_the_checkpoints_that_were_written(tmp_path: Path) -> None:
    trials = [make_trial(number=number) for number in range(3)]
    for trial, age in zip(trials, (0, 100, None), strict=True):
        path = attempt_path(folder_of(tmp_path, trial.key), 1)
        path.parent.mkdir(parents=True)
        if age is not None:
            path.touch()
            os.utime(path, (time.time() - age,) * 2)
    moment = time.time() - 10
    assert saved_since(moment, trials[:1], tmp_path) == "interrupted: 1 of 1 trials in training wrote a checkpoint"
    assert saved_since(moment, trials, tmp_path) == (
        "interrupted: 1 of 3 trials in training wrote a checkpoint; "
        "the others resume from an earlier checkpoint or from their start"
    )
