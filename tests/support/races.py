"""Races of the toys, run in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.plugin.loader import Loaded
from harness.recommendation.driver import RaceDriver
from harness.recommendation.result import Recommendation
from harness.recommendation.state import Race, RecommendRequest, begin, race_plan, write_race
from harness.study.plan import Plan, make_plan
from harness.study.schema import Study

TABLES: dict[str, Any] = {  # tables of a study file, hence Any
    "models": ["toy-ema", "toy-stack"],
    "budget": {"trials": 2, "repetitions": 6, "tolerance": 0.2},
    "training": {"updates": 8, "batch_size": 8, "evaluations": 2},
}


@dataclass
class Place:
    """Where races run, and the record of what they did."""

    runs: Path
    loaded: Loaded
    said: list[str] = field(default_factory=list)
    """Progress messages."""
    rounds: list[tuple[int, int]] = field(default_factory=list)
    """Models and repetitions of each round."""

    def request(self, study: Study) -> RecommendRequest:
        return RecommendRequest(make_plan(study, self.loaded.registry))

    def begin(self, request: RecommendRequest, *, slots: int = 1) -> Race:
        """Return the race of a request, and store it as its first round does."""
        race = begin(request, self.loaded.registry, self.runs, slots=slots, say=self.said.append)
        self.folder.mkdir(exist_ok=True)
        write_race(self.folder, race)
        return race

    def race(
        self, request: RecommendRequest, around: Callable[[TrialSource], TrialSource] = lambda source: source
    ) -> Recommendation:
        """Start or resume the race of a request.  around: wraps the source that the executor asks for trials."""
        race = begin(request, self.loaded.registry, self.runs, slots=1, say=self.said.append)

        def train(plan: Plan) -> StudyOutcome:
            self.rounds.append((len(plan.study.models), plan.study.budget.repetitions))
            runner = Runner(plan, self.loaded, self.runs)
            return runner.run(lambda source: run_serial(around(source), Worker(runner.folder, self.loaded.registry)))

        plan = race_plan(race, request, self.loaded.registry)
        recommendation = RaceDriver(race, plan, self.runs, train, self.said.append).run()
        assert recommendation is not None
        return recommendation

    @property
    def folder(self) -> Path:
        return self.runs / "toys"


def reproducible_part(recommendation: Recommendation) -> dict[str, Any]:
    """Return what must not depend on interruptions: everything but times and the random id of the study."""
    dumped = recommendation.model_dump(
        mode="json", exclude={"study_id": True, "hours": True, "winner": {"key", "weights"}}
    )
    for candidate in dumped["candidates"]:
        candidate.pop("seconds")
    dumped["winner"]["trial"].pop("study")
    dumped["winner"]["trial"].pop("winner")
    return dumped
