"""Machines of a cluster, simulated by namespaces: each has its own name, address, processes and temporary files.

Killing the first process of a machine ends everything that runs on it at once, as a power failure would.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BRIDGE = "seqharness0"
LOCK = Path("/tmp/seqharness0.lock")
"""Held by the test that has the bridge: pytest 9.2 ignores the groups of xdist 3.8, so others may run beside it."""
NETWORK = "10.97.31"
PORT = 6397
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
UNSHARE = ["unshare", "--uts", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]
MEMORY = "--object-store-memory=100000000"


def _do(*command: str) -> None:
    """Run a command.  Skips the test if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to make namespaces: {' '.join(command)}: {done.stderr.strip()}")


@dataclass
class Machine:
    """One machine.  A command runs on it behind `enter`."""

    number: int
    environment: dict[str, str]
    _init: subprocess.Popen[bytes] | None = None
    _ray: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"machine-{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def _space(self) -> str:
        return f"seqharness{self.number}"

    def boot(self) -> None:
        """Create the namespaces of the machine and start its first process."""
        inside, outside = f"shi{self.number}", f"sho{self.number}"
        _do("ip", "netns", "add", self._space)
        _do("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
        _do("ip", "link", "set", outside, "master", BRIDGE, "up")
        _do("ip", "link", "set", inside, "netns", self._space)
        for command in (
            f"addr add {self.address}/24 dev {inside}",
            f"link set {inside} up",
            "link set lo up",
            f"route add default via {NETWORK}.1",
        ):
            _do("ip", "-n", self._space, *command.split())
        script = f"hostname {self.name} && mount -t tmpfs tmpfs /tmp/ray && echo up && exec sleep infinity"
        Path("/tmp/ray").mkdir(exist_ok=True)
        self._init = subprocess.Popen(
            ["ip", "netns", "exec", self._space, *UNSHARE, "sh", "-c", script],
            stdout=subprocess.PIPE,
        )
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == b"up\n"

    def enter(self, folder: Path = Path("/")) -> list[str]:
        """Return the command line that, before a command, runs it on this machine in a folder."""
        return ["nsenter", f"--target={self._first()}", "--uts", "--pid", "--mount", "--net", f"--wdns={folder}"]

    def _first(self) -> int:
        """Return the id, outside its namespace, of the machine's first process: the child of `unshare`."""
        assert self._init is not None
        below = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        return int(below[0])

    def start_ray(self, head: Machine, log: Path) -> None:
        """Start Ray on this machine, as head node or as a node of `head`.  log: file for its output."""
        where = (
            ["--head", f"--port={PORT}", "--include-dashboard=false"]
            if head is self
            else [f"--address={head.address}:{PORT}"]
        )
        own = [f"--node-ip-address={self.address}", f"--node-name={self.name}", MEMORY]
        with log.open("w") as file:
            self._ray = subprocess.Popen(
                [*self.enter(), *RAY, *where, *own], env=self.environment, stdout=file, stderr=file, cwd=log.parent
            )

    def pull_the_plug(self) -> None:
        """End every process of the machine and remove its network."""
        if self._init is not None:
            os.kill(self._first(), 9)
            self._init.communicate()
            self._init = None
        if self._ray is not None:
            self._ray.wait()
            self._ray = None
        subprocess.run(["ip", "link", "del", f"sho{self.number}"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self._space], capture_output=True, check=False)


@dataclass
class Room:
    """Machines on a separate network."""

    environment: dict[str, str]
    machines: list[Machine] = field(default_factory=list)

    def boot(self, **environment: str) -> Machine:
        machine = Machine(len(self.machines) + 2, {**self.environment, **environment})
        self.machines.append(machine)
        machine.boot()
        return machine


@contextmanager
def room(environment: dict[str, str]) -> Iterator[Room]:
    """Create a network for machines, once no other test has one.  Skips if namespaces are not permitted."""
    created = Room(environment)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _do("ip", "link", "add", BRIDGE, "type", "bridge")
        try:
            _do("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
            _do("ip", "link", "set", BRIDGE, "up")
            yield created
        finally:
            for machine in created.machines:
                machine.pull_the_plug()
            subprocess.run(["ip", "link", "del", BRIDGE], check=False)
