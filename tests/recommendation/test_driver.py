"""A race from its first trial to its answer: interrupted, extended, out of time."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.analysis.stored_study import StoredStudy, SyncMark
from harness.execution import serial
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.journal import read_study
from harness.recommendation import driver as driver_module
from harness.recommendation import state
from harness.recommendation.driver import RaceDriver
from harness.recommendation.gains import Scoring
from harness.recommendation.page import page
from harness.recommendation.pairwise import ladder
from harness.recommendation.race import Step, follow
from harness.recommendation.result import ANSWER, PAGE, Recommendation
from harness.recommendation.state import RecommendRequest, begin, race_plan, read_race
from harness.recommendation.time_budget import Throughput
from harness.report.report import build_report
from harness.study.plan import Plan, make_plan
from harness.study.schema import Study
from tests.conftest import MakeStudy
from tests.support.races import TABLES, Place, reproducible_part
from tests.support.sources import Interrupting
from tests.support.toys import ToySum


def test_race_runs_in_rounds_and_writes_its_answer(place: Place, toy_request: RecommendRequest) -> None:
    answer = place.race(toy_request)
    assert place.rounds[0] == (2, 5)
    assert {candidate.model for candidate in answer.candidates} == {"toy-ema", "toy-stack"}
    assert sum(candidate.probability or 0 for candidate in answer.candidates) == pytest.approx(1)
    assert Recommendation.model_validate_json((place.folder / ANSWER).read_text()) == answer
    assert (place.folder / PAGE).read_text() == page(answer, place.folder)


def test_report_marks_a_race_and_ranks_nothing(place: Place, toy_request: RecommendRequest) -> None:
    place.race(toy_request)
    snapshot = read_study(place.folder)
    report = build_report(StoredStudy(snapshot.manifest, snapshot.entries(), SyncMark.of(snapshot.entries())))
    assert report.race
    assert [row.status for row in report.rows] == [f"race, {row.repetitions_ended} repetitions" for row in report.rows]
    assert all(row.repetitions_ended >= 5 and row.rank is None for row in report.rows)


def test_test_data_are_scored_once_per_repetition(place: Place, toy_request: RecommendRequest) -> None:
    place.race(toy_request)
    results = [entry.result for entry in read_study(place.folder).entries() if entry.trial.phase == "final"]
    assert results
    assert all(result is not None and result.test_opened == 1 for result in results)


@pytest.mark.parametrize("after", [40, *(pytest.param(after, marks=pytest.mark.slow) for after in (3, 110))])
def test_interrupted_race_gives_the_answer_of_an_uninterrupted_one(
    place: Place, toy_request: RecommendRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)
    whole = replace(place, runs=tmp_path / "whole", rounds=[]).race(toy_request)
    with pytest.raises(KeyboardInterrupt):
        place.race(toy_request, around=lambda source: Interrupting(source, after, before=False))
    assert reproducible_part(place.race(toy_request)) == reproducible_part(whole)


def test_finished_race_trains_nothing_more(place: Place, toy_request: RecommendRequest) -> None:
    answer = place.race(toy_request)
    place.rounds.clear()
    assert place.race(toy_request) == answer
    assert place.rounds == []


def test_more_repetitions_are_added_to_those_already_trained(place: Place, toy_request: RecommendRequest) -> None:
    first = place.race(toy_request)
    assert first.candidates[0].repetitions <= 6
    budget = toy_request.study.budget.model_copy(update={"repetitions": 12})
    study = toy_request.study.model_copy(update={"budget": budget})
    place.race(replace(toy_request, plan=make_plan(study, place.loaded.registry)))
    race = read_race(place.folder)
    assert race is not None
    assert race.looks == ladder(12)
    trials = [entry.trial for entry in read_study(place.folder).entries() if entry.trial.phase == "final"]
    trained = [(trial.cell.model, trial.repetition) for trial in trials]
    assert len(trained) == len(set(trained))


def test_race_records_when_test_scores_were_read_and_how_exact_they_are(
    place: Place, toy_request: RecommendRequest
) -> None:
    first = place.race(toy_request)
    assert first.test_reads == (6,)
    budget = toy_request.study.budget.model_copy(update={"repetitions": 12})
    study = toy_request.study.model_copy(update={"budget": budget})
    longer = replace(toy_request, plan=make_plan(study, place.loaded.registry))
    answer = place.race(longer)
    assert answer.test_reads[0] == 6
    assert answer.test_reads[-1] in (10, 12)
    assert place.race(longer) == answer
    race = read_race(place.folder)
    assert race is not None
    assert race.test_reads == answer.test_reads
    assert f"read {len(answer.test_reads)} times, after 6 and" in (place.folder / PAGE).read_text()
    finals = [entry.result for entry in read_study(place.folder).entries() if entry.trial.phase == "final"]
    assert all(result is not None and result.test_groups and result.test_errors["mse"] > 0 for result in finals)


def test_validation_scores_are_compared_with_the_floor_of_validation(
    place: Place, toy_request: RecommendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float | None, float | None]] = []

    def watched(*scores: Any, on_validation: Scoring, on_test: Scoring) -> Step:
        seen.append((on_validation.floor, on_test.floor))
        return follow(*scores, on_validation=on_validation, on_test=on_test)

    monkeypatch.setattr(driver_module, "follow", watched)
    monkeypatch.setattr(ToySum, "validation_floor", lambda self: 7.0)
    request = place.request(toy_request.study)
    place.race(request)
    assert set(seen[1:]) == {(7.0, 1 / 18)}  # before the study has a manifest, nothing is known


@pytest.mark.slow
def test_single_model_is_reported_as_alone(place: Place, toy_study: MakeStudy) -> None:
    training = {"updates": 400, "batch_size": 8, "evaluations": 2}
    budget = {**TABLES["budget"], "repetitions": 12}
    tables = {**TABLES, "models": ["toy-ema"], "training": training, "budget": budget}
    answer = place.race(place.request(toy_study(**tables)))
    assert (answer.verdict, answer.model, answer.probability) == ("alone", "toy-ema", 1.0)


def test_model_that_always_raises_fails_and_the_others_go_on(place: Place, toy_study: MakeStudy) -> None:
    broken = {"name": "toy-ema", "as": "broken", "space": {"fault": "raise"}}
    answer = place.race(place.request(toy_study(**{**TABLES, "models": ["toy-ema", broken]})))
    by_model = {candidate.model: candidate for candidate in answer.candidates}
    assert by_model["broken"].place == "failed"
    assert "told to raise" in by_model["broken"].reason
    assert by_model["toy-ema"].place == "leader"


def test_race_without_any_score_recommends_nothing(place: Place, toy_study: MakeStudy) -> None:
    broken = {"name": "toy-ema", "as": "broken", "space": {"fault": "nan"}}
    answer = place.race(place.request(toy_study(**{**TABLES, "models": [broken]})))
    assert (answer.verdict, answer.model, answer.winner) == ("failed", None, None)
    assert "No repetition of any model has a score" in (place.folder / PAGE).read_text()


def test_cell_of_another_task_in_the_folder_does_not_change_the_answer(
    place: Place, toy_request: RecommendRequest, toy_study: MakeStudy
) -> None:
    """Another driver may add cells to the folder, whose model label alone does not tell them apart."""
    expected = place.race(toy_request)
    other = toy_study(**{**TABLES, "tasks": [{"name": "toy-ragged", "parameters": 161}]})
    runner = Runner(make_plan(other, place.loaded.registry), place.loaded, place.runs)
    runner.run(lambda source: run_serial(source, Worker(runner.folder, place.loaded.registry)))
    assert place.race(toy_request) == expected


@pytest.mark.slow
def test_pilot_of_a_time_budget_runs_once(
    place: Place, toy_request: RecommendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = replace(toy_request, seconds=30.0)
    answer = place.race(timed)
    assert "pilot" in place.said[0]
    assert answer.updates >= 100
    race = read_race(place.folder)
    assert race is not None
    assert race.chosen_study.training.updates == answer.updates
    assert set(race.paces) == {"toy-ema", "toy-stack"}
    monkeypatch.setattr(state, "measure", lambda *_: pytest.fail("measured again"))
    assert place.race(timed) == answer


def timed(place: Place, study: Study, monkeypatch: pytest.MonkeyPatch, seconds: float) -> RecommendRequest:
    """Return a request with a time budget, in which the pilot finds 0.3 s per training of each model."""
    throughput = Throughput(update_seconds=0.001, evaluation_seconds=0.0, start_seconds=0.0)
    monkeypatch.setattr(state, "measure", lambda cells, *_: {cell.cell.model: throughput for cell in cells})
    return replace(place.request(study), seconds=seconds, trials=2, updates=300)


LEARNING = {**TABLES, "training": {"updates": 300, "batch_size": 8, "evaluations": 2}}


def test_race_ends_undecided_when_the_time_is_used_up_and_goes_on_with_more_time(
    place: Place, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below `MINIMUM_PAIRS` repetitions nothing is decided, and the first round has 5."""
    monkeypatch.setattr(RaceDriver, "_trained_seconds", lambda self: 1e6)
    request = timed(place, toy_study(**LEARNING), monkeypatch, 60.0)
    answer = place.race(request)
    assert (answer.verdict, answer.out_of_time) == ("undecided", True)
    assert place.rounds == [(2, 5)]
    race = read_race(place.folder)
    assert race is not None
    assert race.cut == 5
    assert place.said[-1] == "the time budget is used up after 5 repetitions"
    assert place.race(replace(request, seconds=1e7)).out_of_time is False
    assert place.rounds[1:] == [(2, 6)]


def test_race_for_which_the_time_was_short_from_the_start_asks_for_more_time(
    place: Place, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed form: 4.8 s are usable, 0.6 s per training of two equal models: 2 trials and 6 repetitions of 29."""
    models = [{"name": "toy-ema", "as": label} for label in ("one", "two")]
    study = toy_study(**{**LEARNING, "models": models, "budget": {**TABLES["budget"], "repetitions": 29}})
    monkeypatch.setattr(driver_module, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no round is cut
    request = timed(place, study, monkeypatch, 6.01)
    answer = place.race(request)
    assert (answer.verdict, answer.out_of_time, answer.asked_repetitions) == ("undecided", True, 29)
    assert place.rounds == [(2, 5), (2, 6)]
    hours = {"hours": 1.0, "candidates": tuple(each.model_copy(update={"needed": 15}) for each in answer.candidates)}
    assert "again with more --minutes to resume" in page(answer.model_copy(update=hours), place.folder)
    race = begin(replace(request, seconds=600.0), place.loaded.registry, place.runs, slots=1, say=place.said.append)
    assert race.looks == ladder(29)


@pytest.mark.parametrize(("rounds_left", "fitting"), [(3.5, 3), (0.5, 0), (-2.0, 0), (4.0 + 1e-6, 4)])
def test_round_is_cut_to_the_repetitions_that_fit_into_the_time(
    place: Place,
    toy_request: RecommendRequest,
    monkeypatch: pytest.MonkeyPatch,
    rounds_left: float,
    fitting: int,
) -> None:
    """Closed form: the time of one repetition of every model, in a round of 4 more repetitions."""
    place.race(toy_request)
    results = [
        e.result for e in read_study(place.folder).entries() if e.trial.phase == "final" and e.result is not None
    ]
    done = len(results) // 2
    round_seconds = sum(result.ended - result.started for result in results) / done
    race = begin(toy_request, place.loaded.registry, place.runs, slots=1, say=place.said.append)
    monkeypatch.setattr(driver_module, "time", SimpleNamespace(monotonic=lambda: 0.0))
    driver = RaceDriver(race, race_plan(race, toy_request, place.loaded.registry), place.runs, _never, _started=0.0)
    seconds = driver._used_before_seconds + rounds_left * round_seconds
    driver.race = race.model_copy(update={"seconds": seconds})
    step = replace(driver.step(), repetitions=done + 4, models=("toy-ema", "toy-stack"))
    cut = driver._within_time(step)
    assert cut.repetitions == done + fitting
    assert cut.models == (step.models if fitting else ())
    stored = read_race(place.folder)
    assert stored is not None
    assert stored.cut == (done + fitting if fitting < 4 else None)


def _never(plan: Plan) -> StudyOutcome:
    pytest.fail("nothing may be trained")


def test_each_round_says_who_leads_so_far(place: Place, toy_request: RecommendRequest) -> None:
    place.race(toy_request)
    rounds = [text for text in place.said if " repetitions of " in text]
    assert "so far" not in rounds[0]
    finals = [e for e in read_study(place.folder).entries() if e.trial.phase == "final" and e.result is not None]
    first = int(rounds[0].split(" ")[0])
    means = {
        model: statistics.fmean(
            e.result.score
            for e in finals
            if e.trial.cell.model == model and (e.trial.repetition or 0) < first and e.result and e.result.score
        )
        for model in ("toy-ema", "toy-stack")
    }
    leader = min(means, key=lambda model: means[model])
    assert f"so far {leader} leads with a mean validation mse of {means[leader]:.4g}" in rounds[1]
