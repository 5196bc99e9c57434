"""`harness check`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def check(
    name: Annotated[str, typer.Argument(help="Name of a model, a task, a sampler or a package; see `harness list`.")],
    assignments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Options of the task, or parameters of the model's build to fix at a value.",
            show_default=False,
        ),
    ] = None,
    expect: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--expect", metavar="CHECK=REASON", help="A check that must fail, and the reason. Repeatable."),
    ] = None,
) -> None:
    """Check that a model, a task, a sampler or all of a package meet the requirements: harness check tcn.

    Exit codes: 0, every check passed, does not apply or failed as expected; 1, a check failed, or passed although it
    was expected to fail; 2, a usage error.
    """
    from harness.cli.actions import check

    raise typer.Exit(check.check(name, assignments or [], expect or []))
