"""The notebooks of the site: they run, and they train what the command line trains."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_reference import script
from tests.support.documents import ROOT
from tests.support.ledgers import reproducible_by_key

pytest.importorskip("nbclient", reason="notebooks are executed by nbclient")
pytest.importorskip("harness_models", reason="the notebooks use first-party models")
pytest.importorskip("harness_tasks", reason="the notebooks use first-party tasks")

NOTEBOOKS = ROOT / "docs" / "notebooks"

pytestmark = [
    pytest.mark.skipif(not NOTEBOOKS.exists(), reason="the core's wheel is tested without the documents"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # Of Jupyter's client, in a process that is about to end.
    pytest.mark.filterwarnings("default::ResourceWarning", "default::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def run_notebook(name: str, folder: Path, *, executor: str = "serial", without: str | None = None) -> dict[str, str]:
    """Execute a notebook in a folder, and return its text by type of cell.  without: text of cells to leave out."""
    make = script("make_notebooks")
    notebook = make.read(NOTEBOOKS / f"{name}.ipynb")
    notebook.cells = [cell for cell in notebook.cells if without is None or without not in cell.source]
    for cell in notebook.cells:
        cell.source = cell.source.replace('executor="serial"', f'executor="{executor}"')
    folder.mkdir()
    make.execute(notebook, folder)
    kinds = ("code", "markdown")
    return {kind: "\n".join(cell.source for cell in notebook.cells if cell.cell_type == kind) for kind in kinds}


def run_python(arguments: list[str], folder: Path) -> None:
    folder.mkdir()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_quickstart_trains_the_same_in_a_notebook_a_script_and_on_the_command_line(tmp_path: Path) -> None:
    text = run_notebook("quickstart", tmp_path / "notebook")
    (tmp_path / "quickstart.py").write_text(text["code"])
    run_python([str(tmp_path / "quickstart.py")], tmp_path / "script")
    (command,) = re.findall(r"```sh\nharness (.*?)```", text["markdown"], flags=re.DOTALL)
    arguments = shlex.split(command.replace("\\\n", " ").replace("studies/", f"{ROOT}/studies/"))
    run_python(["-m", "harness", *arguments], tmp_path / "command")
    notebook, as_script, by_command = (
        reproducible_by_key(tmp_path / way / "runs" / "quickstart") for way in ("notebook", "script", "command")
    )
    assert len(notebook) == 24
    assert notebook == as_script == by_command


def test_your_data(tmp_path: Path) -> None:
    run_notebook("your-data", tmp_path / "notebook")


@pytest.mark.xdist_group("ray")
def test_model_of_a_cell_trains_the_same_serial_and_on_ray(tmp_path: Path) -> None:
    run_notebook("your-model", tmp_path / "serial")
    run_notebook("your-model", tmp_path / "ray", executor="ray", without="check_model")
    serial, ray = (reproducible_by_key(tmp_path / way / "runs" / "decay") for way in ("serial", "ray"))
    assert {key for key in serial if "decay" in key}
    assert serial == ray
