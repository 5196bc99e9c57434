"""The command `harness`: its subcommands, and how a user error is printed."""

from __future__ import annotations

import atexit
import signal
import sys
from typing import Annotated

import typer

from harness.cli import check, data, new, plan, recommend, report, run, show, train
from harness.errors import HarnessError
from harness.execution.signals import redelivered_interrupts

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Which sequence architecture, at the same parameter budget and the same tuning budget?\n\n"
    "A study is a TOML file (see studies/): tasks x models x budget. Begin with\n\n"
    "  harness plan studies/quickstart.toml     show what would be trained\n\n"
    "  harness run studies/quickstart.toml      train, track and compare the models\n\n"
    "  harness ui                               open every trial in MLflow\n\n"
    "A usage error prints one line that says what to change, and exits with code 2.",
)
data_app = typer.Typer(no_args_is_help=True, help="List, download and verify the data files that tasks read.")
app.add_typer(data_app, name="data")
new_app = typer.Typer(no_args_is_help=True, help="Write a package with a small model or task as a starting point.")
app.add_typer(new_app, name="new")

app.command()(run.run)
app.command()(recommend.recommend)
app.command()(recommend.predict)
app.command()(plan.plan)
app.command(name="list")(show.list_)
app.command()(show.show)
app.command()(check.check)
app.command()(train.train)
app.command()(report.report)
app.command()(report.export)
app.command()(report.sync)
app.command()(report.ui)
new_app.command(name="model")(new.new_model)
new_app.command(name="task")(new.new_task)
data_app.command(name="status")(data.data_status)
data_app.command(name="fetch")(data.data_fetch)
data_app.command(name="verify")(data.data_verify)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"seqharness {version('seqharness')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line.  A HarnessError prints one line and exits with code 2; other errors are not caught."""
    try:
        with redelivered_interrupts():
            app()
    except HarnessError as error:
        typer.echo(f"harness: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # An interrupt ends the exit handlers that follow at once; raised in one, it would only print a traceback.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
