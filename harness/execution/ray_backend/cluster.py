"""Connections to Ray: its nodes, and whether each of them can serve a study."""

from __future__ import annotations

import contextlib
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
from harness.execution.trial import Worker
from harness.records import Plugin

NODES_SECONDS = 1.0
"""Seconds for which a list of nodes is reused."""

CONNECT_TIMEOUT_SECONDS = 10.0
"""Seconds within which Ray at a given address must answer."""

FORWARDED_ENV = ("HARNESS_DATA", "HARNESS_CACHE", "HARNESS_DISABLE_PLUGINS")
"""Environment variables that workers must share with the driver."""


class Nodes:
    """The living nodes, queried from Ray at most once a second."""

    def __init__(self) -> None:
        self._at = -NODES_SECONDS
        self._nodes: tuple[Node, ...] = ()

    def __call__(self) -> tuple[Node, ...]:
        if time.monotonic() - self._at >= NODES_SECONDS:
            self._nodes = tuple(_node(facts) for facts in living_nodes())
            self._at = time.monotonic()
        return self._nodes


def living_nodes() -> list[dict[str, Any]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [facts for facts in nodes if facts["Alive"]]


def dead_nodes() -> list[dict[str, Any]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [facts for facts in nodes if not facts["Alive"]]


def _node(facts: dict[str, Any]) -> Node:
    has = facts["Resources"]
    return Node(facts["NodeName"], has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", 0.0))


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[None]:
    """Ray for the duration: a fresh one on this machine without an address."""
    if address is not None:
        check_reachable(address)
    passed = {name: os.environ[name] for name in FORWARDED_ENV if name in os.environ}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": passed} if address else None,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        what = str(error).splitlines()[0]
        where = "Ray on this machine" if address is None else f"--address {address}"
        raise ClusterError(f"{where}: {what}; start one with `ray start`") from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost trial is told in our words
    try:
        yield
    finally:
        ray.shutdown()


def check_reachable(address: str) -> None:
    """Raise ClusterError if nothing listens at host:port, for which Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # a name that Ray resolves, as `auto`
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"--address {address}: Ray does not answer ({error}); start one with `ray start`") from error


def probe_nodes(folder: Path, plugins: Sequence[Plugin]) -> None:
    """ClusterError or PluginError, before the first trial, naming the nodes that cannot serve this study.

    Each must read back a token from the study's folder, and load the driver's plugins.
    """
    token = f"{time.time_ns()}"
    path = folder / "token"
    path.write_text(token)
    wanted = json.dumps([plugin.model_dump() for plugin in plugins])
    try:
        answers = {facts["NodeName"]: ray.get(_asked(facts, path, wanted)) for facts in living_nodes()}
    finally:
        path.unlink(missing_ok=True)
    blind = [name for name, (read, _) in answers.items() if read != token]
    if blind:
        raise ClusterError(
            f"{folder}: not shared with {', '.join(blind)} of {len(answers)} nodes; give --storage a path that driver "
            "and workers share"
        )
    for _, difference in answers.values():
        if difference:
            raise PluginError(difference)


def _asked(facts: dict[str, Any], path: Path, plugins: str) -> Any:  # an ObjectRef, which Ray leaves untyped
    there = NodeAffinitySchedulingStrategy(facts["NodeID"], soft=False)
    return _answer.options(scheduling_strategy=there, num_cpus=0).remote(str(path), plugins)


@ray.remote
def _answer(path: str, plugins: str) -> tuple[str, str]:
    """Return what a node reads at a path, and how its plugins differ from these."""
    try:
        read = Path(path).read_text()
    except OSError:
        read = ""
    try:
        Worker(Path(path).parent).check_plugins(tuple(Plugin.model_validate(item) for item in json.loads(plugins)))
    except PluginError as error:
        return read, str(error)
    return read, ""
