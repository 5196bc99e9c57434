"""The lease of a study: taking, refusing, expiry, races between processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.errors import LeaseError, LedgerError
from harness.ledger import lease
from harness.ledger.lease import EXPIRY_SECONDS, Holder, Lease, leased

TAKER = """
import sys, time
from pathlib import Path
from harness.errors import LeaseError
from harness.ledger.lease import Lease
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    Lease(folder)
except LeaseError:
    print("refused", flush=True)
else:
    print("taken", flush=True)
    time.sleep(60)
"""

Taker = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def taker(tmp_path: Path) -> Iterator[Taker]:
    """Return a function that starts a process.

    At a line of input, the process tries to take the lease of `tmp_path`, prints the outcome and keeps the lease.
    """
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert answer_of(process) == "ready"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def answer_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write_holder(folder: Path, **changes: object) -> Holder:
    """Write a lease as another process would have left it."""
    process = psutil.Process()
    facts: dict[str, object] = {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.create_time(),
        "heartbeat": time.time(),
        **changes,
    }
    holder = Holder.model_validate(facts)
    (folder / "lease").write_text(holder.model_dump_json())
    return holder


def read_holder(folder: Path) -> Holder:
    return Holder.model_validate_json((folder / "lease").read_text())


def test_the_lease_names_this_process(tmp_path: Path) -> None:
    held = Lease(tmp_path)
    holder = read_holder(tmp_path)
    held.release()
    assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert holder.started == pytest.approx(psutil.Process().create_time())
    assert holder.heartbeat == pytest.approx(time.time(), abs=10)


def test_release_removes_the_lease_and_all_files_of_this_process(tmp_path: Path) -> None:
    Lease(tmp_path).release()
    assert "lease" not in names(tmp_path)
    assert not [name for name in names(tmp_path) if str(os.getpid()) in name]
    Lease(tmp_path).release()


def test_a_second_lease_of_this_process_is_refused_and_keeps_the_first(tmp_path: Path) -> None:
    held = Lease(tmp_path)
    with pytest.raises(LeaseError, match=str(os.getpid())):
        Lease(tmp_path)
    assert read_holder(tmp_path).pid == os.getpid()
    held.release()


def test_another_living_process_is_named_with_pid_and_host(tmp_path: Path, taker: Taker) -> None:
    other = taker()
    go(other)
    assert answer_of(other) == "taken"
    message = f"process {other.pid} on {re.escape(socket.gethostname())} is running this study"
    with pytest.raises(LeaseError, match=message) as caught:
        Lease(tmp_path)
    assert "\n" not in str(caught.value)
    assert read_holder(tmp_path).pid == other.pid


def test_a_process_is_refused_while_this_one_holds_the_lease(tmp_path: Path, taker: Taker) -> None:
    held = Lease(tmp_path)
    other = taker()
    go(other)
    assert answer_of(other) == "refused"
    held.release()


def test_the_lease_of_a_killed_process_is_free(tmp_path: Path, taker: Taker) -> None:
    other = taker()
    go(other)
    assert answer_of(other) == "taken"
    other.send_signal(signal.SIGKILL)
    other.wait()
    held = Lease(tmp_path)
    assert read_holder(tmp_path).pid == os.getpid()
    held.release()


def test_the_lease_of_a_zombie_process_is_free(tmp_path: Path, taker: Taker) -> None:
    other = taker()
    go(other)
    assert answer_of(other) == "taken"
    other.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    Lease(tmp_path).release()


def test_a_reused_pid_is_not_the_holder(tmp_path: Path) -> None:
    write_holder(tmp_path, started=psutil.Process().create_time() - 3600)
    Lease(tmp_path).release()


def test_a_pid_that_does_not_exist_is_dead_whatever_its_heartbeat(tmp_path: Path) -> None:
    write_holder(tmp_path, pid=2**22 + 1)  # above the largest pid of Linux
    Lease(tmp_path).release()


def test_a_living_process_of_this_host_holds_the_lease_whatever_its_heartbeat(tmp_path: Path) -> None:
    write_holder(tmp_path, heartbeat=0.0)
    with pytest.raises(LeaseError, match="is running this study"):
        Lease(tmp_path)


def test_another_host_holds_the_lease_until_its_heartbeat_expires(tmp_path: Path) -> None:
    write_holder(tmp_path, host="elsewhere", pid=1, heartbeat=time.time() - EXPIRY_SECONDS / 2)
    with pytest.raises(LeaseError, match="process 1 on elsewhere"):
        Lease(tmp_path)
    write_holder(tmp_path, host="elsewhere", pid=1, heartbeat=time.time() - EXPIRY_SECONDS - 1)
    held = Lease(tmp_path)
    assert read_holder(tmp_path).host == socket.gethostname()
    held.release()


@pytest.mark.parametrize("text", ["", '{"host": "here", "pi', "[]", '{"host": "here"}'])
def test_an_incomplete_lease_has_no_holder(tmp_path: Path, text: str) -> None:
    (tmp_path / "lease").write_text(text)
    Lease(tmp_path).release()


def test_the_heartbeat_is_updated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    held = Lease(tmp_path)
    first = read_holder(tmp_path).heartbeat
    deadline = time.monotonic() + 10
    while read_holder(tmp_path).heartbeat == first:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    held.release()
    assert "lease" not in names(tmp_path)


def test_a_suspended_holder_does_not_take_the_lease_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    held = Lease(tmp_path)
    successor = write_holder(tmp_path, host="elsewhere", pid=1)  # took the lease after our heartbeat had expired
    time.sleep(0.2)
    (tmp_path / "lease").write_text(successor.model_dump_json())  # a heartbeat may have been in progress
    time.sleep(0.2)
    assert read_holder(tmp_path) == successor
    held.release()
    assert read_holder(tmp_path) == successor


def test_two_processes_that_find_a_dead_holder_do_not_both_succeed(
    tmp_path: Path, taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process takes the lease after this one has read the dead holder and before it removes it."""
    write_holder(tmp_path, pid=2**22 + 1)
    other = taker()
    original = Holder.alive

    def alive(holder: Holder) -> bool:
        result = original(holder)
        go(other)
        time.sleep(1.0)
        return result

    monkeypatch.setattr(Holder, "alive", alive)
    try:
        held = Lease(tmp_path)
    except LeaseError:
        assert answer_of(other) == "taken"
        assert read_holder(tmp_path).pid == other.pid
    else:
        assert answer_of(other) == "refused"
        held.release()


def test_a_folder_that_cannot_be_written_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"cannot be written .*choose another --runs") as caught:
        Lease(tmp_path / "gone")
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_removed_after_the_lease(tmp_path: Path) -> None:
    with leased(tmp_path / "empty"), pytest.raises(LeaseError, match="is running this study"):
        Lease(tmp_path / "empty")
    with leased(tmp_path / "used"):
        (tmp_path / "used" / "ledger.log").write_text("")
    assert names(tmp_path) == {"used"}
    assert names(tmp_path / "used") == {"ledger.log"}
