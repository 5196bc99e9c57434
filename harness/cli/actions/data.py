"""`harness data status | fetch | verify`."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.api.task import DataFile
from harness.cli.actions.study_input import load_with_messages
from harness.data.download import fetch
from harness.data.files import file_status as status_of
from harness.errors import DataError
from harness.plugin.registry import Registry


def status(tasks: Sequence[str], *, all_must_be_there: bool = False) -> int:
    """Prints a line a file; 1 where one must be there and is not."""
    table = Table()
    for heading in ("task", "file", "state", "bytes", "where"):
        table.add_column(heading, overflow="fold")
    good = True
    for task, file in _files(load_with_messages().registry, tasks):
        found = status_of(file)
        good = good and found.state == "present"
        where = str(found.path) if found.state == "present" else found.detail
        table.add_row(task, escape(file.name), found.state, f"{file.bytes:,}", escape(where))
    Console(width=None if Console().is_terminal else 160).print(table)
    return 1 if all_must_be_there and not good else 0


def fetch_missing(tasks: Sequence[str]) -> int:
    """Fetches what is not there; 1 where one could not be had, after trying the others."""
    failed = 0
    for _, file in _files(load_with_messages().registry, tasks):
        try:
            typer.echo(f"{file.name}: {fetch(file, progress=True)}")
        except DataError as error:
            typer.echo(f"harness: {error}", err=True)
            failed = 1
    return failed


def _files(registry: Registry, tasks: Sequence[str]) -> list[tuple[str, DataFile]]:
    """(task, file) for these tasks, at their default options; for all where none is named."""
    made = {name: registry.make_task(name, {}) for name in tasks} or dict(sorted(registry.default_tasks().items()))
    return [(name, file) for name, task in made.items() for file in task.files()]
