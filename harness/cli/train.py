"""`harness train`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def train(
    task: Annotated[str, typer.Argument(help="A task, as `harness list` names it.")],
    model: Annotated[str, typer.Argument(help="A model, as `harness list` names it.")],
    assignments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="parameters, updates, batch_size, seed, options of the task, dimensions of the space.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train one trial in this process, without Ray or tracking: harness train adding tcn length=100 updates=500.

    What is not given is drawn as the first search trial of a study would draw it.
    """
    from harness.cli.actions import train

    raise typer.Exit(train.train(task, model, assignments or []))
