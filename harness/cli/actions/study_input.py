"""Which study a command is about: a file, the name of one that ran, or user-supplied data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from harness.errors import StudyError
from harness.ledger.folder import STUDY_FILE
from harness.plugin.loader import Loaded, load_plugins
from harness.study.cell_plan import CellPlan
from harness.study.file import read_study_file
from harness.study.from_data import parse_count, study_of_file
from harness.study.schema import Study


@dataclass(frozen=True)
class OwnData:
    """What was said of a user's own file on the command line."""

    data: Path
    target: str | None
    parameters: int
    task: str | None


def own_data(data: Path | None, *, target: str | None, budget: str | None, task: str | None) -> OwnData | None:
    """None where no file was given; StudyError where only a part was."""
    if data is None:
        given = {"--target": target, "--budget": budget, "--task": task}
        beside = next((option for option, value in given.items() if value is not None), None)
        if beside is not None:
            raise StudyError(f"{beside} is of a file of your own; give --data FILE with it")
        return None
    if budget is None:
        raise StudyError(f"--data {data}: how large may each network be? Give --budget 50k")
    return OwnData(data, target, parse_count(budget), task)


def read(
    study: Path | None,
    overrides: Sequence[str] | None,
    *,
    own: OwnData | None,
    models: str | None,
    tasks: str | None,
    profile: str | None,
    runs: Path,
) -> Study:
    """The study of a file, of a name that was run, or of a user's own data."""
    if own is not None:
        if study is not None or tasks is not None:
            raise StudyError(
                f"--data {own.data} makes the study; give no {'--tasks' if study is None else study} beside it"
            )
        return study_of_file(
            load_plugins().registry,
            own.data,
            parameters=own.parameters,
            target=own.target,
            task=own.task,
            models=names(models),
            overrides=overrides or (),
            profile=profile,
        )
    if study is None:
        raise StudyError("which study? Give its file, studies/quickstart.toml, or data of your own: --data FILE")
    kept = runs / study / STUDY_FILE
    path = kept if not study.suffix and not study.exists() and kept.exists() else study
    return read_study_file(path, overrides or (), models=names(models), tasks=names(tasks), profile=profile)


def names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def load_with_messages() -> Loaded:
    """Installed plugins; a broken one costs one line on standard error."""
    loaded = load_plugins()
    for message in loaded.registry.messages:
        typer.echo(f"harness: {message}", err=True)
    return loaded


def say_notes(console: Console, cells: Iterable[CellPlan]) -> None:
    """What the tasks have to say of their data."""
    for label, task in {plan.cell.task: plan.task for plan in cells}.items():
        for note in task.notes():
            console.print(f"{label}: {note}", markup=False, highlight=False, soft_wrap=True)
