"""Which architecture for these data: `harness.recommend`, and what it shares with the command line."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from rich.console import Console

from harness.data.in_memory import data_file
from harness.errors import LedgerError, TrackingError
from harness.execution.runner import Runner, StudyOutcome, keep_earlier_study
from harness.ledger.folder import read_manifest
from harness.ledger.journal import read_study
from harness.ledger.lease import leased
from harness.plugin.loader import Loaded, load_plugins
from harness.recommendation import page
from harness.recommendation.driver import RaceDriver
from harness.recommendation.predictor import Winner, load_winner
from harness.recommendation.result import ANSWER, PAGE
from harness.recommendation.result import Recommendation as Answer
from harness.recommendation.saved_winner import read_recommendation
from harness.recommendation.state import RecommendRequest, begin, race_plan
from harness.report.columns import Column, to_frame
from harness.study.from_data import parse_count
from harness.study.plan import Plan
from harness.tracking.run_data import TAG_LIMIT, cut
from harness.tracking.sync import Tracker
from harness.workflow.planned import notes
from harness.workflow.question import REPETITIONS, Question
from harness.workflow.results import Results, results_of
from harness.workflow.run import IncompleteWarning, log_models
from harness.workflow.study_log import logged, logger
from harness.workflow.training import Place, checked, reach_store, say, train

if TYPE_CHECKING:
    from harness.data.in_memory import DataLike

COLUMNS = {
    "model": Column("string", "label of the model"),
    "place": Column("string", "leader, equivalent, open, lost or failed"),
    "probability": Column("Float64", "probability of the best mean test score, 0 to 1"),
    "mean": Column("Float64", "mean test score, on the metric's scale"),
    "low": Column("Float64", "lower end of its 95 % interval"),
    "high": Column("Float64", "upper end of that interval"),
    "repetitions": Column("Int64", "repetitions that were trained"),
    "scored": Column("Int64", "repetitions with a score"),
    "parameters": Column("Int64", "trainable parameters of the whole network"),
    "seconds": Column("Float64", "mean time of one training, in seconds"),
    "reason": Column("string", "why repetitions or trials have no score"),
}
"""Of `Recommendation.table`."""


@dataclass(frozen=True)
class Recommendation:
    """The answer to "which architecture?", and the trained network."""

    folder: Path
    """Folder of the study that compared the models."""

    @cached_property
    def content(self) -> Answer:
        """All numbers of the answer, as stored in `recommendation.json`."""
        return read_recommendation(self.folder)

    @property
    def answer(self) -> str:
        """The answer in one or two sentences."""
        return page.brief(self.content)

    @property
    def verdict(self) -> str:
        """best, equivalent, undecided, alone, nothing-learned or failed."""
        return self.content.verdict

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per model, the leader first: `COLUMNS`."""
        return to_frame(
            (
                {
                    **{name: getattr(candidate, name, None) for name in COLUMNS},
                    **(candidate.interval.model_dump() if candidate.interval is not None else {}),
                }
                for candidate in self.content.candidates
            ),
            COLUMNS,
        )

    @cached_property
    def winner(self) -> Winner:
        """The recommended model as it was trained, or the leader if the comparison is inconclusive.

        Raises LedgerError if no model has a score.
        """
        return load_winner(self.folder)

    @cached_property
    def results(self) -> Results:
        """The trials behind the answer."""
        return results_of(read_study(self.folder))

    def page(self) -> str:
        """Return the whole recommendation as Markdown."""
        return (self.folder / PAGE).read_text()

    def _repr_markdown_(self) -> str:
        return self.page()

    def __repr__(self) -> str:
        return f"Recommendation({self.answer})"


@dataclass(frozen=True)
class Raced:
    """How a race ended."""

    recommendation: Recommendation | None
    """None if trials were postponed."""
    error: str | None
    """Why MLflow lacks some of the results; None if it has all."""


def run_race(request: RecommendRequest, loaded: Loaded, place: Place, console: Console, *, fresh: bool) -> Raced:
    """Start or resume the race of a request.  Raises KeyboardInterrupt after Ctrl-C."""
    runner = checked(Runner(request.plan, loaded, place.runs), console)
    for text in notes(request.plan):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    # The lease is held from the first read of the folder until the recommendation is written.
    with leased(runner.folder), logged(runner.folder):
        return _race(request, _Rounds(loaded, place, console), fresh=fresh)


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


def _race(request: RecommendRequest, rounds: _Rounds, *, fresh: bool) -> Raced:
    place, registry = rounds.place, rounds.loaded.registry
    folder = place.runs / request.study.name
    reach_store(place, request.study.name, rounds.console, begun=not fresh and read_manifest(folder) is not None)
    if fresh:
        keep_earlier_study(folder)
    alone = place.executor == "serial" or place.address is not None
    race = begin(request, registry, place.runs, slots=1 if alone else None, say=rounds.tell)
    plan = race_plan(race, request, registry)
    if RaceDriver(race, plan, place.runs, rounds, rounds.tell).run() is None:
        return Raced(None, rounds.error)
    recommendation = Recommendation(folder.resolve())
    error = rounds.error or _store_recommendation(folder, place, rounds.console)
    if place.log_models and error is None:
        log_models(recommendation.results, place, rounds.console)
    return Raced(recommendation, error)


def recommend(
    data: DataLike | None = None,
    target: str | None = None,
    budget: int | str | None = None,
    *,
    task: str | None = None,
    options: Mapping[str, Any] | None = None,
    models: Sequence[str] | None = None,
    minutes: float | None = None,
    trials: int | None = None,
    repetitions: int = REPETITIONS,
    confidence: float = 0.95,
    name: str | None = None,
    executor: Literal["ray", "serial"] = "ray",
    address: str | None = None,
    storage: str | os.PathLike[str] = "runs",
    tracking_uri: str | None = None,
    progress: bool = True,
    resume: bool = True,
    log_models: bool = True,
) -> Recommendation:
    """Compare models on data of your own, or on a task, and return the answer with its trained network.

    Every model gets the same number of search trials.  Then the winners train again with new seeds, round by round, and
    models that have clearly lost are dropped.  The same call again resumes an interrupted comparison.

    data: path of a file, a DataFrame, or arrays by name.  target: column or array to predict.
    budget: parameters of each network, such as 50_000 or "50k"; required with data.
    task: name of the task, in place of data; with data, the task that reads them.
    options: of the task or of the study, such as `{"sequence": "id", "updates": 500, "budget.trials": 5}`.
    models: names; None: all installed ones that can be used.
    minutes: time budget on this machine.  None: 15 minutes, unless trials, updates or an address are given.
    trials: search trials per model.  repetitions: most repetitions of each winner.
    confidence: 1 less the probability of a wrong answer, above 0.5.
    executor, address, storage, tracking_uri, progress, resume, log_models: as in `harness.run`.

    Raises HarnessError, with one line that says what to change, if the comparison cannot be made as asked, and
    KeyboardInterrupt after Ctrl-C.
    """
    place = Place(Path(storage), executor, address, tracking_uri, log_models)
    loaded = load_plugins()
    asked = Question(
        task=task,
        assignments=tuple(assignments(options or {})),
        data=None if data is None else data_file(data, place.runs / "data", name or "frame"),
        target=target,
        parameters=parse_count(budget) if isinstance(budget, str) else budget,
        models=None if models is None else tuple(models),
        name=name,
        trials=trials,
        repetitions=repetitions,
        minutes=minutes,
        confidence=confidence,
        address=address,
    )
    raced = run_race(
        asked.request(loaded.registry), loaded, place, Console(stderr=True, quiet=not progress), fresh=not resume
    )
    if raced.error is not None:
        warnings.warn(raced.error, IncompleteWarning, stacklevel=2)
    if raced.recommendation is None:
        raise LedgerError(f"{place.runs}: some trials were postponed; call `recommend` again to resume")
    return raced.recommendation


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


def assignments(options: Mapping[str, Any]) -> list[str]:
    """Return options as `key=value`, as the command line takes them."""
    return [f"{key}={_as_toml(value)}" for key, value in options.items()]


def _as_toml(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_as_toml, value))}]"
    return "none" if value is None else json.dumps(value)
