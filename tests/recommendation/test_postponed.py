"""A model that is too slow for the time budget: the others are compared, and it may join later."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from harness.ledger.journal import read_study
from harness.plugin.loader import Loaded
from harness.recommendation import pilot
from harness.recommendation.page import brief
from harness.recommendation.pairwise import ErrorBudget
from harness.recommendation.result import PAGE, Recommendation
from harness.recommendation.state import RecommendRequest, begin
from tests.conftest import MakeStudy
from tests.support.plans import with_model
from tests.support.races import TABLES, Place, reproducible_part
from tests.support.toys import ToyEma

TRAINING = {**TABLES["training"], "updates": 20}


class Sleeping(ToyEma):
    """Sleeps in every pass, so that 20 updates take five seconds."""

    name = "toy-sleeping"
    pause = 0.25

    def build(self, *args: Any, **params: Any) -> nn.Module:
        network = super().build(*args, **params)
        network.register_forward_pre_hook(self._sleep)
        return network

    def _sleep(self, *_: nn.Module | tuple[Tensor, ...]) -> None:
        time.sleep(self.pause)


@pytest.fixture
def slow_place(tmp_path: Path, toy_loaded: Loaded) -> Place:
    return Place(tmp_path, Loaded(with_model(toy_loaded.registry, Sleeping()), toy_loaded.hooks))


@pytest.fixture
def timed(slow_place: Place, toy_study: MakeStudy) -> RecommendRequest:
    """Ten seconds: enough for two models, and a fifth of what the third takes."""
    study = toy_study(**{**TABLES, "models": ["toy-sleeping", "toy-ema", "toy-stack"], "training": TRAINING})
    return replace(slow_place.request(study), seconds=10.0, trials=2, updates=20)


def models_of(answer: Recommendation) -> set[str]:
    return {candidate.model for candidate in answer.candidates}


def test_slow_model_is_postponed_and_joins_when_it_gets_the_time_that_the_answer_names(
    slow_place: Place, timed: RecommendRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    first = slow_place.race(timed)
    assert time.monotonic() - started < 10  # the slow model alone takes 5 s per trial
    assert models_of(first) == {"toy-ema", "toy-stack"}
    (postponed,) = first.postponed
    # 2 trials and 6 repetitions of 20 updates and 6 evaluations at 0.25 s, with a fifth of the time kept back
    assert 65 <= postponed.seconds < 120
    text = f"toy-sleeping (about 2 min, --minutes {postponed.minutes}). To include it, run the same command again with "
    for shown in (brief(first), (slow_place.folder / PAGE).read_text(), slow_place.said[2]):
        assert text + f"--minutes {postponed.minutes}." in shown
    assert slow_place.race(timed) == first

    monkeypatch.setattr(Sleeping, "pause", 0.0)
    second = slow_place.race(replace(timed, seconds=60.0 * postponed.minutes))
    assert (models_of(second), second.postponed) == ({*models_of(first), "toy-sleeping"}, ())
    trials = [entry.trial for entry in read_study(slow_place.folder).entries()]
    assert len({trial.key for trial in trials}) == len(trials)
    for phase, count in (("search", 2), ("final", 6)):
        budgets = [(t.model, t.training.updates) for t in trials if t.phase == phase]
        assert sorted(budgets) == sorted((model, 20) for model in models_of(second) for _ in range(count))
    whole = replace(slow_place, runs=tmp_path / "whole").race(replace(timed, seconds=None))
    assert reproducible_part(second) == reproducible_part(whole)


def test_pilot_of_a_slow_model_ends_with_its_share_of_the_time(
    slow_place: Place, timed: RecommendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlimited, its three configurations take 15 s."""
    monkeypatch.setattr(Sleeping, "pause", 0.25)
    measured = pilot.measure(timed.plan.cells, timed.study.search, slow_place.loaded.registry, 0.6)
    assert measured["toy-sleeping"].update_seconds == pytest.approx(0.25, rel=0.2)
    race = begin(timed, slow_place.loaded.registry, slow_place.runs, slots=1, say=slow_place.said.append)
    assert race.pilot_seconds < 5


def test_postponed_models_count_in_the_permitted_error(
    slow_place: Place, timed: RecommendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may join later; the claims of the first answer must hold with theirs."""
    divided: list[int] = []
    shared = ErrorBudget.of

    def watched(confidence: float, *, looks: Sequence[int], models: int) -> ErrorBudget:
        divided.append(models)
        return shared(confidence, looks=looks, models=models)

    monkeypatch.setattr(ErrorBudget, "of", watched)
    assert slow_place.race(timed).postponed
    assert len(divided) >= 3  # two rounds and the answer
    assert set(divided) == {3}
