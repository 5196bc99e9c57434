"""`harness list` and `harness show`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def list_() -> None:
    """List the installed models and tasks with their plugin, version and origin."""
    from harness.cli.actions import show

    show.show_registry()


def show(
    name: Annotated[str, typer.Argument(help="Name of a task or a model; see `harness list`.")],
    options: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[KEY=VALUE]...", help="Options of the task, such as length=500.", show_default=False),
    ] = None,
) -> None:
    """Show a task's size, floor, published values and data, or a model's search space and published settings."""
    from harness.cli.actions import show

    show.show(name, options or [])
