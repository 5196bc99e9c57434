"""`harness train`: one trial in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import typer

from harness.cli.actions.formatting import params_text, widths_text
from harness.cli.actions.study_input import load_with_messages
from harness.data.files import verify_all
from harness.errors import StudyError, did_you_mean
from harness.execution.trial import Worker
from harness.plugin.loader import Loaded
from harness.records import Point, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.file import parse_study
from harness.study.overrides import parse_assignment
from harness.study.plan import make_plan
from harness.study.schema import Study, TrainingSection
from harness.study.space import cell_space


class _Echo:
    """Prints a trial as it goes; nothing is kept."""

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
        if result.outcome == "complete":
            typer.echo(f"best validation {self._metric} {result.score:.6g} at update {result.best_update}")
        else:
            typer.echo(f"{result.outcome}: {result.reason}", err=True)


def train(task: str, model: str, assignments: Sequence[str]) -> int:
    """One search trial, in a folder that is thrown away."""
    loaded = load_with_messages()
    study = _study_of_one(loaded, task, model, assignments)
    plan = make_plan(study, loaded.registry).cells[0]
    verify_all(plan.task.files())
    proposer = Proposer(plan, seed=study.search.seed, sampler="random")
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
    """Each assignment to the part of a study that knows its key."""
    options = loaded.registry.task(task).value.model_fields
    typed: dict[str, Any] = dict(map(parse_assignment, assignments))  # whatever was typed: the task validates it
    given = {key: value for key, value in typed.items() if key in options and value is not None}
    made = loaded.registry.make_task(task, given)
    source = loaded.registry.model(model).value
    space = cell_space(made, source, made.signature(), shared={}, own={}, where="train")
    homes: dict[str, Set[str]] = {
        "task": options.keys() | {"parameters"},
        "training": TrainingSection.model_fields.keys(),
        "shared": space.common.keys(),
        "own": space.architecture.keys(),
        "search": {"seed"},
    }
    known = sorted(key for keys in homes.values() for key in keys)
    parts: dict[str, dict[str, object]] = {name: {} for name in homes}
    for text in assignments:
        key, value = parse_assignment(text)
        if key not in known:
            raise StudyError(f"train: unknown key {key!r};{did_you_mean(key, known)} Known: {', '.join(known)}")
        home = next(name for name, keys in homes.items() if key in keys)
        if value is None and home in ("shared", "own"):
            parts[home][key] = "none"
        elif value is not None:
            parts[home][key] = value
    data = {
        "name": "train",
        "models": [{"name": model, "space": parts["own"]}],
        "tasks": [{"name": task, **parts["task"]}],
        "training": parts["training"] if "epochs" in parts["training"] else {"updates": 1000, **parts["training"]},
        "search": {**parts["search"], "space": parts["shared"]},
    }
    return parse_study(data, source="train")
