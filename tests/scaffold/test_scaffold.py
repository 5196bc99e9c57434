"""The packages that `harness new` writes: installed, listed, checked and trained without changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

import harness
from harness.errors import ScaffoldError
from harness.scaffold import Kind, write_package

TRAIN = {
    "model": ("copy-memory", "my-thing", "length=5", "sequences=64"),
    "task": ("my-thing", "gru", "length=6", "sequences=64"),
}
SHORT = ("parameters=2000", "updates=4", "batch_size=8", "evaluations=2")


def run(*command: str, path: str, cwd: Path) -> str:
    """Run a command with this import path and return its standard output; fail with its messages."""
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed_path(package: Path) -> str:
    """Return an import path on which the package is installed: its source, and metadata as pip writes them."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = package / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "\n".join(f"{key} = {value}" for key, value in project["entry-points"]["harness"].items())
    (info / "entry_points.txt").write_text(f"[harness]\n{points}\n")
    return os.pathsep.join([str(package / "src"), str(info.parent), *filter(None, sys.path)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "task"])
def test_new_package_is_listed_passes_its_own_tests_and_trains(kind: Kind, tmp_path: Path) -> None:
    pytest.importorskip("harness_tasks", reason="it trains on a task of seqharness-tasks")
    pytest.importorskip("harness_models", reason="it trains a model of seqharness-models")
    package = write_package(kind, "my-thing", tmp_path)
    path = installed_path(package)
    python = (sys.executable, "-c", "from harness.cli.main import main; main()")
    assert "my-thing" in run(*python, "list", path=path, cwd=tmp_path)
    output = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path=path, cwd=package)
    assert re.search(r"\d+ passed", output)
    assert "failed" not in output
    assert "best validation" in run(*python, "train", *TRAIN[kind], *SHORT, path=path, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_new_packages_in_a_fresh_environment(tmp_path: Path) -> None:
    root = Path(harness.__file__ or "").parents[1]
    if not (root / "plugins").is_dir():
        pytest.skip("installs the distributions of a checkout")
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python, command = str(environment / "bin" / "python"), str(environment / "bin" / "harness")
    packages = [write_package("model", "my-net", tmp_path), write_package("task", "my-coins", tmp_path)]
    ours = [root, root / "plugins" / "models", root / "plugins" / "tasks", *packages]
    constraints = ("-c", str(root / "constraints.txt"))
    run(python, "-m", "pip", "install", "-q", *constraints, *map(str, ours), "pytest", path="", cwd=tmp_path)
    listed = run(command, "list", path="", cwd=tmp_path)
    assert "my-net" in listed
    assert "my-coins" in listed
    for package in packages:
        assert package.name in run(command, "plan", str(package / "study.toml"), path="", cwd=tmp_path)
        run(command, "check", package.name, path="", cwd=tmp_path)
        run(python, "-m", "pytest", "-q", path="", cwd=package)
    short = ("-s", "budget.trials=1", "-s", "budget.repetitions=1", "-s", "training.updates=10")
    quickstart = str(root / "studies" / "quickstart.toml")
    table = run(command, "run", quickstart, "--serial", "--models", "gru,my-net", *short, path="", cwd=tmp_path)
    assert "my-net" in table
    study = str(packages[1] / "study.toml")
    assert "my-coins" in run(command, "run", study, "--serial", *short, path="", cwd=tmp_path)


@pytest.mark.parametrize("kind", ["model", "task"])
def test_templates_have_no_placeholder_left(kind: Kind, tmp_path: Path) -> None:
    package = write_package(kind, "my-thing", tmp_path)
    files = sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file())
    assert f"src/my_thing/{kind}.py" in files
    assert {"pyproject.toml", "README.md", "study.toml", "tests/test_contract.py", "src/my_thing/py.typed"} < set(files)
    for file in files:
        assert "$" not in (package / file).read_text()
        if file.endswith(".py"):
            compile((package / file).read_text(), file, "exec")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My_Net", "did you mean 'my-net'"),
        ("9nets", "starts with a letter"),
        ("a--b", "did you mean 'a-b'"),
        ("../up", "did you mean 'up'"),
        ("", "starts with a letter"),
        ("a" * 41, "at most 40 characters"),
        ("class", "'class' is reserved; try 'my-class'"),
        ("json", "'json' is reserved"),
        ("tests", "'tests' is reserved"),
        ("torch", "a module 'torch' is installed; try 'my-torch'"),
        ("harness", "a module 'harness' is installed"),
    ],
)
def test_invalid_name_is_a_one_line_error(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match=re.escape(message)) as caught:
        write_package("model", name, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "my-net").mkdir()
    with pytest.raises(ScaffoldError, match="my-net already exists; remove it, choose another name, or give --fold"):
        write_package("model", "my-net", tmp_path)
    assert list((tmp_path / "my-net").iterdir()) == []


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ScaffoldError, match=r"cannot be written \(Not a directory\); give another --folder"):
        write_package("model", "my-net", tmp_path / "file")
