"""The study that a command works on: a study file, a study that has run, or a user-supplied dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from harness.errors import StudyError
from harness.ledger.folder import STUDY_FILE
from harness.plugin.loader import Loaded, load_plugins
from harness.study.file import read_study_file
from harness.study.from_data import DataRequest, parse_counts, study_of_file
from harness.study.schema import Study


@dataclass(frozen=True)
class StudyRequest:
    """The study of `harness run` and `harness plan`, as the command line names it."""

    study: Path | None
    """A study file, the folder of a study, or its name in `runs`."""
    dataset: DataRequest | None
    """A user-supplied dataset, in place of `study`."""
    overrides: Sequence[str]
    models: str | None
    """Names or labels, separated by commas."""
    tasks: str | None
    profile: str | None
    runs: Path


def dataset_request(
    data: Path | None, *, target: str | None, budget: str | None, task: str | None
) -> DataRequest | None:
    """Return the dataset of the command line, None if none is given.

    budget: parameters of each network, such as `50k` or `5k,20k`.  Raises StudyError if --data or --budget is missing.
    """
    if data is None:
        given = {"--target": target, "--budget": budget, "--task": task}
        option = next((option for option, value in given.items() if value is not None), None)
        if option is not None:
            raise StudyError(f"{option} describes a dataset of your own; give --data FILE with it")
        return None
    if budget is None:
        raise StudyError(f"--data {data}: the size of the networks is missing; give their parameters, as --budget 50k")
    return DataRequest(data, parse_counts(budget), target=target, task=task)


def read(request: StudyRequest) -> Study:
    """Return the study.  Raises StudyError if it is missing, ambiguous or invalid."""
    study, dataset = request.study, request.dataset
    if dataset is not None:
        if study is not None or request.tasks is not None:
            other = "--tasks" if study is None else study
            raise StudyError(f"--data {dataset.data} makes a study of its own; leave out {other}")
        changed = replace(dataset, models=names(request.models), overrides=request.overrides, profile=request.profile)
        return study_of_file(load_plugins().registry, changed)
    if study is None:
        raise StudyError("no study is given; name its file, such as studies/quickstart.toml, or give --data FILE")
    place = located(study, request.runs)
    path = place / STUDY_FILE if place.is_dir() else place
    found = read_study_file(
        path, request.overrides, models=names(request.models), tasks=names(request.tasks), profile=request.profile
    )
    if place.is_dir() and found.name == read_study_file(path).name:
        _check_resumes(place, request.runs / found.name)
    return found


def _check_resumes(named: Path, resumed: Path) -> None:
    """Raise StudyError if the folder that the user names is not the one that a run resumes."""
    if named.resolve() != resumed.resolve():
        here = f", --runs {named.absolute().parent} to resume this one" if named.name == resumed.name else ""
        raise StudyError(
            f"{named}: a run of study {resumed.name!r} goes to {resumed}, not to this folder; give {resumed.name} to "
            f"resume the study there{here}, or -s name=NAME to start a new one"
        )


def located(study: Path, runs: Path) -> Path:
    """Return where a study is that is given by a path, or by its name in `runs`; a path that exists comes first."""
    named = runs / study
    return named if named.is_dir() and not study.exists() else study


def names(text: str | None) -> list[str] | None:
    """Split names at commas; None stays None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def load_with_messages() -> Loaded:
    """Load the installed plugins.  A plugin that cannot be loaded prints one line on standard error."""
    loaded = load_plugins()
    for message in loaded.registry.messages:
        typer.echo(f"harness: {message}", err=True)
    return loaded
