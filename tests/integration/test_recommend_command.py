"""`harness recommend`, `harness predict` and `load_winner` as a user runs them, each in its own process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.ledger.journal import read_study
from harness.recommendation.result import ANSWER, PAGE, Recommendation
from tests.faults.place import COMMAND, ROOT, Place, install_toys, wait_until

FRESH = """
import sys
from harness import load_winner

sys.stdout.write(load_winner("runs/sums").predict("new-rows.csv").to_csv(index=False))
"""


def done(folder: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    own = {"PYTHONPATH": path, "HARNESS_CACHE": str(folder / "cache")}
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        command, cwd=folder, env={**kept, **own, **environment}, capture_output=True, text=True, check=False
    )


def sums(sequences: int) -> pd.DataFrame:
    """Return sequences of five numbers; the target is whether their sum is above zero."""
    table = pd.DataFrame({"id": np.repeat(np.arange(sequences), 5), "step": np.tile(np.arange(5), sequences)})
    table["value"] = np.random.default_rng(0).normal(size=len(table))
    table["above"] = (table.groupby("id")["value"].transform("sum") > 0).map({True: "yes", False: "no"})
    return table


@pytest.mark.slow
def test_file_gives_a_recommendation_and_its_winner_predicts_the_same_in_every_process(tmp_path: Path) -> None:
    pytest.importorskip("harness_tasks", reason="the first-party tasks on own files")
    pytest.importorskip("harness_models", reason="they are trained by first-party models")
    table = sums(60)
    table.to_csv(tmp_path / "sums.csv", index=False)
    table[table["id"] < 4].drop(columns="above").to_csv(tmp_path / "new-rows.csv", index=False)
    asked = "recommend sequence=id time=step --data sums.csv --target above --budget 200 --models gru,rnn --serial"
    small = "--trials 1 --repetitions 2 updates=20 evaluations=2"
    recommended = done(tmp_path, [*COMMAND, *asked.split(), *small.split()])
    assert recommended.returncode == 0, recommended.stderr
    assert "Traceback" not in recommended.stderr
    folder = tmp_path / "runs" / "sums"
    recommendation = Recommendation.model_validate_json((folder / ANSWER).read_text())
    assert {candidate.model for candidate in recommendation.candidates} == {"gru", "rnn"}
    assert recommended.stdout.strip() == (folder / PAGE).read_text().strip()
    assert recommended.stdout.startswith("# sums: ")

    predicted = done(tmp_path, [*COMMAND, "predict", "runs/sums", "new-rows.csv"])
    assert predicted.returncode == 0, predicted.stderr
    answers = pd.read_csv(StringIO(predicted.stdout))
    assert list(answers["id"]) == [0, 1, 2, 3]
    loaded = done(tmp_path, [sys.executable, "-c", FRESH])
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout == predicted.stdout

    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "runs").mkdir(parents=True)
    folder.rename(elsewhere / "runs" / "sums")
    (tmp_path / "new-rows.csv").rename(elsewhere / "new-rows.csv")
    (tmp_path / "sums.csv").unlink()
    again = done(elsewhere, [*COMMAND, "predict", "runs/sums", "new-rows.csv"])
    assert again.returncode == 0, again.stderr
    assert again.stdout == predicted.stdout


# ---- on Ray

RACE = """
recommend toy-sum --budget 161 --models toy-ema,toy-stack --trials 2 --repetitions 6 --name toys
updates=40 evaluations=4 batch_size=8 budget.tolerance=0.2
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path, install_toys(tmp_path / "site"))
    yield here
    here.end_all()


@contextmanager
def ray_head(place: Place) -> Iterator[str]:
    """Start Ray in another process on this machine and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    size = ["--num-cpus=2", "--object-store-memory=100000000", "--include-dashboard=false"]
    log = place.folder / "head.log"
    with log.open("w") as file:
        head = subprocess.Popen(
            [*start, *size, "--node-ip-address=127.0.0.1", "--disable-usage-stats"],
            cwd=place.folder,
            env=place.environment(),
            stdout=file,
            stderr=file,
        )
    try:
        wait_until(lambda: head.poll() is None and "Ray runtime started" in log.read_text())
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()  # ends its child processes too
        head.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.xdist_group("ray")
def test_race_on_ray_and_on_a_cluster_equals_the_race_of_one_process(place: Place) -> None:
    """The trials are equal by key, and each round is trained on the named cluster."""
    answers = {}
    with ray_head(place) as address:
        for runs, where in {
            "one": ["--serial", "--runs", "one"],
            "ray": ["--runs", "ray"],
            "cluster": ["--address", address, "--storage", "cluster"],
        }.items():
            code, out, err = place.run(*RACE.split(), *where)
            assert code == 0, err
            assert err.count("recommend: ") == 2, "the race was over in another number of rounds"
            answers[runs] = out.partition("\n")[0]
    assert place.by_key(runs="ray") == place.by_key(runs="cluster") == place.by_key(runs="one")
    assert len(set(answers.values())) == 1
    nodes = {runs: {e.result.node for e in place.entries(runs=runs) if e.result} for runs in ("ray", "cluster")}
    assert len(nodes["cluster"]) == 1
    assert nodes["cluster"].isdisjoint(nodes["ray"])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("ray")
def test_address_without_a_ray_cluster_is_one_line_and_the_race_can_be_resumed(place: Place) -> None:
    code, out, err = place.run(*RACE.split(), "--address", "127.0.0.1:1")
    assert code == 2
    assert out == ""
    assert "harness: --address 127.0.0.1:1: Ray does not answer" in err.splitlines()[-1]
    code, _, err = place.run(*RACE.split(), "--serial")
    assert code == 0, err
    assert all(entry.result for entry in read_study(place.folder / "runs/toys").entries())
