"""`harness run`: train what a study lacks and print its comparison."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from harness.cli.actions.session import INCOMPLETE, Done, checked, interrupted, reach_store, train
from harness.cli.actions.study_input import load_with_messages, say_notes
from harness.errors import LedgerError, TrackingError
from harness.execution.runner import Runner
from harness.ledger.folder import read_manifest
from harness.recommendation.state import read_race
from harness.report.formats import ENDINGS, FORMATS, to_summary
from harness.report.report import build_report
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.tracking.reader import read_store


def run(study: Study, *, runs: Path, fresh: bool, skip_missing: bool, serial: bool, address: str | None) -> int:
    """Start or resume a study.  Return the exit code.

    address: of a Ray cluster; None: this machine.  Raises LedgerError if the study's folder holds a race.
    """
    if not fresh and read_race(folder := runs / study.name) is not None:
        raise LedgerError(
            f"{folder}: holds a race of `harness recommend`; resume it with that command, give the study another name, "
            "or use --fresh"
        )
    loaded = load_with_messages()
    plan = make_plan(study, loaded.registry)
    runner = Runner(plan.without_missing() if skip_missing else plan, loaded, runs, fresh=fresh)
    say_notes(Console(stderr=True), checked(runner).plan.cells)
    reach_store(begun=not fresh and read_manifest(runner.folder) is not None)
    done = train(runner, loaded, serial=serial, address=address)
    if done.outcome is None:
        return interrupted()
    _show_table(done, study.name)
    for failure in done.outcome.failed:
        typer.echo(f"harness: FAILED {failure}", err=True)
    if not done.outcome.complete:
        typer.echo(INCOMPLETE, err=True)
    return 1 if done.error is not None or done.outcome.failed or not done.outcome.complete else 0


def _show_table(done: Done, study: str) -> None:
    """Print the comparison, and store it with the study's run in MLflow."""
    assert done.outcome is not None  # `run` has checked
    try:
        report = build_report(read_store(done.uri, study, done.outcome.study_id, curves=True))
        typer.echo(to_summary(report))
        done.tracking.keep_report({f"report.{ENDINGS[name]}": write(report) for name, write in FORMATS.items()})
    except TrackingError as failure:
        typer.echo(f"harness: the comparison is not available: {failure}", err=True)
