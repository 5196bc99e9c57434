"""Connect to Ray, list its nodes, and check that each of them can serve a study."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.errors import ClusterError, PluginError
from harness.execution.placement import Node
from harness.execution.ray_backend.local import registry_with, to_text
from harness.execution.ray_backend.watch import guarded, shutdown_after_end, silent, what_ended
from harness.execution.trial import Worker
from harness.plugin.local import LocalClasses
from harness.records import Plugin

NODES_SECONDS = 1.0
"""Time for which a list of nodes is reused."""

CONNECT_TIMEOUT_SECONDS = 10.0
"""Time within which Ray at a given address must answer."""

LONGEST_TMPDIR = 107 - len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Longest path of a temporary folder, in characters, whose sockets have paths of at most 107, the limit of Linux."""

FORWARDED_ENV = ("HARNESS_DATA", "HARNESS_CACHE", "HARNESS_DISABLE_PLUGINS")
"""Environment variables that workers must share with the driver."""


class Nodes:
    """The living nodes, queried from Ray at most once per second."""

    def __init__(self) -> None:
        self._queried_at = -NODES_SECONDS
        self._nodes: tuple[Node, ...] = ()

    def __call__(self) -> tuple[Node, ...]:
        if time.monotonic() - self._queried_at >= NODES_SECONDS:
            self._nodes = tuple(_node(facts) for facts in living_nodes())
            self._queried_at = time.monotonic()
        return self._nodes


def living_nodes() -> list[dict[str, Any]]:
    """Return Ray's facts on each node that is alive."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [facts for facts in nodes if facts["Alive"]]


def dead_node_ids() -> set[str]:
    """Return the ids of the nodes that Ray counts as dead."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {facts["NodeID"] for facts in nodes if not facts["Alive"]}


def _node(facts: dict[str, Any]) -> Node:
    total = facts["Resources"]
    return Node(facts["NodeName"], total.get("CPU", 0.0), total.get("GPU", 0.0), total.get("memory", 0.0))


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[None]:
    """Connect to Ray at an address, or start Ray on this machine if it is None; disconnect at the end.

    Raises ClusterError if Ray cannot be reached or started.
    """
    if address is not None:
        check_reachable(address)
    forwarded = {name: os.environ[name] for name in FORWARDED_ENV if name in os.environ}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": forwarded} if address else None,
            _temp_dir=temporary_folder() if address is None else None,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).splitlines()[0]
        where = "Ray on this machine" if address is None else f"--address {address}"
        raise ClusterError(f"{where}: {reason}; start Ray with `ray start`") from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the controller reports failed workers
    with guarded(), silent():
        try:
            yield
        finally:
            _shutdown(address)


def _shutdown(address: str | None) -> None:
    """Disconnect from Ray while no thread collects garbage.

    Tune leaves reference cycles that hold Ray's references.  Ray ends the process with exit code 1 if a thread, such as
    one that writes to MLflow, collects them while Ray shuts down.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        if what_ended(address):
            shutdown_after_end()
        else:
            ray.shutdown()
    finally:
        if was_enabled:
            gc.enable()


def temporary_folder() -> str | None:
    """Return a folder for Ray's sockets if the one that the environment names is too long for them, else None."""
    named = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return "/tmp/ray" if len(named) > LONGEST_TMPDIR else None


def check_reachable(address: str) -> None:
    """Raise ClusterError if nothing listens at host:port.  Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # a name that Ray resolves, such as `auto`
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"--address {address}: Ray does not answer ({error}); start Ray there with `ray start`"
        ) from error


def probe_nodes(folder: Path, plugins: Sequence[Plugin], local: LocalClasses) -> None:
    """Check that every node reads the study's folder and loads the plugins of the driver.

    Raises ClusterError naming the nodes that cannot read back a token from the folder, and PluginError with the
    differences of a node's plugins.
    """
    token = f"{time.time_ns()}"
    path = folder / "token"
    path.write_text(token)
    expected = (json.dumps([plugin.model_dump() for plugin in plugins]), to_text(local))
    try:
        answers = {facts["NodeName"]: ray.get(_start_probe(facts, path, expected)) for facts in living_nodes()}
    finally:
        path.unlink(missing_ok=True)
    unshared = [name for name, (read, _) in answers.items() if read != token]
    if unshared:
        raise ClusterError(
            f"{folder}: {len(unshared)} of {len(answers)} nodes cannot read this folder ({', '.join(unshared)}); "
            "give --storage a path that driver and workers share"
        )
    for _, difference in answers.values():
        if difference:
            raise PluginError(difference)


def _start_probe(facts: dict[str, Any], path: Path, expected: tuple[str, str]) -> Any:  # Any: Ray's ObjectRef
    """Start `_probe` on a node."""
    on_node = NodeAffinitySchedulingStrategy(facts["NodeID"], soft=False)
    return _probe.options(scheduling_strategy=on_node, num_cpus=0).remote(str(path), *expected)


@ray.remote
def _probe(path: str, plugins: str, local: str) -> tuple[str, str]:
    """Return what this node reads at a path, and how its plugins differ from `plugins`; '' each if nothing."""
    try:
        read = Path(path).read_text()
    except OSError:
        read = ""
    try:
        worker = Worker(Path(path).parent, registry_with(local))
        worker.check_plugins(tuple(Plugin.model_validate(item) for item in json.loads(plugins)))
    except PluginError as error:
        return read, str(error)
    return read, ""
