"""`harness recommend` and `harness predict`: compare models in rounds, and predict with the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from harness.cli.actions import session, study_input
from harness.errors import StudyError, TrackingError, did_you_mean
from harness.execution.runner import Runner, StudyOutcome, keep_earlier_study
from harness.ledger.folder import read_manifest
from harness.ledger.journal import read_study
from harness.ledger.lease import leased
from harness.plugin.loader import Loaded
from harness.plugin.registry import Registry
from harness.recommendation.driver import RaceDriver
from harness.recommendation.result import ANSWER, PAGE
from harness.recommendation.state import RecommendRequest, begin, race_plan
from harness.recommendation.time_budget import TRIALS
from harness.study.file import study_of
from harness.study.from_data import parse_count, study_of_file, usable_models
from harness.study.overrides import parse_assignment
from harness.study.plan import Plan, make_plan
from harness.study.schema import Study, TrainingSection, label_text
from harness.tracking.client import store_uri
from harness.tracking.sync import Tracker

UPDATES = 1000
"""Updates per training without a time budget."""


@dataclass(frozen=True)
class RecommendOptions:
    """The options that describe the study."""

    task: str | None
    assignments: tuple[str, ...]
    data: Path | None
    target: str | None
    budget: str | None
    models: str | None
    name: str | None
    trials: int | None
    repetitions: int
    minutes: float | None
    confidence: float


@dataclass(frozen=True)
class RunOptions:
    """The options that say where the study is trained and stored."""

    runs: Path
    serial: bool
    address: str | None
    fresh: bool


def recommend(options: RecommendOptions, where: RunOptions) -> int:
    """Run the race, print the recommendation and write it to the study's folder.  Return the exit code."""
    loaded = study_input.load_with_messages()
    request = request_of(options, loaded.registry)
    if options.minutes is not None and where.address is not None:
        raise StudyError("--minutes measures this machine, not a cluster; with --address give --trials and updates=N")
    runner = session.checked(Runner(request.plan, loaded, where.runs))
    study_input.say_notes(Console(stderr=True), runner.plan.cells)
    try:
        with leased(runner.folder):  # held from the first read of the folder until the recommendation is written
            return _race(request, loaded, where)
    except KeyboardInterrupt:
        return session.interrupted()


def _race(request: RecommendRequest, loaded: Loaded, where: RunOptions) -> int:
    folder = where.runs / request.study.name
    session.reach_store(begun=not where.fresh and read_manifest(folder) is not None)
    if where.fresh:
        keep_earlier_study(folder)
    race = begin(request, loaded.registry, where.runs, slots=1 if where.serial or where.address else None, say=_say)
    train = _Training(loaded, where)
    plan = race_plan(race, request, loaded.registry)
    recommendation = RaceDriver(race, plan, where.runs, train, _say).run()
    if recommendation is None:
        typer.echo(session.INCOMPLETE, err=True)
        return 1
    typer.echo((folder / PAGE).read_text())
    error = train.error or _store_recommendation(folder)
    return 1 if error or recommendation.verdict == "failed" else 0


def _say(text: str) -> None:
    Console(stderr=True).print(f"recommend: {text}", markup=False, highlight=False, soft_wrap=True)


def _store_recommendation(folder: Path) -> str | None:
    """Send the recommendation, and all results that MLflow lacks, to the study's run.

    Return None, or the error, which is printed too.
    """
    try:
        tracker = Tracker(read_study(folder), store_uri(Path.cwd()))
        tracker.log_report({name: (folder / name).read_text() for name in (PAGE, ANSWER)})
    except TrackingError as error:
        typer.echo(f"harness: {error}", err=True)
        return str(error)
    return None


class _Training:
    """Trains the plan of a round."""

    def __init__(self, loaded: Loaded, where: RunOptions) -> None:
        self._loaded = loaded
        self._where = where
        self.error: str | None = None
        """Why MLflow lacks results after the last round.  Each round sends everything that MLflow lacks."""

    def __call__(self, plan: Plan) -> StudyOutcome:
        runner = Runner(plan, self._loaded, self._where.runs, held=True)
        done = session.train(runner, self._loaded, serial=self._where.serial, address=self._where.address)
        if done.outcome is None:
            raise KeyboardInterrupt
        self.error = done.error
        return done.outcome


def request_of(options: RecommendOptions, registry: Registry) -> RecommendRequest:
    """Return the request of a command line.  Raises StudyError if it names neither a task nor a file."""
    if options.task is None and options.data is None:
        raise StudyError("no task is given; name one that `harness list` shows, or give --data FILE")
    if not 0.5 < options.confidence < 1:
        raise StudyError(f"--confidence {options.confidence:g}: give a probability between 0.5 and 1")
    if options.data is not None and options.task is not None and "=" in options.task:
        # With --data no task needs to be named, so the first argument may be an assignment.
        options = replace(options, task=None, assignments=(options.task, *options.assignments))
    given = dict(map(parse_assignment, options.assignments))
    study = _study_of_file(options, registry) if options.data is not None else _study_of_task(options, registry)
    updates = given.get("updates", given.get("training.updates"))
    return RecommendRequest(
        plan=make_plan(study, registry),
        confidence=options.confidence,
        seconds=None if options.minutes is None else 60 * options.minutes,
        trials=options.trials,
        updates=updates if isinstance(updates, int) else None,
    )


def _study_of_file(options: RecommendOptions, registry: Registry) -> Study:
    dataset = study_input.dataset_request(options.data, target=options.target, budget=options.budget, task=options.task)
    assert dataset is not None  # `request_of` has checked
    overrides = [_full_key(text) for text in options.assignments] + _budget_overrides(options)
    models = study_input.names(options.models)
    return study_of_file(registry, replace(dataset, models=models, overrides=overrides, name=options.name))


def _study_of_task(options: RecommendOptions, registry: Registry) -> Study:
    assert options.task is not None  # `request_of` has checked
    if options.target is not None:
        raise StudyError("--target describes a dataset of your own; give --data FILE with it")
    task_options, overrides = _split_assignments(options, registry)
    task = registry.make_task(options.task, task_options)
    label = "-".join([options.task, *(label_text(f"{key}-{value}") for key, value in sorted(task_options.items()))])
    parameters = "published" if options.budget is None else parse_count(options.budget)
    tables: dict[str, Any] = {  # the tables of a study file
        "name": options.name or f"recommend-{label}",
        "models": study_input.names(options.models) or list(usable_models(registry, task)),
        "tasks": [{"name": options.task, **task_options, "parameters": parameters}],
        "budget": {"trials": TRIALS},
        "training": {"updates": UPDATES},
    }
    return study_of(tables, [*overrides, *_budget_overrides(options)], source="recommend")


def _budget_overrides(options: RecommendOptions) -> list[str]:
    trials = [] if options.trials is None else [f"budget.trials={options.trials}"]
    return [f"budget.repetitions={options.repetitions}", *trials]


def _split_assignments(options: RecommendOptions, registry: Registry) -> tuple[dict[str, Any], list[str]]:
    """Return the options of the task, and the assignments to keys of the study."""
    fields = registry.task(options.task or "").value.model_fields
    task_options: dict[str, Any] = {}
    overrides: list[str] = []
    for text in options.assignments:
        key, value = parse_assignment(text)
        if key in fields:
            task_options[key] = value
        else:
            overrides.append(_full_key(text, (*fields, *TrainingSection.model_fields)))
    return task_options, overrides


def _full_key(text: str, known: Sequence[str] | None = None) -> str:
    """Return `updates=300` as `training.updates=300`, and other assignments unchanged.

    known: keys that are valid without a section, for the StudyError about an unknown key; None: no check.
    """
    key, _, value = text.partition("=")
    if key in TrainingSection.model_fields:
        return f"training.{key}={value}"
    if known is not None and key.partition(".")[0] not in Study.model_fields:
        raise StudyError(f"recommend: unknown key {key!r};{did_you_mean(key, known)} Known: {', '.join(known)}")
    return text


def predict(folder: Path, rows: Path, output: Path | None) -> None:
    """Predict the rows of a file with a study's winner, and print or write the predictions as CSV."""
    from harness.recommendation.predictor import load_winner

    predictions = load_winner(folder).predict(rows)
    if output is None:
        typer.echo(predictions.to_csv(index=False), nl=False)
        return
    try:
        predictions.to_csv(output, index=False)
    except OSError as error:
        raise StudyError(f"--output {output}: cannot be written ({error.strerror or error})") from error
