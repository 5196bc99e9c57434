from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.machines import PORT, Machine, Room, room
from tests.faults.place import Place, ended, install, wait_until

pytestmark = [pytest.mark.xdist_group("machines"), pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def machines(place: Place) -> Iterator[Room]:
    """Machines that share the place's folder, with Ray's token authentication."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with room(place.environment(**token)) as machines:
        yield machines


def start(place: Place, on: Machine, address: str) -> subprocess.Popen[str]:
    secret = {name: on.environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    shared = str(place.folder / "shared")
    arguments = ["run", "toys.toml", "--address", address, "--storage", shared]
    return place.start(*arguments, before=on.enter(place.folder), **secret)


def kill_driver_behind(entered: subprocess.Popen[str]) -> None:
    """Kill the driver on its machine: the child of the `nsenter` that was started here."""
    (driver,) = psutil.Process(entered.pid).children()
    driver.kill()
    entered.wait()


def nodes_that_ended(place: Place) -> set[str]:
    return {entry.result.node for entry in place.entries(runs="shared") if entry.result}


def running(place: Place) -> int:
    return sum(entry.result is None and bool(entry.points) for entry in place.entries(runs="shared"))


@pytest.mark.fault("a machine of a cluster lost, another added; the driver lost, continued from another machine")
def test_study_completes_on_the_remaining_machines_and_resumes_on_a_new_one(
    place: Place, machines: Room, landed: Callable[[], None]
) -> None:
    # Each trial takes seconds, so that many are left when the added machine has started.
    place.write(models='["toy-ema"]', trials=20, repetitions=2, updates=6000, evaluations=30)
    expected = place.undisturbed()
    head, second = machines.boot(), machines.boot()
    address = f"{head.address}:{PORT}"
    for machine in (head, second):
        machine.start_ray(head, place.folder / f"{machine.name}.log")
    wait_for_nodes(place, head, 2)
    driver = start(place, head, address)
    wait_until(lambda: len(nodes_that_ended(place)) == 2 and running(place) == 2, driver)
    second.pull_the_plug()
    landed()
    third = machines.boot()
    third.start_ray(head, place.folder / f"{third.name}.log")
    wait_until(lambda: len(nodes_that_ended(place)) == 3 and running(place), driver)
    kill_driver_behind(driver)
    landed()
    assert running(place), "the study ended before its driver was killed"
    start_time = time.monotonic()
    while True:
        code, _, err = ended(start(place, third, address))
        if code == 0:
            break
        # The first driver ran on another machine: only its silence shows that it has ended.
        assert f"on {head.name} is running this study" in err, err
        assert time.monotonic() - start_time < 300
        time.sleep(5)
    assert place.by_key(runs="shared") == expected
    runs = place.stored()
    assert runs.keys() == expected.keys()
    assert len({run.data.tags["harness.node"] for run in runs.values()}) == 3


@pytest.mark.fault("worker and driver have different plugins or versions")
def test_other_plugins_on_a_worker_are_rejected_before_the_first_trial(
    place: Place, machines: Room, landed: Callable[[], None]
) -> None:
    place.write(models='["toy-ema"]')
    old = install(place.folder / "old", "seqharness-toys", (place.site / "seqharness_toys.py").read_text(), "0.2")
    path = place.environment()["PYTHONPATH"].replace(str(place.site), str(old))
    head = machines.boot(PYTHONPATH=path)
    head.start_ray(head, place.folder / "head.log")
    wait_for_nodes(place, head, 1)
    code, _, err = ended(start(place, head, f"{head.address}:{PORT}"))
    landed()
    assert code == 2, err
    assert "the worker on machine-2 has other plugins than the driver" in err
    assert "seqharness-killer: driver 0.3, worker absent; seqharness-toys: driver 0.3, worker 0.2" in err
    assert [line.partition(";")[0] for line in err.splitlines()[:-1]] == [
        f"harness: starting Ray at {head.address}:{PORT}"
    ]
    assert not place.entries(runs="shared"), "a trial was started"


def wait_for_nodes(place: Place, head: Machine, count: int) -> None:
    """Wait until Ray counts this many living nodes."""
    status = [*head.enter(), "python", "-c", NODES, f"{head.address}:{PORT}"]

    def joined() -> bool:
        done = subprocess.run(status, env=head.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip() == str(count)

    wait_until(joined)


NODES = """
import logging, sys, ray
ray.init(address=sys.argv[1], logging_level=logging.ERROR)
print(sum(node["Alive"] for node in ray.nodes()))
"""


def test_machines_are_separate_but_share_a_folder(place: Place, machines: Room, tmp_path: Path) -> None:
    """The other tests of this file rely on separate names, addresses and processes, and on a shared folder."""
    first, second = machines.boot(), machines.boot()
    (tmp_path / "shared.txt").write_text("seen by all")
    script = f"hostname; cat {tmp_path}/shared.txt; echo; ls /proc | grep -c '^[0-9]'; ip -o -4 addr show"
    outputs = [
        subprocess.run([*m.enter(), "sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\n")
        for m in (first, second)
    ]
    assert [lines[0] for lines in outputs] == ["machine-2", "machine-3"]
    assert [lines[1] for lines in outputs] == ["seen by all"] * 2
    assert [int(lines[2]) < 10 for lines in outputs] == [True, True]
    assert first.address in "".join(outputs[0])
    assert second.address not in "".join(outputs[0])
