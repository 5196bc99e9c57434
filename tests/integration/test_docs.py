from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.ledger.journal import read_study
from harness.records import Resources
from harness.study.file import parse_study
from harness.testing import check_task
from tests.faults.machines import Machine, room
from tests.faults.place import wait_until
from tests.support.command import run_command
from tests.support.documents import ROOT, code_blocks

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").exists(), reason="the core's wheel is tested without the documents"
)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [block.strip() for block in code_blocks("README.md", "sh")]
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert f"{commands[1]} -m full" == ci[-1]


def test_the_study_of_the_readme_is_a_study() -> None:
    (text,) = code_blocks("README.md", "toml")
    assert parse_study(tomllib.loads(text), "README.md").name == "jsb"


def test_the_model_of_the_docs_installs_is_listed_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("harness_tasks", reason="the docs train on a task of seqharness-tasks")
    package, site = tmp_path / "running-mean", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(code_blocks("docs/write-a-model.md", "toml")[0])
    (package / "running_mean.py").write_text(code_blocks("docs/write-a-model.md", "python")[0])
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(package)], check=True
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    assert run_command(monkeypatch, "list") == 0
    assert "running-mean" in capsys.readouterr().out
    command = "train copy-memory running-mean length=5 sequences=64 parameters=500 updates=4 batch_size=8 evaluations=2"
    assert run_command(monkeypatch, *command.split()) == 0
    assert "best validation" in capsys.readouterr().out


def test_the_piano_rolls_of_the_docs_are_a_sound_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("harness_tasks", reason="the docs build on a task of seqharness-tasks")
    rng = np.random.default_rng(0)
    lengths = {"train": 30, "validation": 10, "test": 20}
    rolls = {
        f"{split}-{piece}": np.repeat(rng.random((10, 88)) < 0.05, 4, axis=0).astype(np.uint8)
        for split, pieces in lengths.items()
        for piece in range(pieces)
    }
    np.savez(tmp_path / "rolls.npz", allow_pickle=False, **rolls)
    monkeypatch.chdir(tmp_path)
    text, call = (block for block in code_blocks("docs/write-a-task.md", "python") if "read(" in block)
    (tmp_path / "my_rolls.py").write_text(text + call.replace("print(", "MyRolls.floors = ("))
    monkeypatch.syspath_prepend(tmp_path)
    task = importlib.import_module("my_rolls").MyRolls()
    failed = {result.check: result.reason for result in check_task(task) if result.status == "failed"}
    assert failed == {}
    assert task.floor() < 0.9 * 88 * -(0.05 * np.log(0.05) + 0.95 * np.log(0.95))


# ---- docs/cluster.md


def test_the_resources_of_the_cluster_page_are_those_of_a_study() -> None:
    (text,) = code_blocks("docs/cluster.md", "toml")
    given = tomllib.loads(text)["resources"]
    assert Resources.model_validate(given).model_dump() == given


def test_the_manifest_of_the_cluster_page_keeps_the_ledger_on_a_volume_that_all_pods_have() -> None:
    (text,) = code_blocks("docs/cluster.md", "yaml")
    claim, job = yaml.safe_load_all(text)
    assert (claim["kind"], job["kind"]) == ("PersistentVolumeClaim", "RayJob")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    cluster = job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    for pod in pods:
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (container,) = pod["containers"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/runs"}]
    assert "--storage /runs" in job["spec"]["entrypoint"]
    assert cluster["authOptions"] == {"mode": "token"}
    pinned = (ROOT / "constraints.txt").read_text()
    assert f"ray=={cluster['rayVersion']}" in pinned


def test_the_slurm_script_of_the_cluster_page_is_bash() -> None:
    (text,) = code_blocks("docs/cluster.md", "bash")
    subprocess.run(["bash", "-n", "-c", text], check=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("ray")
def test_the_commands_of_the_cluster_page_run(tmp_path: Path) -> None:
    """On two machines made of Linux namespaces, with a small version of the quickstart."""
    pytest.importorskip("harness_tasks", reason="the page runs the quickstart")
    token, head_starts, other_starts, run_study, stop = code_blocks("docs/cluster.md", "sh")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": path, "MLFLOW_TRACKING_URI": uri}
    with room(environment) as machines:
        head, other = machines.boot(), machines.boot()

        def do(machine: Machine, command: str) -> subprocess.CompletedProcess[str]:
            text = command.replace("HEAD", head.address).replace("/shared", str(tmp_path))
            script = f"export RAY_AUTH_MODE=token; {text}"
            return subprocess.run(
                [*machine.enter(ROOT), "bash", "-c", script],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )

        do(head, token)
        assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
        do(head, head_starts)
        do(other, other_starts)
        small = "-s budget.trials=1 -s budget.repetitions=1 -s training.updates=10"
        done = do(other, f"{run_study.strip()} {small}")
        assert "## copy-30" in done.stdout
        (folder,) = (tmp_path / "runs").iterdir()
        entries = read_study(folder).entries()
        assert all(entry.result and entry.result.outcome == "complete" for entry in entries)
        assert len({entry.result.node for entry in entries if entry.result}) == 2
        for machine in (head, other):
            do(machine, stop)
            wait_until(partial(has_no_ray, machine))


def has_no_ray(machine: Machine) -> bool:
    """Return whether no raylet runs.  Zombies do not count: nobody waits for them on a machine without an init."""
    listed = [*machine.enter(), "ps", "-e", "-o", "stat=,comm="]
    ps = subprocess.run(listed, capture_output=True, text=True, check=True)
    return not any("raylet" in line for line in ps.stdout.splitlines() if not line.startswith("Z"))


def test_the_options_of_the_gpu_page_are_those_of_a_study() -> None:
    (text,) = code_blocks("docs/gpu.md", "toml")
    study = parse_study({"name": "x", "models": ["m"], "tasks": [{"name": "t"}], **tomllib.loads(text)}, "docs/gpu.md")
    assert (study.resources.stack, study.resources.graphs, study.training.precision) == (4, True, "bfloat16")
