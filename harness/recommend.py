"""A study run as a race: in rounds, until the answer is clear or the budget is used."""

from __future__ import annotations

import json
import math
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from harness import advice
from harness.allowance import Pace, allow
from harness.decision import MINIMUM_PAIRS
from harness.errors import LedgerError, StudyError
from harness.gains import Scoring
from harness.ledger import MANIFEST, RACE, read_manifest, read_study, write_atomically
from harness.pairwise import ErrorBudget, ladder
from harness.pilot import measure
from harness.placement import Node, all_slots
from harness.plan import Plan, label_of_model, make_plan
from harness.race import Step, follow
from harness.recommendation import ANSWER, PAGE, Recommendation, Setup, answer, scoring_of
from harness.records import Record, Resources
from harness.registry import Registry
from harness.results import Standing, capped, standing
from harness.run import Outcome
from harness.study import Study, parse_study, study_toml

Train = Callable[[Study], Outcome]
"""Begins or continues a study as it is now granted."""


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
    paces: dict[str, Pace] = {}
    pilot_seconds: float = 0
    cut: int | None = None
    """Repetitions at which time ended it."""
    test_reads: tuple[int, ...] = ()
    """Repetitions at which test scores were read."""

    @property
    def granted(self) -> Study:
        return parse_study(tomllib.loads(self.study), source=RACE)


@dataclass(frozen=True)
class Wish:
    """What the command asks for."""

    study: Study
    """budget.repetitions: at most so many."""
    confidence: float = 0.95
    seconds: float | None = None
    trials: int | None = None
    """None: chosen, where there is a time budget."""
    updates: int | None = None


def begin(wish: Wish, registry: Registry, runs: Path, *, slots: int | None = None, say: Callable[[str], None]) -> Race:
    """The race in this study's folder as it was begun, extended where more is granted now; else a new one."""
    folder = runs / wish.study.name
    asked = study_toml(wish.study)
    found = read_race(folder)
    if found is None:
        if read_manifest(folder) is not None:
            raise LedgerError(
                f"{folder}: holds a study that `recommend` did not begin; give another --name, or --fresh"
            )
        return _new(wish, asked, registry, folder, slots, say)
    _check_continues(folder, found, wish, asked)
    return _extended(folder, found, wish, asked)


def _extended(folder: Path, race: Race, wish: Wish, asked: str) -> Race:
    """Return the race with the looks, or the time, that are granted now.

    It keeps the looks at which something may have been claimed, so that no error is spent twice.
    """
    if (asked, wish.seconds) == (race.asked, race.seconds):
        return race
    cut = () if race.cut is None else (race.cut,)
    kept = {n for n in (*race.looks, *cut) if n >= MINIMUM_PAIRS}
    looks = tuple(sorted(kept | {*ladder(wish.study.budget.repetitions)}))
    race = race.model_copy(update={"looks": looks, "seconds": wish.seconds, "cut": None, "asked": asked})
    _write(folder, race)
    return race


def _new(
    wish: Wish, asked: str, registry: Registry, folder: Path, slots: int | None, say: Callable[[str], None]
) -> Race:
    study, begun = wish.study, time.monotonic()
    plan = make_plan(study, registry)
    _check_one_task(plan)
    slots = slots if slots is not None else local_slots(plan.cells[0].resources)
    paces: dict[str, Pace] = {}
    if wish.seconds is not None:
        say(f"pilot: how fast {len(plan.cells)} models train here")
        paces = measure(plan.cells, study.search, registry)
        study = _affordable(wish, paces, slots)
        say(_chosen(study, paces))
    race = Race(
        asked=asked,
        study=study_toml(study),
        confidence=wish.confidence,
        looks=ladder(study.budget.repetitions),
        seconds=wish.seconds,
        slots=slots,
        paces=paces,
        pilot_seconds=time.monotonic() - begun if paces else 0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, race)
    return race


def _affordable(wish: Wish, paces: Mapping[str, Pace], slots: int) -> Study:
    study, seconds = wish.study, wish.seconds or 0
    found = allow(
        paces,
        seconds * slots,
        evaluations=study.training.evaluations,
        repetitions=study.budget.repetitions,
        updates=wish.updates,
        trials=wish.trials,
    )
    budget = study.budget.model_copy(update={"trials": found.trials, "repetitions": found.repetitions})
    given = study.training.model_dump(exclude_unset=True, exclude={"epochs"})
    training = type(study.training).model_validate({**given, "updates": found.updates})
    return study.model_copy(update={"budget": budget, "training": training})


def _chosen(study: Study, paces: Mapping[str, Pace]) -> str:
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


def _write(folder: Path, race: Race) -> None:
    write_atomically(folder / RACE, race.model_dump_json(indent=1))


def _check_continues(folder: Path, race: Race, wish: Wish, asked: str) -> None:
    """Only more repetitions and another time may be asked for."""
    was, now = (_flat(tomllib.loads(text)) for text in (race.asked, asked))
    was["confidence"], now["confidence"] = f"{race.confidence:g}", f"{wish.confidence:g}"
    if parse_study(tomllib.loads(race.asked), source=RACE).budget.repetitions <= wish.study.budget.repetitions:
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


@dataclass
class Racing:
    """Runs the rounds of a race.  `train` does the training, under the lease, as it does that of any study."""

    race: Race
    runs: Path
    registry: Registry
    train: Train
    say: Callable[[str], None] = lambda _: None
    _begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.study = self.race.granted
        self.folder = self.runs / self.study.name
        plan = make_plan(self.study, self.registry)
        self._cells = tuple(cell.cell for cell in plan.cells)
        self._models = tuple(cell.model for cell in self._cells)
        self._spent_before = self.race.pilot_seconds + self._trained_seconds()

    def run(self) -> Recommendation | None:
        """The answer, which is written to the folder too; None where something was set aside and is to be done."""
        while True:
            step = self.step()
            if not step.models:
                return self._answer(step)
            step = self._within_time(step)
            if step.models and not self._round(step).complete:
                return None

    def step(self) -> Step:
        """What is wanted next: a function of the ledger and of what was granted."""
        standings = self._standings()
        validation, test = self._scores(standings, "validation"), self._scores(standings, "test")
        if not validation:  # no search trial of any model completed
            return Step(self.race.looks[0], (), (), {})
        on_validation = on_test = Scoring("lower")
        if standings:
            facts = standings[0].facts
            # The floor of the test split says nothing of validation scores; that of validation is not recorded.
            on_validation, on_test = scoring_of(facts, None), scoring_of(facts, facts.floor)
        return follow(validation, test, self._budget(), on_validation=on_validation, on_test=on_test)

    def _budget(self) -> ErrorBudget:
        return ErrorBudget.of(self.race.confidence, looks=self._looks(), models=len(self._models))

    def _looks(self) -> tuple[int, ...]:
        cut = self.race.cut
        return self.race.looks if cut is None else (*(n for n in self.race.looks if n < cut), cut)

    def _round(self, step: Step) -> Outcome:
        self.say(
            f"{step.repetitions} repetitions of {', '.join(step.models)}"
            + "".join(f"; {model} has lost after {n}" for model, n in step.lost.items())
        )
        entries = [entry for entry in self.study.models if label_of_model(entry) in step.models]
        budget = self.study.budget.model_copy(update={"repetitions": step.repetitions})
        return self.train(self.study.model_copy(update={"models": tuple(entries), "budget": budget}))

    def _within_time(self, step: Step) -> Step:
        """As many repetitions of the next round as the time that is left has room for; the first round has its own."""
        standings = self._standings()
        scores = self._scores(standings, "validation")
        held = min(len(scores[model]) for model in step.models)
        if self.race.seconds is None or held < min(self.race.looks[0], step.repetitions):
            return step
        left = self.race.seconds - self._spent_before - (time.monotonic() - self._begun)
        cost = sum(self._seconds_of(one) for one in standings if one.facts.cell.model in step.models)
        fits = min(step.repetitions, held + max(math.floor(left * self.race.slots / max(cost, 1e-9)), 0))
        if fits == step.repetitions:
            return step
        self.race = self.race.model_copy(update={"cut": fits})
        _write(self.folder, self.race)
        self.say(f"time is used up at {fits} repetitions")
        return Step(fits, step.models if fits > held else (), step.alive, step.lost)

    def _seconds_of(self, one: Standing) -> float:
        """Of one repetition, from those that there are."""
        times = [entry.result.ended - entry.result.started for entry in one.finals if entry.result is not None]
        return sum(times) / len(times) if times else 0.0

    def _trained_seconds(self) -> float:
        """What earlier runs of the command took, as far as the ledger tells."""
        results = [entry.result for one in self._standings() for entry in one.entries if entry.result is not None]
        return sum(max(result.ended - result.started, result.train_seconds) for result in results) / self.race.slots

    def _standings(self) -> tuple[Standing, ...]:
        """Of this race's models, in their order; none before anything is written."""
        if not (self.folder / MANIFEST).exists():
            return ()
        snapshot = read_study(self.folder)
        known = {facts.cell: facts for facts in snapshot.manifest.cells}
        return tuple(standing(known[cell], snapshot.entries()) for cell in self._cells if cell in known)

    def _scores(self, standings: Sequence[Standing], split: Literal["validation", "test"]) -> dict[str, list[float]]:
        """Model → scores of the repetitions that have ended, without a gap; none of a failed search."""
        known = {one.facts.cell.model: one for one in standings}
        return {
            model: _scores_of(known[model], split) if model in known else []
            for model in self._models
            if model not in known or known[model].state != "failed" or known[model].finals
        }

    def _answer(self, step: Step) -> Recommendation:
        standings = self._standings()
        if not set(step.reads) <= set(self.race.test_reads):
            reads = tuple(sorted({*self.race.test_reads, *step.reads}))
            self.race = self.race.model_copy(update={"test_reads": reads})
            _write(self.folder, self.race)
        setup = Setup(
            study=self.study.name,
            study_id=read_study(self.folder).manifest.study_id,
            confidence=self.race.confidence,
            looks=self._looks(),
            test_reads=self.race.test_reads,
            slots=self.race.slots,
            out_of_time=self.race.cut is not None,
        )
        levelled = [capped(one, one.facts.trials, step.repetitions) for one in standings]
        found = answer(levelled, step, setup)
        write_atomically(self.folder / ANSWER, found.model_dump_json(indent=1))
        write_atomically(self.folder / PAGE, advice.page(found, self.folder))
        return found


def _scores_of(one: Standing, split: Literal["validation", "test"]) -> list[float]:
    ended = {entry.trial.repetition or 0: entry.result for entry in one.finals if entry.result is not None}
    scores: list[float] = []
    while (result := ended.get(len(scores))) is not None:
        score = result.score if split == "validation" else result.metrics.get("test", {}).get(one.facts.metric.name)
        scores.append(score if result.outcome == "complete" and score is not None else math.nan)
    return scores
