"""Execute the notebooks of docs/notebooks/ and store them with their outputs.

    python docs/make_notebooks.py [NAME]...

`tests/integration/test_notebooks.py` executes them too; it fails when a cell raises.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent / "notebooks"
SECONDS = 600
"""Maximum time of one cell."""


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Execute every cell in a folder.  Raises CellExecutionError, with the traceback, if a cell raises."""
    client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}})
    return client.execute(env={**os.environ, "HARNESS_CACHE": str(folder / "cache")})


def read(path: Path) -> NotebookNode:
    """Read a notebook in the present format of Jupyter."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def portable(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without what depends on the machine: times, the version of Python, warnings with paths."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(names: Iterable[str]) -> None:
    """Execute the notebooks of these names, or all."""
    for path in [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory(prefix="seqharness-notebook-") as folder:
            executed = portable(execute(read(path), Path(folder)))
            nbformat.write(executed, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1:])
