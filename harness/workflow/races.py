"""Run the races that answer a question: one, or one per size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.errors import TrackingError
from harness.execution.runner import Runner, StudyOutcome
from harness.ledger.folder import keep_earlier_study, read_manifest
from harness.ledger.journal import read_study
from harness.ledger.lease import leased
from harness.plugin.loader import Loaded
from harness.recommendation.driver import RaceDriver
from harness.recommendation.result import ANSWER, PAGE
from harness.recommendation.state import RecommendRequest, begin, race_plan
from harness.study.plan import Plan
from harness.tracking.run_data import TAG_LIMIT, cut
from harness.tracking.sync import Tracker
from harness.workflow.planned import notes
from harness.workflow.question import Question
from harness.workflow.recommendation import Recommendation
from harness.workflow.run import log_models
from harness.workflow.study_log import LogFile, logged, logger
from harness.workflow.training import Place, checked, reach_store, say, train


@dataclass(frozen=True)
class Raced:
    """How a race ended."""

    recommendation: Recommendation | None
    """None if trials were postponed."""
    error: str | None
    """Why MLflow lacks some of the results; None if it has all."""


def run_races(
    question: Question, sizes: Sequence[int], loaded: Loaded, place: Place, console: Console, *, fresh: bool
) -> list[Raced]:
    """Start or resume the race of a question at each size, one after another; without sizes at the published one.

    All of them are planned first, so that an error is raised before any training.  Raises KeyboardInterrupt after
    Ctrl-C.
    """
    requests = [at_size.request(loaded.registry) for at_size in question.at_sizes(sizes)]
    raced = []
    for number, request in enumerate(requests, start=1):
        if len(requests) > 1:
            text = f"recommend: size {number} of {len(requests)}, study {request.study.name}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        raced.append(run_race(request, loaded, place, console, fresh=fresh))
    return raced


def run_race(request: RecommendRequest, loaded: Loaded, place: Place, console: Console, *, fresh: bool) -> Raced:
    """Start or resume the race of a request.  Raises KeyboardInterrupt after Ctrl-C."""
    runner = checked(Runner(request.plan, loaded, place.runs), console)
    for text in notes(request.plan):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    # The lease is held from the first read of the folder until the recommendation is written.
    with leased(runner.folder), logged(runner.folder, hold=True) as log:
        return _race(request, _Rounds(loaded, place, console), log, fresh=fresh)


class _Rounds:
    """Trains the plan of each round."""

    def __init__(self, loaded: Loaded, place: Place, console: Console) -> None:
        self.loaded = loaded
        self.place = place
        self.console = console
        self.error: str | None = None
        """Why MLflow lacks results after the last round.  Each round sends everything that MLflow lacks."""

    def __call__(self, plan: Plan) -> StudyOutcome:
        runner = Runner(plan, self.loaded, self.place.runs, held=True)
        trained = train(runner, self.place, self.console)
        if trained.outcome is None:
            raise KeyboardInterrupt
        self.error = trained.error
        return trained.outcome

    def tell(self, text: str) -> None:
        logger.info("%s", text)
        self.console.print(f"recommend: {text}", markup=False, highlight=False, soft_wrap=True)


def _race(request: RecommendRequest, rounds: _Rounds, log: LogFile, *, fresh: bool) -> Raced:
    place, registry = rounds.place, rounds.loaded.registry
    folder = place.runs / request.study.name
    reach_store(place, request.study.name, rounds.console, begun=not fresh and read_manifest(folder) is not None)
    alone = place.executor == "serial" or place.address is not None
    race = begin(request, registry, place.runs, slots=1 if alone else None, fresh=fresh, say=rounds.tell)
    plan = race_plan(race, request, registry)
    if fresh:  # not before: what may refuse leaves the earlier race in its place
        keep_earlier_study(folder)
    log.write_held()
    if RaceDriver(race, plan, place.runs, rounds, rounds.tell).run() is None:
        return Raced(None, rounds.error)
    recommendation = Recommendation(folder.resolve())
    error = rounds.error or _store_recommendation(folder, place, rounds.console)
    if place.log_models and error is None:
        log_models(recommendation.results, place, rounds.console)
    return Raced(recommendation, error)


def _store_recommendation(folder: Path, place: Place, console: Console) -> str | None:
    """Send the recommendation, and all results that MLflow lacks, to the study's run.

    Return None, or the error, which is printed too.
    """
    try:
        tracker = Tracker(read_study(folder), place.store)
        texts: dict[str, str | bytes] = {name: (folder / name).read_text() for name in (PAGE, ANSWER)}
        tracker.log_report(texts, cut(str(texts[PAGE]), TAG_LIMIT))
    except TrackingError as error:
        say(console, str(error))
        return str(error)
    return None
