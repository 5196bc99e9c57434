"""`harness train`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def train(
    task: Annotated[str, typer.Argument(help="Name of a task; see `harness list`.")],
    model: Annotated[str, typer.Argument(help="Name of a model; see `harness list`.")],
    assignments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="parameters, seed, keys of the training section such as updates=500, options of the task, and "
            "dimensions of the search space.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train one trial in this process, without Ray or tracking: harness train adding tcn length=100 updates=500.

    Dimensions that are not given are drawn as in the first search trial of a study.

    Exit codes: 0, the trial completed; 1, it diverged, failed or ran out of memory; 2, a usage error.
    """
    from harness.cli.actions import train

    raise typer.Exit(train.train(task, model, assignments or []))
