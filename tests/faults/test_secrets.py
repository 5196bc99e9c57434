"""Secrets of the environment and of the tracking URI, which a plugin and a failing store put into their errors."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.faults.place import Place, wait_until
from tests.faults.test_plugins import TRAINS, add, broken

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOKEN, PASSWORD = "t0k3n-of-jane", "p4ss@w0rd/of:jane"
SECRETS = {"MLFLOW_TRACKING_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": "k3y/of+jane", "HF_TOKEN": "hf_0f_jane"}
PARTS = (TOKEN, "p4ss", "w0rd", "of:jane", "k3y", "hf_0f", "jane")

LEAKS = """import os
        raise RuntimeError("login failed: " + ", ".join(os.environ[name] for name in {names!r}))"""


def leaks_in(folder: Path, *texts: str) -> list[str]:
    """Return the secrets in these texts and in every file of a folder, with the place."""
    leaks = [f"{part} in the output" for part in PARTS for text in texts if part in text]
    for path in folder.rglob("*"):
        if path.is_file() and "more" not in path.parts:
            leaks += [f"{part} in {path}" for part in PARTS if part.encode() in path.read_bytes()]
    return leaks


@pytest.mark.fault("secrets in the errors of a plugin and of a store")
@pytest.mark.parametrize("options", [["--serial"], []])
def test_secrets_reach_no_output_ledger_store_or_report(
    place: Place, landed: Callable[[], None], options: list[str]
) -> None:
    add(place, "leaking", broken("leaks", forward=LEAKS.format(names=tuple(SECRETS))))
    place.write(models=f'["leaks", {TRAINS}]', trials=1, repetitions=1)
    environment = {**SECRETS, "PYTHONPATH": f"{place.folder}/more:{place.environment()['PYTHONPATH']}"}
    code, out, err = place.run("run", "toys.toml", *options, **environment)
    assert code == 1
    assert "login failed: ***, ***, ***" in err
    landed()
    unreachable = f"http://jane:{PASSWORD}@127.0.0.1:9"
    more = {**environment, "MLFLOW_TRACKING_URI": unreachable, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    outputs = [place.run(*command, **more) for command in (("sync", "toys"), ("report", "toys"), ("ui",))]
    landed()
    assert all(code == 2 for code, _, _ in outputs), outputs
    assert "***@127.0.0.1:9" in outputs[0][2]
    texts = [text for _, out, err in outputs for text in (out, err)]
    assert leaks_in(place.folder, out, err, *texts) == []


@pytest.mark.fault("a password in the URI of the store, and other users who list processes")
def test_no_command_line_of_the_ui_has_the_uri_of_the_store(place: Place, landed: Callable[[], None]) -> None:
    """The name of a database stands for the password."""
    shutil.move(place.folder / "mlflow.db", place.folder / "p4ss.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = place.start("ui", "--port", str(port), MLFLOW_TRACKING_URI=f"sqlite:///{place.folder}/p4ss.db")
    lines: set[str] = set()

    def answers() -> bool:
        server = psutil.Process(process.pid)
        for each in (server, *server.children(recursive=True)):
            lines.add(Path(f"/proc/{each.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, process)
    answers()
    landed()
    assert any("mlflow ui" in line for line in lines)
    assert not [line for line in lines if "p4ss" in line]
