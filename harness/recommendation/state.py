"""The state of a race between two commands: begin, continue, and the file that keeps it."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from harness.errors import LedgerError, StudyError
from harness.execution.placement import Node, all_slots
from harness.ledger.folder import RACE, read_manifest, write_atomically
from harness.plugin.registry import Registry
from harness.recommendation.pilot import measure
from harness.recommendation.race import ladder
from harness.recommendation.time_budget import Throughput, allocate
from harness.records import Record, Resources
from harness.study.file import parse_study, study_toml
from harness.study.plan import Plan, make_plan
from harness.study.schema import Study


class Race(Record):
    """What was asked for and what was chosen, so that continuing does not choose anew."""

    schema_version: Literal[1] = 1
    asked: str
    """The study as it was asked for, as TOML."""
    study: str
    """The same with updates and trials as they were chosen."""
    confidence: float
    looks: tuple[int, ...]
    seconds: float | None
    """For all of it; None: until it is clear."""
    slots: int
    """Trials that train at a time."""
    paces: dict[str, Throughput] = {}
    pilot_seconds: float = 0
    cut: int | None = None
    """Repetitions at which time ended it."""

    @property
    def granted(self) -> Study:
        return parse_study(tomllib.loads(self.study), source=RACE)


@dataclass(frozen=True)
class RecommendRequest:
    """What the command asks for."""

    plan: Plan
    """Of the study as asked for; its budget.repetitions are the most that a race may use."""
    confidence: float = 0.95
    seconds: float | None = None
    trials: int | None = None
    """None: chosen, where there is a time budget."""
    updates: int | None = None

    @property
    def study(self) -> Study:
        return self.plan.study


def granted_plan(race: Race, request: RecommendRequest, registry: Registry) -> Plan:
    """The plan of what the race trains: that of the request, unless the time budget chose its updates or trials."""
    study = race.granted
    return request.plan if study == request.study else make_plan(study, registry)


def begin(
    request: RecommendRequest, registry: Registry, runs: Path, *, slots: int | None = None, say: Callable[[str], None]
) -> Race:
    """The race in this study's folder as it was begun, extended where more is granted now; else a new one."""
    folder = runs / request.study.name
    asked = study_toml(request.study)
    found = read_race(folder)
    if found is None:
        if read_manifest(folder) is not None:
            raise LedgerError(
                f"{folder}: holds a study that `recommend` did not begin; give another --name, or --fresh"
            )
        return _new(request, asked, registry, folder, slots, say)
    _check_continues(folder, found, request, asked)
    return _extended(folder, found, request, asked)


def _extended(folder: Path, race: Race, request: RecommendRequest, asked: str) -> Race:
    """With the looks, or the time, that are granted now; all looks are taken anew at the error that they then have."""
    if (asked, request.seconds) == (race.asked, race.seconds):
        return race
    planned = ladder(request.study.budget.repetitions)
    race = race.model_copy(update={"looks": planned, "seconds": request.seconds, "cut": None, "asked": asked})
    write_race(folder, race)
    return race


def _new(
    request: RecommendRequest,
    asked: str,
    registry: Registry,
    folder: Path,
    slots: int | None,
    say: Callable[[str], None],
) -> Race:
    study, begun = request.study, time.monotonic()
    plan = request.plan
    _check_one_task(plan)
    slots = slots if slots is not None else local_slots(plan.cells[0].resources)
    paces: dict[str, Throughput] = {}
    if request.seconds is not None:
        say(f"pilot: how fast {len(plan.cells)} models train here")
        paces = measure(plan.cells, study.search, registry)
        study = _affordable(request, paces, slots)
        say(_chosen(study, paces))
    race = Race(
        asked=asked,
        study=study_toml(study),
        confidence=request.confidence,
        looks=ladder(study.budget.repetitions),
        seconds=request.seconds,
        slots=slots,
        paces=paces,
        pilot_seconds=time.monotonic() - begun if paces else 0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_race(folder, race)
    return race


def _affordable(request: RecommendRequest, paces: Mapping[str, Throughput], slots: int) -> Study:
    study, seconds = request.study, request.seconds or 0
    found = allocate(
        paces,
        seconds * slots,
        evaluations=study.training.evaluations,
        repetitions=study.budget.repetitions,
        updates=request.updates,
        trials=request.trials,
    )
    budget = study.budget.model_copy(update={"trials": found.trials, "repetitions": found.repetitions})
    given = study.training.model_dump(exclude_unset=True, exclude={"epochs"})
    training = type(study.training).model_validate({**given, "updates": found.updates})
    return study.model_copy(update={"budget": budget, "training": training})


def _chosen(study: Study, paces: Mapping[str, Throughput]) -> str:
    listed = ", ".join(f"{model} {1000 * pace.update_seconds:.3g}" for model, pace in paces.items())
    budget = study.budget
    return (
        f"milliseconds an update: {listed}. Every model gets {budget.trials} search trials of {study.training.updates} "
        f"updates, and up to {budget.repetitions} repetitions"
    )


def _check_one_task(plan: Plan) -> None:
    if len(plan.study.tasks) != 1 or plan.study.protocol != "fair":
        raise StudyError(f"study {plan.study.name!r}: a recommendation is for one task, under protocol fair")


def local_slots(resources: Resources) -> int:
    """Trials of these resources that this machine trains at a time."""
    memory = float(psutil.virtual_memory().total)
    return all_slots([resources], [Node("here", float(psutil.cpu_count() or 1), torch.cuda.device_count(), memory)])


def read_race(folder: Path) -> Race | None:
    try:
        return Race.model_validate_json((folder / RACE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise LedgerError(f"{folder / RACE}: cannot be read ({str(error).splitlines()[0]}); use --fresh") from error


def write_race(folder: Path, race: Race) -> None:
    write_atomically(folder / RACE, race.model_dump_json(indent=1))


def _check_continues(folder: Path, race: Race, request: RecommendRequest, asked: str) -> None:
    """Only more repetitions and another time may be asked for."""
    was, now = (_flat(tomllib.loads(text)) for text in (race.asked, asked))
    was["confidence"], now["confidence"] = f"{race.confidence:g}", f"{request.confidence:g}"
    if parse_study(tomllib.loads(race.asked), source=RACE).budget.repetitions <= request.study.budget.repetitions:
        was["budget.repetitions"] = now["budget.repetitions"]
    differing = [
        f"{key} {was.get(key, 'unset')} (now {now.get(key, 'unset')})"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]
    if differing:
        raise LedgerError(
            f"{folder}: was begun with {', '.join(differing)}; put that back, give another --name, or use --fresh"
        )


def _flat(tables: Any, prefix: str = "") -> dict[str, str]:  # tables of TOML, hence Any
    """Values by their place, as an override names it: `tasks.0.parameters`."""
    if isinstance(tables, list) and any(isinstance(each, dict) for each in tables):
        tables = {str(number): each for number, each in enumerate(tables)}
    if not isinstance(tables, dict):
        return {prefix: json.dumps(tables, default=str)}
    return {
        name: value
        for key, part in tables.items()
        for name, value in _flat(part, f"{prefix}.{key}" if prefix else key).items()
    }
