"""The state of a race between two commands: start it, resume it, and the file that stores it."""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from harness.analysis.sign_test import MINIMUM_PAIRS
from harness.errors import LedgerError, StudyError
from harness.execution.placement import Node, all_slots
from harness.ledger.folder import RACE, read_manifest, write_atomically
from harness.plugin.registry import Registry
from harness.recommendation.pairwise import ladder
from harness.recommendation.pilot import measure
from harness.recommendation.result import ANSWER, Postponed, postponed_text
from harness.recommendation.time_budget import Throughput, TimeBudget, allocate_to_fastest
from harness.records import Record, Resources
from harness.study.file import parse_study, study_toml
from harness.study.plan import Plan, make_plan
from harness.study.schema import Study

PILOT_SHARE = 0.1
"""Share of the time budget in which the pilot measures all models."""


class Race(Record):
    """What was requested and what was chosen.  It is stored so that a resumed race keeps the choice."""

    schema_version: Literal[1, 2] = 2
    """1: of an earlier version, which divided the permitted error differently: see `_of_this_version`."""
    asked: str
    """The study as requested, as TOML."""
    study: str
    """The same study with the updates, trials and repetitions that were chosen."""
    confidence: float
    looks: tuple[int, ...]
    """Repetitions at which the race looks at the scores."""
    seconds: float | None
    """Time budget of the whole race, in seconds; None: no limit."""
    slots: int
    """Trials that train at the same time."""
    paces: dict[str, Throughput] = {}
    """Model → throughput, as the pilot measured it; empty without a time budget."""
    pilot_seconds: float = 0
    postponed: tuple[Postponed, ...] = ()
    """Models for which the time budget is too short, the fastest first."""
    cut: int | None = None
    """Repetitions after which the time budget was used up."""
    test_reads: tuple[int, ...] = ()
    """Repetitions at which test scores were read."""

    @property
    def asked_repetitions(self) -> int:
        """The most repetitions that were requested; a resumed race accepts no smaller number."""
        return parse_study(tomllib.loads(self.asked), source=RACE).budget.repetitions

    @property
    def chosen_study(self) -> Study:
        """The study in `study`."""
        return parse_study(tomllib.loads(self.study), source=RACE)


@dataclass(frozen=True)
class RecommendRequest:
    """What `harness recommend` requests."""

    plan: Plan
    """The plan of the requested study.  Its budget.repetitions are the maximum that a race may use."""
    confidence: float = 0.95
    seconds: float | None = None
    """Time budget of the whole race, in seconds; None: no limit."""
    trials: int | None = None
    """Trials that the user gives; None: chosen from the time budget, if there is one."""
    updates: int | None = None
    """Updates that the user gives; None: chosen from the time budget, if there is one."""

    @property
    def study(self) -> Study:
        return self.plan.study


def race_plan(race: Race, request: RecommendRequest, registry: Registry) -> Plan:
    """Return the plan of the race: that of the request, unless the time budget chose other updates or trials."""
    study = race.chosen_study
    return request.plan if study == request.study else make_plan(study, registry)


def begin(
    request: RecommendRequest,
    registry: Registry,
    runs: Path,
    *,
    slots: int | None = None,
    fresh: bool = False,
    say: Callable[[str], None],
) -> Race:
    """Return the race of this study: the one in its folder, extended if the request allocates more, or a new one.

    Nothing is written: `RaceDriver.run` stores the race.  slots: trials that train at the same time; None: as many as
    fit on this machine.  fresh: whether a new race replaces what the folder holds.  say: receives progress messages.
    Raises LedgerError if the folder holds another study or a race that cannot be resumed with this request.
    """
    folder = runs / request.study.name
    asked = study_toml(request.study)
    race = None if fresh else read_race(folder)
    if race is not None:
        _check_resumes(folder, race, request, asked)
        return _extended(_of_this_version(folder, race), request, asked)
    if not fresh and read_manifest(folder) is not None:
        raise LedgerError(f"{folder}: holds a study that `recommend` did not start; give another --name, or --fresh")
    _check_one_task(request.plan)
    slots = slots if slots is not None else local_slots(request.plan.cells[0].resources)
    return _new(request, asked, registry, slots, say)


def _of_this_version(folder: Path, race: Race) -> Race:
    """Return the race in the present form.  Raises LedgerError if an earlier version has spent some of its error."""
    if race.schema_version == 2:
        return race
    if (folder / ANSWER).exists():
        raise LedgerError(
            f"{folder}: holds the answer of an earlier version, whose error cannot be continued; `harness predict` and "
            "`harness report` still read it; to race again, give another --name, or use --fresh"
        )
    return race.model_copy(update={"schema_version": 2})


def _extended(race: Race, request: RecommendRequest, asked: str) -> Race:
    """Return the race with the repetitions and the time of this request.

    It keeps the looks at which something may have been claimed, so that no error is spent twice.  Postponed models
    that the new time includes join the race, with the updates, trials and repetitions of the others.
    """
    if (asked, request.seconds) == (race.asked, race.seconds):
        return race
    cut = () if race.cut is None else (race.cut,)
    kept = {n for n in (*race.looks, *cut) if n >= MINIMUM_PAIRS}
    looks = tuple(sorted(kept | {*ladder(request.study.budget.repetitions)}))
    postponed = _still_postponed(race, request.seconds)
    changes = {"looks": looks, "seconds": request.seconds, "cut": None, "asked": asked, "postponed": postponed}
    return race.model_copy(update=changes)


def _still_postponed(race: Race, seconds: float | None) -> tuple[Postponed, ...]:
    """Return the models that stay postponed with another time budget; None: no limit."""
    if seconds is None or race.seconds is None:
        return ()
    if seconds <= race.seconds:
        return race.postponed
    # The race may use the new time for more repetitions, so a model that stays needs time beyond it.
    return _postponed({each.model: each.seconds for each in race.postponed if 60 * each.minutes > seconds}, seconds)


def _postponed(times: Mapping[str, float], seconds: float) -> tuple[Postponed, ...]:
    """Return the records of postponed models.  times: of each, in seconds.  seconds: the time budget without them."""
    records, total = list[Postponed](), seconds
    for model, own in times.items():
        total += own
        records.append(Postponed(model=model, seconds=own, minutes=math.ceil(total / 60)))
    return tuple(records)


def _new(request: RecommendRequest, asked: str, registry: Registry, slots: int, say: Callable[[str], None]) -> Race:
    """Return a new race.  With a time budget, the pilot measures the models first."""
    study, started = request.study, time.monotonic()
    throughputs: dict[str, Throughput] = {}
    postponed: tuple[Postponed, ...] = ()
    if request.seconds is not None:
        cells = request.plan.cells
        say(f"pilot: measuring the throughput of {len(cells)} models on this machine")
        throughputs = measure(cells, study.search, registry, PILOT_SHARE * request.seconds / len(cells))
        left = max(request.seconds - (time.monotonic() - started), 0.0)
        allocated, slow = _affordable(request, throughputs, left * slots)
        study = _chosen(study, allocated)
        postponed = _postponed({model: seconds / slots for model, seconds in slow.items()}, request.seconds)
        for text in filter(None, (_choice_text(study, throughputs), postponed_text(postponed))):
            say(text)
    return Race(
        asked=asked,
        study=study_toml(study),
        confidence=request.confidence,
        looks=ladder(study.budget.repetitions),
        seconds=request.seconds,
        slots=slots,
        paces=throughputs,
        pilot_seconds=time.monotonic() - started if throughputs else 0,
        postponed=postponed,
    )


def _affordable(
    request: RecommendRequest, throughputs: Mapping[str, Throughput], seconds: float
) -> tuple[TimeBudget, dict[str, float]]:
    """Return what fits into this time of all slots, and the postponed models: see `allocate_to_fastest`."""
    study = request.study
    return allocate_to_fastest(
        throughputs,
        seconds,
        evaluations=study.training.evaluations,
        repetitions=study.budget.repetitions,
        updates=request.updates,
        trials=request.trials,
    )


def _chosen(study: Study, allocated: TimeBudget) -> Study:
    """Return the requested study with the updates, trials and repetitions that were chosen."""
    budget = study.budget.model_copy(update={"trials": allocated.trials, "repetitions": allocated.repetitions})
    given = study.training.model_dump(exclude_unset=True, exclude={"epochs"})
    training = type(study.training).model_validate({**given, "updates": allocated.updates})
    return study.model_copy(update={"budget": budget, "training": training})


def _choice_text(study: Study, throughputs: Mapping[str, Throughput]) -> str:
    listed = ", ".join(f"{model} {1000 * value.update_seconds:.3g}" for model, value in throughputs.items())
    budget = study.budget
    return (
        f"milliseconds per update: {listed}. Every model gets {budget.trials} search trials of "
        f"{study.training.updates} updates, and up to {budget.repetitions} repetitions"
    )


def _check_one_task(plan: Plan) -> None:
    tasks = plan.study.tasks
    if len(tasks) != 1 or tasks[0].sizes or plan.study.protocol != "fair":
        raise StudyError(
            f"study {plan.study.name!r}: a recommendation needs one task at one size and protocol fair; give several "
            "sizes with --budget, or use `harness run`"
        )


def local_slots(resources: Resources) -> int:
    """Return how many trials of these resources fit on this machine at the same time."""
    memory = float(psutil.virtual_memory().total)
    return all_slots([resources], [Node("here", float(psutil.cpu_count() or 1), torch.cuda.device_count(), memory)])


def read_race(folder: Path) -> Race | None:
    """Return the race in a study's folder, None if there is none.  Raises LedgerError if it cannot be read."""
    try:
        return Race.model_validate_json((folder / RACE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise LedgerError(f"{folder / RACE}: cannot be read ({str(error).splitlines()[0]}); use --fresh") from error


def write_race(folder: Path, race: Race) -> None:
    """Write a race to its study's folder."""
    write_atomically(folder / RACE, race.model_dump_json(indent=1))


def _check_resumes(folder: Path, race: Race, request: RecommendRequest, asked: str) -> None:
    """Raise LedgerError if the request differs from the race in more than repetitions and time.

    The number of repetitions may only grow.
    """
    before, now = (_flat(tomllib.loads(text)) for text in (race.asked, asked))
    before["confidence"], now["confidence"] = f"{race.confidence:g}", f"{request.confidence:g}"
    if race.asked_repetitions <= request.study.budget.repetitions:
        before["budget.repetitions"] = now["budget.repetitions"]
    differing = [
        f"{key} {before.get(key, 'unset')} (now {now.get(key, 'unset')})"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if differing:
        raise LedgerError(
            f"{folder}: was started with {', '.join(differing)}; restore that, give another --name, or use --fresh"
        )


def _flat(tables: Any, prefix: str = "") -> dict[str, str]:  # tables of TOML, hence Any
    """Return path → value, with paths as overrides have them: `tasks.0.parameters`."""
    if isinstance(tables, list) and any(isinstance(entry, dict) for entry in tables):
        tables = {str(number): entry for number, entry in enumerate(tables)}
    if not isinstance(tables, dict):
        return {prefix: json.dumps(tables, default=str)}
    return {
        name: value
        for key, part in tables.items()
        for name, value in _flat(part, f"{prefix}.{key}" if prefix else key).items()
    }
