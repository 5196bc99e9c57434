"""Ray ends while a study runs, or the study ends while its workers would go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.faults.place import SLOW_TOYS, Place, children, ended, kill, kill_driver, trains, wait_until
from tests.faults.test_plugins import add, broken

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NOTICED_SECONDS = 30.0
OUTLIVED_SECONDS = 10.0
SLACK_SECONDS = 30.0
"""Of a machine that runs other tests beside this one."""
STUBBORN = (
    "import ctypes, threading, time; ctypes.CDLL(None).signal(15, ctypes.c_void_p(1)); "
    "threading.active_count() > 20 or threading.Thread(target=time.sleep, args=(9999,)).start(); "
    "time.sleep(0.01); return self.scan(x)[0]"
)
"""Ignores SIGTERM behind Python's back, and leaves threads that are no daemons."""


def of_ray(driver: int) -> list[psutil.Process]:
    """Return the processes of Ray below a driver."""
    processes = []
    for process in children(driver):
        try:
            if process.name().startswith(("ray::", "raylet", "gcs_server")):
                processes.append(process)
        except psutil.NoSuchProcess:
            continue
    return processes


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [
        process
        for process in processes
        if process.is_running()
        and os.path.exists(f"/proc/{process.pid}/exe")
        and process.status() != psutil.STATUS_ZOMBIE
    ]


def assert_all_end(processes: list[psutil.Process]) -> None:
    """Wait for the processes.  Fails if one runs longer than it may outlive its driver."""
    until = time.monotonic() + OUTLIVED_SECONDS + SLACK_SECONDS
    while running(processes) and time.monotonic() < until:
        time.sleep(0.2)
    assert running(processes) == []


@pytest.mark.fault("kill -9 of the raylet or the GCS server")
@pytest.mark.parametrize(("kind", "name"), [("raylet", "raylet"), ("gcs_server", "GCS server")])
def test_driver_says_in_one_line_that_ray_has_ended_and_the_study_resumes(
    place: Place, landed: Callable[[], None], kind: str, name: str
) -> None:
    place.write(models='["toy-ema"]', trials=2, repetitions=1, updates=1200, evaluations=40, checkpoint_seconds=600)
    expected = place.undisturbed()
    process = place.start("run", "toys.toml", **SLOW_TOYS)
    wait_until(lambda: any(trains(entry) for entry in place.entries()), process)
    processes = of_ray(process.pid)
    (victim,) = [each for each in processes if each.name() == kind]
    assert kill(victim)
    landed()
    at = time.monotonic()
    code, out, err = ended(process)
    assert time.monotonic() - at < NOTICED_SECONDS + SLACK_SECONDS
    assert code == 2, err
    lines = [line for line in err.splitlines() if not line.startswith(("harness: starting Ray", "["))]
    assert lines == [
        f"harness: Ray on this machine: the {name} has ended; trials in training continue from their last checkpoint: "
        "run the same command again to resume"
    ]
    assert "checkpoint" not in out
    assert "(raylet)" not in out
    assert_all_end(processes)
    code, _, err = place.run("run", "toys.toml")
    assert code == 0, err
    assert place.by_key() == expected


@pytest.mark.fault("workers that ignore SIGTERM and leave threads, at the end of their study")
@pytest.mark.parametrize("how", ["normal", "Ctrl-C", "kill -9"])
def test_no_process_of_ray_outlives_the_driver(place: Place, landed: Callable[[], None], how: str) -> None:
    add(place, "stubborn", broken("stubborn", forward=STUBBORN))
    updates = 40 if how == "normal" else 3000
    place.write(models='["stubborn"]', trials=1, repetitions=1, updates=updates, evaluations=updates // 10)
    path = f"{place.folder}/more:{place.environment()['PYTHONPATH']}"
    process = place.start("run", "toys.toml", PYTHONPATH=path)
    wait_until(lambda: any(entry.points for entry in place.entries()), process)
    processes = of_ray(process.pid)
    assert any(each.name().startswith(("ray::Res", "ray::RayW")) for each in processes)
    if how == "kill -9":
        kill_driver(process)
    else:
        if how == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        code, _, err = ended(process)
        assert code == (0 if how == "normal" else 130), err
    landed()
    assert_all_end(processes)
