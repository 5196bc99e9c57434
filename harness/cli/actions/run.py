"""`harness run`: train what a study lacks and print its comparison."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import typer
from rich.console import Console

from harness.cli.actions.comparison_view import show_comparison
from harness.cli.actions.session import interrupted
from harness.cli.actions.study_input import load_with_messages
from harness.ledger.journal import read_study
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.workflow.baseline import baseline_cells
from harness.workflow.run import results_beside, run_plan, shortcomings
from harness.workflow.training import Place


class RunOptions(NamedTuple):
    """Options of `harness run` beside the study and its place."""

    fresh: bool
    skip_missing: bool
    details: bool
    """Print the whole comparison as Markdown, as to a file or a pipe."""
    baseline: Path | None
    """Folder of stored results that are compared with those of the study."""


def run(study: Study, place: Place, console: Console, options: RunOptions) -> int:
    """Start or resume a study, print its comparison, and return the exit code.  console: of the progress."""
    loaded = load_with_messages()
    plan = make_plan(study, loaded.registry)
    plan = plan.without_missing() if options.skip_missing else plan
    stored = baseline_cells(plan, options.baseline, loaded.registry) if options.baseline is not None else ()
    trained = run_plan(plan, loaded, place, console, fresh=options.fresh)
    if trained.outcome is None:
        return interrupted()
    results, output = results_beside(read_study(trained.outcome.folder), stored), Console()
    if options.details or not output.is_terminal:
        typer.echo(results.summary())
    else:
        show_comparison(output, results.content)
    lacking = shortcomings(trained.outcome, None)  # what MLflow lacks has been said already
    for text in lacking:
        typer.echo(f"harness: {text}", err=True)
    return 1 if lacking or trained.error is not None else 0
