from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.machines import PORT, Machine, Room, room
from tests.faults.place import Place, ended, install, kill_driver, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def machines(place: Place) -> Iterator[Room]:
    """Machines that share the place's folder, and Ray's token authentication."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with room(place.environment(**token)) as here:
        yield here


def start(place: Place, on: Machine, address: str) -> subprocess.Popen[str]:
    secret = {name: on.environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    shared = str(place.folder / "shared")
    arguments = ["run", "toys.toml", "--address", address, "--storage", shared]
    return place.start(*arguments, before=on.enter(place.folder), **secret)


def nodes_that_ended(place: Place) -> set[str]:
    return {entry.result.node for entry in place.entries(runs="shared") if entry.result}


def running(place: Place) -> int:
    return sum(entry.result is None and bool(entry.points) for entry in place.entries(runs="shared"))


@pytest.mark.fault("a machine of a cluster lost, another added; the driver lost, continued from another machine")
def test_the_study_completes_on_what_is_left_and_from_the_machine_that_is_new(
    place: Place, machines: Room, landed: Callable[[], None]
) -> None:
    # Trials of seconds, so that many are left when a machine that is added has started.
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
    kill_driver(driver)
    landed()
    begun = time.monotonic()
    while True:
        code, _, err = ended(start(place, third, address))
        if code == 0:
            break
        # The first driver was on another machine: only its silence tells that it is dead.
        assert f"on {head.name} is running this study" in err, err
        assert time.monotonic() - begun < 300
        time.sleep(5)
    assert place.by_key(runs="shared") == expected
    runs = place.stored()
    assert runs.keys() == expected.keys()
    assert len({run.data.tags["harness.node"] for run in runs.values()}) == 3


@pytest.mark.fault("worker and driver have different plugins or versions")
def test_it_is_refused_before_a_trial_starts_with_the_difference(
    place: Place, machines: Room, landed: Callable[[], None]
) -> None:
    place.write()
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
    assert err.count("\n") == 1, err
    assert not place.entries(runs="shared"), "a trial was dealt"


def wait_for_nodes(place: Place, head: Machine, count: int) -> None:
    """As `ray status` counts them."""
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


def test_machines_are_apart(place: Place, machines: Room, tmp_path: Path) -> None:
    """What this file stands on: names, addresses and processes of their own, and one folder for all."""
    one, other = machines.boot(), machines.boot()
    (tmp_path / "shared.txt").write_text("seen by all")
    script = f"hostname; cat {tmp_path}/shared.txt; echo; ls /proc | grep -c '^[0-9]'; ip -o -4 addr show"
    said = [
        subprocess.run([*m.enter(), "sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\n")
        for m in (one, other)
    ]
    assert [lines[0] for lines in said] == ["machine-2", "machine-3"]
    assert [lines[1] for lines in said] == ["seen by all"] * 2
    assert [int(lines[2]) < 10 for lines in said] == [True, True]
    assert one.address in "".join(said[0])
    assert other.address not in "".join(said[0])
