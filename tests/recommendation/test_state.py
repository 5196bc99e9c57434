"""Start a race, resume it, and refuse what cannot be resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import psutil
import pytest
from rich.console import Console

from harness.errors import ClusterError, LedgerError, StudyError
from harness.execution.runner import Runner
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.folder import RACE
from harness.recommendation import state
from harness.recommendation.pairwise import ladder
from harness.recommendation.result import ANSWER
from harness.recommendation.state import (
    Race,
    RecommendRequest,
    local_slots,
    race_plan,
    read_race,
    write_race,
)
from harness.recommendation.time_budget import Throughput
from harness.records import Resources
from harness.study.plan import make_plan
from harness.workflow import training
from harness.workflow.run import run_plan
from tests.conftest import MakeStudy
from tests.support.races import TABLES, Place


def test_other_request_is_refused_with_the_differences(place: Place, toy_request: RecommendRequest) -> None:
    place.race(toy_request)
    training = toy_request.study.training.model_copy(update={"updates": 9})
    other = replace(
        toy_request,
        plan=make_plan(toy_request.study.model_copy(update={"training": training}), place.loaded.registry),
        confidence=0.9,
    )
    with pytest.raises(
        LedgerError, match=r"started with confidence 0\.95 \(now 0\.9\), training\.updates 8 \(now 9\); restore that"
    ):
        place.race(other)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"tasks": [{"name": "toy-sum", "parameters": 200}]}, r"tasks\.0\.parameters 161 \(now 200\)"),
        ({"budget": {**TABLES["budget"], "trials": 3}}, r"budget\.trials 2 \(now 3\)"),
        ({"budget": {**TABLES["budget"], "repetitions": 5}}, r"budget\.repetitions 6 \(now 5\)"),
        ({"models": ["toy-ema"]}, r'models\.1\.name "toy-stack" \(now unset\)'),
    ],
)
def test_changed_study_is_refused_with_both_values(
    place: Place, toy_request: RecommendRequest, toy_study: MakeStudy, changes: dict[str, Any], difference: str
) -> None:
    place.begin(toy_request)
    before = (place.folder / RACE).read_bytes()
    message = f"was started with {difference}; restore that, give another --name, or use --fresh"
    with pytest.raises(LedgerError, match=message):
        place.race(place.request(toy_study(**{**TABLES, **changes})))
    assert (place.folder / RACE).read_bytes() == before


def test_folder_of_another_study_is_refused(place: Place, toy_request: RecommendRequest) -> None:
    runner = Runner(make_plan(toy_request.study, place.loaded.registry), place.loaded, place.runs)
    runner.run(lambda source: run_serial(source, Worker(runner.folder, place.loaded.registry)))
    with pytest.raises(LedgerError, match="holds a study that `recommend` did not start; give another --name"):
        place.race(toy_request)


def test_harness_run_refuses_the_folder_of_a_race(place: Place, toy_request: RecommendRequest) -> None:
    """It would train trials outside the race's budget, and the race could not be resumed."""
    place.begin(toy_request)
    with pytest.raises(LedgerError, match="holds a race of `harness recommend`; resume it with that command, give "):
        run_plan(toy_request.plan, place.loaded, training.Place(place.runs, "serial"), Console(quiet=True))
    assert [path.name for path in place.folder.iterdir()] == [RACE]


def test_two_tasks_are_refused(place: Place, toy_study: MakeStudy) -> None:
    tasks = [{"name": "toy-sum", "parameters": 161}, {"name": "toy-ragged", "parameters": 161}]
    with pytest.raises(StudyError, match="a recommendation needs one task at one size and protocol fair"):
        place.race(place.request(toy_study(**{**TABLES, "tasks": tasks})))


def test_damaged_race_file_is_refused_with_the_way_out(place: Place, toy_request: RecommendRequest) -> None:
    place.begin(toy_request)
    (place.folder / RACE).write_text("{")
    with pytest.raises(LedgerError, match=r"race\.json: cannot be read .* use --fresh"):
        place.race(toy_request)


def test_race_is_read_back_as_it_was_written(place: Place, toy_request: RecommendRequest) -> None:
    race = place.begin(toy_request, slots=3)
    assert read_race(place.folder) == race
    assert (race.slots, race.looks, race.seconds, race.paces) == (3, ladder(6), None, {})
    assert race.chosen_study == toy_request.study
    assert race_plan(race, toy_request, place.loaded.registry) is toy_request.plan
    assert place.said == []
    assert read_race(place.folder / "elsewhere") is None


def test_time_budget_chooses_updates_from_the_throughput_of_the_pilot(
    place: Place, toy_request: RecommendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed form: 800 s are usable, for 8 + 6 trainings of two models at 20 ms per update and nothing else."""
    throughput = Throughput(update_seconds=0.02, evaluation_seconds=0.0, start_seconds=0.0)
    monkeypatch.setattr(state, "measure", lambda *_: {"toy-ema": throughput, "toy-stack": throughput})
    timed = replace(toy_request, seconds=1000.0)
    race = place.begin(timed)
    assert race.chosen_study.training.updates == 1400  # 800 / 14 / 0.04 = 1428, in two digits
    assert "milliseconds per update: toy-ema 20, toy-stack 20." in place.said[1]
    plan = race_plan(race, toy_request, place.loaded.registry)
    assert {cell.training.updates for cell in plan.cells} == {1400}


def test_postponed_models_join_in_the_order_of_their_time(
    place: Place, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 100 updates, 2 trials and 6 repetitions, a fifth of the time kept back: 1,000 s at 1 s per update."""
    measured = {
        model: Throughput(update_seconds=seconds, evaluation_seconds=0.0, start_seconds=0.0)
        for model, seconds in {"slowest": 2.0, "fast": 0.01, "slow": 1.0}.items()
    }
    monkeypatch.setattr(state, "measure", lambda *_: measured)
    models = [{"name": "toy-ema", "as": label} for label in measured]
    request = replace(place.request(toy_study(**{**TABLES, "models": models})), trials=2, updates=100)

    def minutes_to_join(seconds: float | None) -> dict[str, int]:
        timed = replace(request, seconds=seconds)
        race = place.begin(timed)
        assert race == read_race(place.folder)
        return {each.model: each.minutes for each in race.postponed}

    assert minutes_to_join(600.0) == {"slow": 27, "slowest": 60}  # 600 + 1,000 and + 2,000 s, in whole minutes
    assert minutes_to_join(300.0) == {"slow": 27, "slowest": 60}
    assert minutes_to_join(600.0) == {"slow": 27, "slowest": 60}
    assert minutes_to_join(660.0) == {"slow": 28, "slowest": 61}  # the race may use the new minute itself
    assert minutes_to_join(60.0 * 28) == {"slowest": 62}
    assert minutes_to_join(None) == {}


def test_more_repetitions_extend_a_race(place: Place, toy_request: RecommendRequest, toy_study: MakeStudy) -> None:
    place.begin(toy_request)
    more = place.request(toy_study(**{**TABLES, "budget": {**TABLES["budget"], "repetitions": 12}}))
    race = place.begin(more)
    assert race.looks == ladder(12)
    assert read_race(place.folder) == race


def test_extended_race_keeps_the_looks_at_which_something_may_have_been_claimed(
    place: Place, toy_request: RecommendRequest, toy_study: MakeStudy
) -> None:
    def extended(repetitions: int) -> Race:
        budget = {**TABLES["budget"], "repetitions": repetitions}
        request = place.request(toy_study(**{**TABLES, "budget": budget}))
        return place.begin(request)

    assert extended(12).looks == (5, 10, 12)
    assert extended(40).looks == (5, 10, 12, 15, 20, 29, 39, 40)
    write_race(place.folder, extended(40).model_copy(update={"cut": 17}))
    assert extended(60).looks == (5, 10, 12, 15, 17, 20, 29, 39, 40, 52, 60)


def test_race_of_an_earlier_version_is_resumed_before_its_answer_and_refused_after_it(
    place: Place, toy_request: RecommendRequest
) -> None:
    race = place.begin(toy_request)
    stored = json.loads(race.model_dump_json(exclude={"test_reads"})) | {"schema_version": 1}
    (place.folder / RACE).write_text(json.dumps(stored))
    assert place.begin(toy_request) == race
    (place.folder / RACE).write_text(json.dumps(stored))
    (place.folder / ANSWER).write_text("{}")
    with pytest.raises(LedgerError, match="holds the answer of an earlier version, whose error cannot be continued"):
        place.begin(toy_request)


def test_slots_are_those_that_the_cores_and_the_memory_of_this_machine_hold() -> None:
    cores = psutil.cpu_count() or 1
    assert local_slots(Resources(cpu=cores)) == 1
    assert local_slots(Resources(cpu=cores / 2)) == 2
    with pytest.raises(ClusterError):
        local_slots(Resources(memory_gib=1e9))
