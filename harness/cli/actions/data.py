"""`harness data status | fetch | verify`: the data files that tasks read."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.api.task import DataFile
from harness.cli.actions.study_input import load_with_messages
from harness.data.download import fetch
from harness.data.files import file_status
from harness.errors import DataError
from harness.plugin.registry import Registry


def status(tasks: Sequence[str], *, all_required: bool = False) -> int:
    """Print one line per file.  Return 1 if all files are required and one is missing or damaged; else 0."""
    table = Table()
    for heading in ("task", "file", "state", "bytes", "where"):
        table.add_column(heading, overflow="fold")
    all_present = True
    for task, file in _files(load_with_messages().registry, tasks):
        status = file_status(file)
        present = status.state == "present"
        all_present = all_present and present
        where = str(status.path) if present else status.detail
        table.add_row(task, escape(file.name), status.state, f"{file.bytes:,}", escape(where))
    Console(width=None if Console().is_terminal else 160).print(table)
    return 1 if all_required and not all_present else 0


def fetch_missing(tasks: Sequence[str]) -> int:
    """Download the files that are missing.  Return 1 if a download failed, after trying all of them; else 0."""
    failed = 0
    for _, file in _files(load_with_messages().registry, tasks):
        try:
            typer.echo(f"{file.name}: {fetch(file, progress=True)}")
        except DataError as error:
            typer.echo(f"harness: {error}", err=True)
            failed = 1
    return failed


def _files(registry: Registry, tasks: Sequence[str]) -> list[tuple[str, DataFile]]:
    """Return (task name, file) for the named tasks at their default options; for all tasks if none is named."""
    by_name = {name: registry.make_task(name, {}) for name in tasks} or dict(sorted(registry.default_tasks().items()))
    return [(name, file) for name, task in by_name.items() for file in task.files()]
