"""Reachability of a Ray cluster, polling of its nodes, and the start and end of the connection."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from harness.errors import ClusterError
from harness.execution.placement import Node
from harness.execution.ray_backend.cluster import Nodes, check_reachable, connect, dead_node_ids, temporary_folder


def test_address_at_which_something_listens_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reachable(f"127.0.0.1:{port}")
        check_reachable(f"ray://127.0.0.1:{port}")
    with pytest.raises(ClusterError, match=rf"--address 127\.0\.0\.1:{port}: Ray does not answer .*with `ray start`"):
        check_reachable(f"127.0.0.1:{port}")


def test_port_that_cannot_exist_is_an_error_of_one_line() -> None:
    with pytest.raises(ClusterError, match="Ray does not answer") as caught:
        check_reachable("127.0.0.1:99999999999999999999")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["auto", "local"])
def test_names_that_ray_resolves_are_not_checked(address: str) -> None:
    check_reachable(address)


@pytest.mark.parametrize(("folder", "expected"), [("/tmp", None), ("/scratch/" + "a" * 60, "/tmp/ray")])
def test_ray_has_its_sockets_where_their_paths_fit(
    folder: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", folder)
    assert temporary_folder() == expected


def test_nodes_are_queried_once_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[float] = []
    now = [0.0]

    def ray_nodes() -> list[dict[str, Any]]:  # Any: as Ray types its facts
        queries.append(now[0])
        alive = {"NodeName": "a", "NodeID": "1", "Alive": True, "Resources": {"CPU": 2.0, "memory": 8.0}}
        return [alive, {**alive, "NodeName": "b", "NodeID": "2", "Alive": False}]

    monkeypatch.setattr(ray, "nodes", ray_nodes)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    nodes = Nodes()
    for now[0] in (0.0, 0.5, 0.99, 1.0, 1.5):
        assert nodes() == (Node("a", cpu=2.0, gpu=0.0, memory_bytes=8.0),)
    assert queries == [0.0, 1.0]
    assert dead_node_ids() == {"2"}


def test_no_thread_collects_garbage_while_ray_shuts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray ends the process if one of its references is released in that time."""
    enabled: list[bool] = []
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "shutdown", lambda: enabled.append(gc.isenabled()))
    with connect(None):
        assert gc.isenabled()
    assert enabled == [False]
    assert gc.isenabled()


CONNECTS = """
from harness.execution.ray_backend.cluster import connect, living_nodes
with connect(None):
    print(len(living_nodes()), "node")
"""


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("before", ["", "import ray"])
def test_ray_starts_here_with_a_token_in_the_home_folder(tmp_path: Path, before: str) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    done = subprocess.run(
        [sys.executable, "-c", before + CONNECTS],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1 node\n", done.stderr


NICENESS = """
import os
from harness.execution.ray_backend.cluster import connect
import ray
with connect(None):
    print(os.nice(0), ray.get(ray.remote(lambda: os.nice(0)).remote()))
"""


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("chosen", "expected"), [({}, 0), ({"RAY_worker_niceness": "2"}, 2)])
def test_workers_have_the_niceness_of_the_driver(chosen: dict[str, str], expected: int) -> None:
    """Unless the user chooses how much nicer than the driver they are."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_worker_niceness"}
    done = subprocess.run(
        ["nice", "-n", "5", sys.executable, "-c", NICENESS],
        env={**environment, **chosen},
        capture_output=True,
        text=True,
        check=False,
    )
    driver, worker = map(int, done.stdout.split())
    assert driver >= 5
    assert worker == min(driver + expected, 19), done.stderr
