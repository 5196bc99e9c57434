"""`harness train`: one trial in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import typer

from harness.cli.actions.study_input import load_with_messages
from harness.data.files import verify_all
from harness.errors import StudyError, did_you_mean
from harness.execution.trial import Worker
from harness.plugin.loader import Loaded
from harness.records import Point, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.file import study_of
from harness.study.overrides import parse_assignment
from harness.study.plan import make_plan
from harness.study.schema import Study, TrainingSection
from harness.study.space import cell_space
from harness.workflow.formatting import params_text, widths_text

UPDATES = 1000
"""Updates of a trial unless updates or epochs are given."""


class _Echo:
    """Prints the progress of a trial; nothing is stored."""

    def __init__(self, metric: str) -> None:
        self._metric = metric

    def begin(self, trial: Trial) -> None:
        size = f"{trial.parameters:,} parameters, widths {widths_text(trial.widths)}"
        typer.echo(f"{trial.cell}: {size}, {params_text(trial.params)}")

    def point(self, point: Point) -> None:
        typer.echo(
            f"update {point.update:>7}  epoch {point.epoch:7.2f}  train loss {point.train_loss:.5g}  "
            f"validation {self._metric} {point.metrics[self._metric]:.5g}  {point.seconds:.1f} s"
        )

    def end(self, result: TrialResult) -> None:
        if result.score is not None:
            typer.echo(f"best validation {self._metric} {result.score:.6g} at update {result.best_update}")
        if result.outcome != "complete":
            typer.echo(f"{result.outcome}: {result.reason}", err=True)


def train(task: str, model: str, assignments: Sequence[str]) -> int:
    """Train one search trial in a temporary folder.  Return 0 if it completes, else 1."""
    loaded = load_with_messages()
    study = _study_of_one(loaded, task, model, assignments)
    plan = make_plan(study, loaded.registry).cells[0]
    verify_all(plan.task.files())
    proposer = Proposer(plan, seed=study.search.seed)
    trial = CellState(proposer, study_id="train").search_trial(0)
    echo = _Echo(plan.facts.metric.name)
    echo.begin(trial)
    with tempfile.TemporaryDirectory(prefix="seqharness-") as folder:
        active = Worker(Path(folder), loaded.registry).start(trial, 1)
        while True:
            slice_ = active.advance(1.0)
            for point in slice_.points:
                echo.point(point)
            if slice_.result is not None:
                echo.end(slice_.result)
                return 0 if slice_.result.outcome == "complete" else 1


def _study_of_one(loaded: Loaded, task: str, model: str, assignments: Sequence[str]) -> Study:
    """Return a study of one cell with each assignment in the section that has its key.

    Raises StudyError if no section has the key.
    """
    sections = _sections(loaded, task, model, assignments)
    known = sorted(key for keys in sections.values() for key in keys)
    given: dict[str, dict[str, object]] = {name: {} for name in sections}
    for text in assignments:
        key, value = parse_assignment(text)
        if key not in known:
            raise StudyError(f"train: unknown key {key!r};{did_you_mean(key, known)} Known: {', '.join(known)}")
        section = next(name for name, keys in sections.items() if key in keys)
        if value is None and section in ("shared", "own"):
            given[section][key] = "none"
        elif value is not None:
            given[section][key] = value
    data: dict[str, Any] = {  # tables of a study file
        "name": "train",
        "models": [{"name": model, "space": given["own"]}],
        "tasks": [{"name": task, **given["task"]}],
        "training": given["training"],
        "search": {**given["search"], "space": given["shared"]},
    }
    return study_of(data, (), updates=UPDATES, source="train")


def _sections(loaded: Loaded, task: str, model: str, assignments: Sequence[str]) -> dict[str, Set[str]]:
    """Return the keys of each section of a study of this task and model.

    The model's space depends on the task's options, so these are read from the assignments first.
    """
    options = loaded.registry.task(task).value.model_fields
    typed: dict[str, Any] = dict(map(parse_assignment, assignments))  # whatever was typed: the task validates it
    made = loaded.registry.make_task(
        task, {key: value for key, value in typed.items() if key in options and value is not None}
    )
    backbone = loaded.registry.model(model).value
    space = cell_space(made, backbone, made.signature(), shared={}, own={}, where="train")
    return {
        "task": options.keys() | {"parameters"},
        "training": TrainingSection.model_fields.keys(),
        "shared": space.common.keys(),
        "own": space.architecture.keys(),
        "search": {"seed"},
    }
