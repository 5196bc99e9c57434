"""`harness new`."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.scaffold import Kind, write_package

STUDY = "studies/quickstart.toml"


def make(kind: Kind, name: str, folder: Path) -> None:
    """Writes the package and says what to do with it."""
    package = write_package(kind, name, folder)
    compare = {
        "model": f"harness run {STUDY} --models {name}",
        "task": f"harness run {package / 'study.toml'}",
    }[kind]
    typer.echo(f"wrote {package}. Next:\n")
    for command in (f"pip install -e {package}", "harness list", f"harness check {name}", compare):
        typer.echo(f"  {command}")
