"""`harness recommend` and `harness predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from harness.cli.actions import session, study_input
from harness.errors import StudyError, TrackingError, did_you_mean
from harness.execution.runner import Runner, StudyOutcome, set_aside
from harness.ledger.folder import read_manifest
from harness.ledger.journal import read_study
from harness.ledger.lease import leased
from harness.plugin.loader import Loaded
from harness.plugin.registry import Registry
from harness.recommendation.driver import RaceDriver
from harness.recommendation.result import ANSWER, PAGE
from harness.recommendation.state import RecommendRequest, begin, granted_plan
from harness.recommendation.time_budget import TRIALS
from harness.study.file import study_of
from harness.study.from_data import parse_count, study_of_file, that_serve
from harness.study.overrides import parse_assignment
from harness.study.plan import Plan, make_plan
from harness.study.schema import Study, TrainingSection, label_text
from harness.tracking.client import store_uri
from harness.tracking.sync import Tracker

UPDATES = 1000
"""Of each training, without a time budget."""


@dataclass(frozen=True)
class Asked:
    """What stands on the command line."""

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
class Where:
    """Where it is trained and kept."""

    runs: Path
    serial: bool
    address: str | None
    fresh: bool


def recommend(asked: Asked, where: Where) -> int:
    """Run the race, print the answer and write it to the study's folder."""
    loaded = study_input.load_with_messages()
    request = request_of(asked, loaded.registry)
    if asked.minutes is not None and where.address is not None:
        raise StudyError("--minutes measures this machine, not a cluster; with --address give --trials and updates=N")
    runner = session.checked(Runner(request.plan, loaded, where.runs))
    study_input.say_notes(Console(stderr=True), runner.plan.cells)
    try:
        with leased(runner.folder):  # from the first look at what it holds until the answer is written
            return _race(request, loaded, where)
    except KeyboardInterrupt:
        return session.interrupted()


def _race(request: RecommendRequest, loaded: Loaded, where: Where) -> int:
    folder = where.runs / request.study.name
    session.reach_store(begun=not where.fresh and read_manifest(folder) is not None)
    if where.fresh:
        set_aside(folder)
    race = begin(request, loaded.registry, where.runs, slots=1 if where.serial or where.address else None, say=_say)
    train = _Training(loaded, where)
    plan = granted_plan(race, request, loaded.registry)
    found = RaceDriver(race, plan, where.runs, train, _say).run()
    if found is None:
        typer.echo("harness: not complete: what was set aside is dealt again by the same command", err=True)
        return 1
    typer.echo((folder / PAGE).read_text())
    error = train.error or _kept_with_study(folder)
    return 1 if error or found.verdict == "failed" else 0


def _say(text: str) -> None:
    Console(stderr=True).print(f"recommend: {text}", markup=False, highlight=False, soft_wrap=True)


def _kept_with_study(folder: Path) -> str | None:
    """The answer sent to the study's run in MLflow, with whatever else the store lacks; what went wrong is said."""
    try:
        tracker = Tracker(read_study(folder), store_uri(Path.cwd()))
        tracker.log_report({name: (folder / name).read_text() for name in (PAGE, ANSWER)})
    except TrackingError as error:
        typer.echo(f"harness: {error}", err=True)
        return str(error)
    return None


class _Training:
    """Trains what a round is granted."""

    def __init__(self, loaded: Loaded, where: Where) -> None:
        self._loaded = loaded
        self._where = where
        self.error: str | None = None
        """What MLflow did not take of the ledger, of which each round sends all that it lacks."""

    def __call__(self, plan: Plan) -> StudyOutcome:
        runner = Runner(plan, self._loaded, self._where.runs, held=True)
        done = session.train(runner, self._loaded, serial=self._where.serial, address=self._where.address)
        if done.outcome is None:
            raise KeyboardInterrupt
        self.error = done.error
        return done.outcome


def request_of(asked: Asked, registry: Registry) -> RecommendRequest:
    """StudyError where the command does not say what is to be trained."""
    if asked.task is None and asked.data is None:
        raise StudyError("on what? Name a task, as `harness list` does, or give data of your own: --data FILE")
    if not 0.5 < asked.confidence < 1:
        raise StudyError(f"--confidence {asked.confidence:g}: give a probability between 0.5 and 1")
    if asked.data is not None and asked.task is not None and "=" in asked.task:  # the file names the task
        asked = replace(asked, task=None, assignments=(asked.task, *asked.assignments))
    given = dict(map(parse_assignment, asked.assignments))
    study = _of_file(asked, registry) if asked.data is not None else _of_task(asked, registry)
    updates = given.get("updates", given.get("training.updates"))
    return RecommendRequest(
        plan=make_plan(study, registry),
        confidence=asked.confidence,
        seconds=None if asked.minutes is None else 60 * asked.minutes,
        trials=asked.trials,
        updates=updates if isinstance(updates, int) else None,
    )


def _of_file(asked: Asked, registry: Registry) -> Study:
    own = study_input.own_data(asked.data, target=asked.target, budget=asked.budget, task=asked.task)
    assert own is not None  # asked before
    return study_of_file(
        registry,
        own.data,
        parameters=own.parameters,
        target=own.target,
        task=own.task,
        models=study_input.names(asked.models),
        overrides=[_whole_key(text) for text in asked.assignments] + _counts(asked),
        name=asked.name,
    )


def _of_task(asked: Asked, registry: Registry) -> Study:
    assert asked.task is not None  # asked before
    if asked.target is not None:
        raise StudyError("--target is of a file of your own; give --data FILE with it")
    options, others = _options(asked, registry)
    task = registry.make_task(asked.task, options)
    label = "-".join([asked.task, *(label_text(f"{key}-{value}") for key, value in sorted(options.items()))])
    tables: dict[str, Any] = {  # as a study file has them
        "name": asked.name or f"recommend-{label}",
        "models": study_input.names(asked.models) or list(that_serve(registry, task)),
        "tasks": [
            {
                "name": asked.task,
                **options,
                "parameters": "published" if asked.budget is None else parse_count(asked.budget),
            }
        ],
        "budget": {"trials": TRIALS},
        "training": {"updates": UPDATES},
    }
    return study_of(tables, [*others, *_counts(asked)], source="recommend")


def _counts(asked: Asked) -> list[str]:
    trials = [] if asked.trials is None else [f"budget.trials={asked.trials}"]
    return [f"budget.repetitions={asked.repetitions}", *trials]


def _options(asked: Asked, registry: Registry) -> tuple[dict[str, Any], list[str]]:
    """Options of the task, and values of the study."""
    fields = registry.task(asked.task or "").value.model_fields
    options: dict[str, Any] = {}
    others: list[str] = []
    for text in asked.assignments:
        key, value = parse_assignment(text)
        if key in fields:
            options[key] = value
        else:
            others.append(_whole_key(text, (*fields, *TrainingSection.model_fields)))
    return options, others


def _whole_key(text: str, known: Sequence[str] | None = None) -> str:
    """`updates=300` as the value of a study that it is; known: what else may stand without a dot."""
    key, _, value = text.partition("=")
    if key in TrainingSection.model_fields:
        return f"training.{key}={value}"
    if known is not None and key.partition(".")[0] not in Study.model_fields:
        raise StudyError(f"recommend: unknown key {key!r};{did_you_mean(key, known)} Known: {', '.join(known)}")
    return text


def predict(folder: Path, rows: Path, output: Path | None) -> None:
    """What a study's winner says of the rows of a file, as CSV."""
    from harness.recommendation.predictor import load_winner

    answers = load_winner(folder).predict(rows)
    if output is None:
        typer.echo(answers.to_csv(index=False), nl=False)
        return
    try:
        answers.to_csv(output, index=False)
    except OSError as error:
        raise StudyError(f"--output {output}: cannot be written ({error.strerror or error})") from error
