"""Run a study: `harness.run`, and what it shares with the command line."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import Literal

from rich.console import Console

from harness.errors import LedgerError, TrackingError
from harness.execution.runner import Runner, StudyOutcome
from harness.ledger.folder import read_manifest
from harness.ledger.journal import Snapshot, read_study
from harness.plugin.loader import Loaded, load_plugins
from harness.plugin.local import NO_CLASSES, LocalClasses, with_local
from harness.recommendation.state import read_race
from harness.report.formats import ENDINGS, FORMATS, to_description
from harness.study.plan import Plan, make_plan
from harness.tracking.run_data import TAG_LIMIT
from harness.workflow.baseline import StoredCell, baseline_cells, beside
from harness.workflow.models import send_models
from harness.workflow.planned import notes, repetition_notes
from harness.workflow.results import Results, results_of
from harness.workflow.study import Study
from harness.workflow.study_log import logged
from harness.workflow.training import Place, Trained, checked, reach_store, say, train


class IncompleteWarning(UserWarning):
    """A study ended without some of its trials, or MLflow lacks some of its results."""


def run(
    study: Study,
    *,
    executor: Literal["ray", "serial"] = "ray",
    address: str | None = None,
    storage: str | os.PathLike[str] = "runs",
    tracking_uri: str | None = None,
    progress: bool = True,
    resume: bool = True,
    skip_missing: bool = False,
    log_models: bool = True,
    baseline: str | os.PathLike[str] | None = None,
) -> Results:
    """Run a study and return its results.  The same call again resumes it: only what is missing is trained.

    executor: "ray" trains in parallel on this machine, or on the Ray cluster at `address`; "serial" in this process.
    storage: folder that holds one folder per study; on a cluster, a path that driver and workers share.
    tracking_uri: of MLflow; None: MLFLOW_TRACKING_URI, or the database `mlflow.db` in the current folder.
    progress: whether to show the progress on standard error.
    resume: False starts over and keeps an earlier study of this name in a folder beside it.
    skip_missing: whether to leave out cells that lack a data file, instead of raising.
    log_models: whether the best repetition of each cell becomes an MLflow model, which takes about a second per cell.
    baseline: folder of a study, as `harness export` writes it, or of such folders.  Its cells of the same tasks are
    compared with those of this study, paired by repetition, and not trained again.  StudyError names what differs if
    they are not comparable.

    Ctrl-C stops after a checkpoint of each running trial and raises KeyboardInterrupt.  A cell that fails, trials that
    were postponed and results that MLflow lacks give an IncompleteWarning.  Raises HarnessError, with one line that
    says what to change, if the study cannot be run as it is.
    """
    place = Place(Path(storage), executor, address, tracking_uri, log_models)
    loaded = with_local(load_plugins(), study.local)
    plan = make_plan(study.definition, loaded.registry)
    plan = plan.without_missing() if skip_missing else plan
    stored = baseline_cells(plan, Path(baseline), loaded.registry) if baseline is not None else ()
    console = Console(stderr=True, quiet=not progress)
    trained = run_plan(plan, loaded, place, console, fresh=not resume, local=study.local)
    if trained.outcome is None:
        raise KeyboardInterrupt
    for text in shortcomings(trained.outcome, trained.error):
        warnings.warn(text, IncompleteWarning, stacklevel=2)
    return results_beside(read_study(trained.outcome.folder), stored, study.local)


def results_beside(snapshot: Snapshot, stored: tuple[StoredCell, ...], local: LocalClasses = NO_CLASSES) -> Results:
    """Return the results of a study, with the stored cells of its baseline, if any."""
    return Results(beside(snapshot, stored), snapshot.folder, local) if stored else results_of(snapshot, local)


def run_plan(
    plan: Plan, loaded: Loaded, place: Place, console: Console, *, fresh: bool = False, local: LocalClasses = NO_CLASSES
) -> Trained:
    """Start or resume the study of a plan, and store its report with its run in MLflow.

    Raises LedgerError if the study's folder holds a race.
    """
    if not fresh and read_race(folder := place.runs / plan.study.name) is not None:
        raise LedgerError(
            f"{folder}: holds a race of `harness recommend`; resume it with that command, give the study another name, "
            "or use --fresh"
        )
    runner = checked(Runner(plan, loaded, place.runs, fresh=fresh), console)
    reach_store(place, plan.study.name, console, begun=not fresh and read_manifest(runner.folder) is not None)
    with logged(runner.folder):
        trained = train(runner, place, console, local, notes=(*notes(plan), *repetition_notes(plan)))
        if trained.outcome is not None and trained.error is None:
            _keep_report(trained, trained.outcome)
            if place.log_models:
                log_models(results_of(read_study(trained.outcome.folder), local), place, console)
    return trained


def _keep_report(trained: Trained, outcome: StudyOutcome) -> None:
    """Store the report in every format with the study's run in MLflow, as far as MLflow answers."""
    report = results_of(read_study(outcome.folder)).content
    written = {f"report.{ENDINGS[name]}": write(report) for name, write in FORMATS.items()}
    with contextlib.suppress(TrackingError):  # `harness report` makes it again
        trained.tracking.keep_report(written, to_description(report, TAG_LIMIT))


def log_models(results: Results, place: Place, console: Console) -> None:
    """Store the trained models in MLflow; what goes wrong is printed, since the same command does it again."""
    try:
        problems = send_models(results, place.store)
    except TrackingError as error:
        problems = [str(error)]
    for problem in problems:
        say(console, problem)


def shortcomings(outcome: StudyOutcome, error: str | None) -> list[str]:
    """Return what a finished run lacks: failed cells, postponed trials, results that MLflow did not receive."""
    lacking = [f"FAILED {failure}" for failure in outcome.failed]
    if not outcome.complete:
        lacking.append("not complete: some trials were postponed; run the same study again to resume")
    return [*lacking, *([error] if error is not None else [])]
