"""`harness new`: write a package to begin with."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.errors import ScaffoldError
from harness.plugin.loader import load_plugins
from harness.scaffold import Kind, write_package


def make(kind: Kind, name: str, folder: Path) -> None:
    """Write the package and print the next commands.  Raises ScaffoldError if the name or the folder is taken."""
    _check_free(name)
    package = write_package(kind, name, folder)
    typer.echo(f"wrote {package}. Next:\n")
    compare = f"harness run {package / 'study.toml'}"
    for command in (f"pip install -e {package}", "harness list", f"harness check {name}", compare):
        typer.echo(f"  {command}")


def _check_free(name: str) -> None:
    """Raise ScaffoldError if an installed plugin has a model or a task of this name: the two could not be loaded."""
    registry = load_plugins().registry
    for entry in (registry.models.get(name), registry.tasks.get(name)):
        if entry is not None:
            raise ScaffoldError(f"{name!r} is taken: {entry.plugin.name} provides it ({entry.origin}); try 'my-{name}'")
