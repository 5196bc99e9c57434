"""`harness check`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def check(
    name: Annotated[str, typer.Argument(help="A model, a task or a package, as `harness list` names them.")],
    assignments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Options of the task, or keywords of the model's build to hold at a value.",
            show_default=False,
        ),
    ] = None,
    expect: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--expect", metavar="CHECK=REASON", help="A check that must fail, and why. Repeatable."),
    ] = None,
) -> None:
    """Check that a model or a task keeps what the harness relies on: harness check tcn, harness check my-package.

    Exit code 0: every check passed, did not apply or failed as expected; 1: one is to be mended.
    """
    from harness.cli.actions import check

    raise typer.Exit(check.check(name, assignments or [], expect or []))
