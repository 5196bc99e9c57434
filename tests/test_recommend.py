"""A race from its first trial to its answer: interrupted, extended, refused, out of time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import recommend, serial, winner
from harness.advice import page
from harness.cli import running
from harness.errors import CheckpointError, LedgerError, PluginError, StudyError
from harness.ledger import RACE, read_study
from harness.pairwise import ladder
from harness.plugins import Loaded
from harness.recommend import Racing, Wish, begin, read_race
from harness.recommendation import ANSWER, PAGE, Recommendation, train_command
from harness.records import Plugin
from harness.report import build_report
from harness.results import Mark, StoredStudy
from harness.run import Outcome, Runner
from harness.serial import run_serial
from harness.study import Study, parse_study
from harness.trial import Desk, Worker
from harness.winner import load_winner
from tests.test_run import Interrupting

MakeStudy = Callable[..., Study]

TABLES: dict[str, Any] = {  # tables of a study file, hence Any
    "models": ["toy-ema", "toy-stack"],
    "budget": {"trials": 2, "repetitions": 6, "tolerance": 0.2},
    "training": {"updates": 8, "batch_size": 8, "evaluations": 2},
}


@pytest.fixture
def wish(toy_study: MakeStudy) -> Wish:
    return Wish(toy_study(**TABLES))


@dataclass
class Place:
    """Where a race is run, and what was said of it."""

    runs: Path
    loaded: Loaded
    said: list[str] = field(default_factory=list)
    granted: list[tuple[int, int]] = field(default_factory=list)
    """Models and repetitions of each round."""

    def race(self, wish: Wish, around: Callable[[Desk], Desk] = lambda desk: desk) -> Recommendation:
        race = begin(wish, self.loaded.registry, self.runs, slots=1, say=self.said.append)

        def train(study: Study) -> Outcome:
            self.granted.append((len(study.models), study.budget.repetitions))
            runner = Runner(study, self.loaded, self.runs)
            return runner.run(lambda desk: run_serial(around(desk), Worker(runner.folder, self.loaded.registry)))

        found = Racing(race, self.runs, self.loaded.registry, train, self.said.append).run()
        assert found is not None
        return found

    @property
    def folder(self) -> Path:
        return self.runs / "toys"


@pytest.fixture
def place(tmp_path: Path, toy_loaded: Loaded) -> Place:
    return Place(tmp_path, toy_loaded)


def lasting(found: Recommendation) -> dict[str, Any]:
    """What must not depend on interruptions: all but times and the study's random id."""
    dumped = found.model_dump(mode="json", exclude={"study_id": True, "hours": True, "winner": {"key", "weights"}})
    for one in dumped["candidates"]:
        one.pop("seconds")
    dumped["winner"]["trial"].pop("study")
    dumped["winner"]["trial"].pop("winner")
    return dumped


# ---- rounds


def test_a_race_answers_in_rounds_and_keeps_its_answer(place: Place, wish: Wish) -> None:
    found = place.race(wish)
    assert place.granted[0] == (2, 5)
    assert {one.model for one in found.candidates} == {"toy-ema", "toy-stack"}
    assert sum(one.probability or 0 for one in found.candidates) == pytest.approx(1)
    assert Recommendation.model_validate_json((place.folder / ANSWER).read_text()) == found
    assert (place.folder / PAGE).read_text() == page(found, place.folder)


def test_the_report_of_a_race_knows_that_it_is_one(place: Place, wish: Wish) -> None:
    place.race(wish)
    here = read_study(place.folder)
    report = build_report(StoredStudy(here.manifest, here.entries(), Mark.of(here.entries())))
    assert report.race
    assert [row.standing for row in report.rows] == [
        f"race, {row.repetitions_ended} repetitions" for row in report.rows
    ]
    assert all(row.repetitions_ended >= 5 and row.rank is None for row in report.rows)


def test_test_is_scored_once_a_repetition(place: Place, wish: Wish) -> None:
    place.race(wish)
    results = [entry.result for entry in read_study(place.folder).entries() if entry.trial.phase == "final"]
    assert results
    assert all(result is not None and result.test_opened == 1 for result in results)


@pytest.mark.parametrize("after", [40, *(pytest.param(after, marks=pytest.mark.slow) for after in (3, 110))])
def test_an_interrupted_race_gives_the_answer_of_an_undisturbed_one(
    place: Place, wish: Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)
    whole = replace(place, runs=tmp_path / "whole", granted=[]).race(wish)
    with pytest.raises(KeyboardInterrupt):
        place.race(wish, around=lambda desk: Interrupting(desk, after, before=False))
    assert lasting(place.race(wish)) == lasting(whole)


def test_a_finished_race_trains_nothing_more(place: Place, wish: Wish) -> None:
    found = place.race(wish)
    place.granted.clear()
    assert place.race(wish) == found
    assert place.granted == []


def test_more_repetitions_go_on_from_there(place: Place, wish: Wish) -> None:
    first = place.race(wish)
    assert first.candidates[0].repetitions <= 6
    budget = wish.study.budget.model_copy(update={"repetitions": 12})
    place.race(replace(wish, study=wish.study.model_copy(update={"budget": budget})))
    race = read_race(place.folder)
    assert race is not None
    assert race.looks == ladder(12)
    trials = [entry.trial for entry in read_study(place.folder).entries() if entry.trial.phase == "final"]
    trained = [(trial.cell.model, trial.repetition) for trial in trials]
    assert len(trained) == len(set(trained))


@pytest.mark.slow
def test_one_model_alone_is_told_as_such(place: Place, toy_study: MakeStudy) -> None:
    training = {"updates": 400, "batch_size": 8, "evaluations": 2}
    found = place.race(Wish(toy_study(**{**TABLES, "models": ["toy-ema"], "training": training})))
    assert (found.verdict, found.model, found.probability) == ("alone", "toy-ema", 1.0)


def test_models_that_never_train_lose_and_the_others_race_on(place: Place, toy_study: MakeStudy) -> None:
    broken = {"name": "toy-ema", "as": "broken", "space": {"fault": "raise"}}
    found = place.race(Wish(toy_study(**{**TABLES, "models": ["toy-ema", broken]})))
    by_model = {one.model: one for one in found.candidates}
    assert by_model["broken"].place == "failed"
    assert "told to raise" in by_model["broken"].reason
    assert by_model["toy-ema"].place == "leader"


def test_no_score_at_all_is_no_recommendation(place: Place, toy_study: MakeStudy) -> None:
    broken = {"name": "toy-ema", "as": "broken", "space": {"fault": "nan"}}
    found = place.race(Wish(toy_study(**{**TABLES, "models": [broken]})))
    assert (found.verdict, found.model, found.winner) == ("failed", None, None)
    assert "No repetition of any model has a score" in (place.folder / PAGE).read_text()


# ---- what is refused


def test_another_request_in_the_same_folder_is_refused_by_what_differs(place: Place, wish: Wish) -> None:
    place.race(wish)
    training = wish.study.training.model_copy(update={"updates": 9})
    other = replace(wish, study=wish.study.model_copy(update={"training": training}), confidence=0.9)
    with pytest.raises(
        LedgerError, match=r"begun with confidence 0\.95 \(now 0\.9\), training\.updates 8 \(now 9\); put that back"
    ):
        place.race(other)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": [{"name": "toy-sum", "parameters": 200}]}, r"tasks\.0\.parameters 161 \(now 200\)"),
        ({"budget": {**TABLES["budget"], "trials": 3}}, r"budget\.trials 2 \(now 3\)"),
        ({"budget": {**TABLES["budget"], "repetitions": 5}}, r"budget\.repetitions 6 \(now 5\)"),
        ({"models": ["toy-ema"]}, r'models\.1\.name "toy-stack" \(now unset\)'),
    ],
)
def test_a_changed_budget_is_refused_with_what_was_and_is(
    place: Place, wish: Wish, toy_study: MakeStudy, changes: dict[str, Any], told: str
) -> None:
    begin(wish, place.loaded.registry, place.runs, slots=1, say=place.said.append)
    before = (place.folder / RACE).read_bytes()
    with pytest.raises(LedgerError, match=f"was begun with {told}; put that back, give another --name, or use --fresh"):
        place.race(Wish(toy_study(**{**TABLES, **changes})))
    assert (place.folder / RACE).read_bytes() == before


def test_a_cell_of_another_task_is_not_taken_for_one_of_the_race(
    place: Place, wish: Wish, toy_study: MakeStudy
) -> None:
    """A driver of another kind may add cells to the folder; by model alone they would be mistaken."""
    expected = place.race(wish)
    other = toy_study(**{**TABLES, "tasks": [{"name": "toy-ragged", "parameters": 161}]})
    runner = Runner(other, place.loaded, place.runs)
    runner.run(lambda desk: run_serial(desk, Worker(runner.folder, place.loaded.registry)))
    assert place.race(wish) == expected


def test_a_study_that_was_not_begun_as_a_race_is_left_alone(place: Place, wish: Wish) -> None:
    runner = Runner(wish.study, place.loaded, place.runs)
    runner.run(lambda desk: run_serial(desk, Worker(runner.folder, place.loaded.registry)))
    with pytest.raises(LedgerError, match="holds a study that `recommend` did not begin; give another --name"):
        place.race(wish)


def test_run_leaves_a_race_alone(place: Place, wish: Wish) -> None:
    """It would add trials that the race was not granted, after which the race could not go on."""
    begin(wish, place.loaded.registry, place.runs, slots=1, say=place.said.append)
    with pytest.raises(LedgerError, match="holds a race, which `harness recommend` continues; give another name, or "):
        running.run(wish.study, runs=place.runs, fresh=False, skip_missing=False, serial=True, address=None)
    assert [path.name for path in place.folder.iterdir()] == [RACE]


def test_two_tasks_are_refused(place: Place, toy_study: MakeStudy) -> None:
    tasks = [{"name": "toy-sum", "parameters": 161}, {"name": "toy-ragged", "parameters": 161}]
    with pytest.raises(StudyError, match="a recommendation is for one task"):
        place.race(Wish(toy_study(**{**TABLES, "tasks": tasks})))


def test_a_damaged_race_file_is_told(place: Place, wish: Wish) -> None:
    place.race(wish)
    (place.folder / RACE).write_text("{")
    with pytest.raises(LedgerError, match=r"race\.json: cannot be read .* use --fresh"):
        place.race(wish)


# ---- time


@pytest.mark.slow
def test_a_time_budget_is_measured_and_chosen_once(place: Place, wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = replace(wish, seconds=30.0)
    found = place.race(timed)
    assert "pilot" in place.said[0]
    assert found.updates >= 100
    race = read_race(place.folder)
    assert race is not None
    assert race.granted.training.updates == found.updates
    assert set(race.paces) == {"toy-ema", "toy-stack"}
    monkeypatch.setattr(recommend, "measure", lambda *_: pytest.fail("measured again"))
    assert place.race(timed) == found


@pytest.mark.slow
def test_time_that_is_used_up_ends_the_race_and_is_told(
    place: Place, wish: Wish, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = replace(wish, seconds=30.0)
    monkeypatch.setattr(Racing, "_trained_seconds", lambda self: 1e6)
    found = place.race(timed)
    assert found.out_of_time or found.candidates[0].repetitions == 5
    assert all(count <= 5 for _, count in place.granted)


# ---- the winner


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, toy_loaded: Loaded) -> tuple[Place, Recommendation]:
    tables = {**TABLES, "training": {"updates": 300, "batch_size": 8, "evaluations": 2}}
    tasks = [{"name": "toy-sum", "parameters": 161}]
    place = Place(tmp_path_factory.mktemp("raced"), toy_loaded)
    return place, place.race(Wish(parse_study({"name": "toys", "tasks": tasks, **tables}, source="toys.toml")))


@pytest.fixture
def raced(
    ran: tuple[Place, Recommendation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Place, Recommendation]:
    """A copy, for a test to damage."""
    place, found = ran
    monkeypatch.setattr(winner, "load_plugins", lambda: place.loaded)
    shutil.copytree(place.runs, tmp_path / "copy")
    return replace(place, runs=tmp_path / "copy"), found


Raced = tuple[Place, Recommendation]


def test_the_winner_is_the_repetition_of_the_best_validation_score(raced: Raced) -> None:
    place, found = raced
    assert found.winner is not None
    finals = [e for e in read_study(place.folder).entries() if e.trial.phase == "final" and e.result is not None]
    own = [entry for entry in finals if entry.trial.cell.model == found.winner.model]
    best = min(own, key=lambda entry: entry.result.score if entry.result and entry.result.score is not None else 9e9)
    assert found.winner.key == best.trial.key


def test_the_winner_scores_what_its_record_says(raced: Raced) -> None:
    place, found = raced
    loaded = load_winner(place.folder)
    assert not loaded.network.training
    result = next(
        e.result for e in read_study(place.folder).entries() if found.winner and e.trial.key == found.winner.key
    )
    assert result is not None
    data = loaded.task.load("test", loaded.trial.seeds, {})
    assert not isinstance(data, tuple)
    outputs = loaded.outputs(data)  # type: ignore[arg-type]  # the toy has arrays
    error = float(((outputs - data.targets) ** 2).mean())  # type: ignore[union-attr]
    assert error == pytest.approx(result.metrics["test"]["mse"], rel=1e-5)


def test_a_task_without_rows_of_its_users_refers_to_the_network(raced: Raced) -> None:
    place, _ = raced
    loaded = load_winner(place.folder)
    with pytest.raises(StudyError, match=r"task 'toy-sum' reads no rows of your own; give tensors to winner\.network"):
        loaded.predict("rows.csv")
    assert loaded.network(torch.zeros(2, 6, 1)).shape == (2, 6, 1)


def test_loading_leaves_the_random_state_alone(raced: Raced) -> None:
    before = torch.get_rng_state()
    load_winner(raced[0].folder)
    assert torch.equal(before, torch.get_rng_state())


def test_the_command_of_the_page_trains_the_same_configuration(raced: Raced) -> None:
    _, found = raced
    command = train_command(found)
    assert command is not None
    assert found.winner is not None
    assert command.startswith(
        f"harness train toy-sum {found.winner.trial.model} parameters=161 updates=300 batch_size=8"
    )
    assert f"learning_rate_factor={found.winner.trial.params['learning_rate_factor']}" in command


def test_damaged_weights_are_refused(raced: Raced) -> None:
    place, found = raced
    assert found.winner is not None
    path = place.folder / found.winner.weights
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_winner(place.folder)


def test_weights_of_another_repetition_are_refused(raced: Raced) -> None:
    place, found = raced
    assert found.winner is not None
    path = place.folder / found.winner.weights
    other = next(p for p in sorted((place.folder / "checkpoints").rglob("weights.pt")) if p != path)
    path.write_bytes(other.read_bytes())
    with pytest.raises(CheckpointError, match="is damaged"):
        load_winner(place.folder)


def test_another_version_of_a_plugin_is_refused(raced: Raced, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = raced
    registry = replace(place.loaded.registry, plugins=(Plugin(name="toys", version="9.9"),))
    monkeypatch.setattr(winner, "load_plugins", lambda: replace(place.loaded, registry=registry))
    with pytest.raises(PluginError, match=r"was trained with toys unknown \(here: 9\.9\); install that"):
        load_winner(place.folder)


def test_changed_code_is_refused(raced: Raced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winner, "code_of", lambda *_: ["other"])
    with pytest.raises(PluginError, match="the code of seqharness or toys has changed since it was trained"):
        load_winner(raced[0].folder)


def test_a_study_without_a_recommendation_has_no_winner(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="has no recommendation yet; `harness recommend` writes one at its end"):
        load_winner(tmp_path)


def test_where_nothing_was_learned_there_is_no_winner(raced: Raced) -> None:
    place, found = raced
    nothing = found.model_copy(update={"verdict": "nothing-learned", "model": None, "winner": None})
    (place.folder / ANSWER).write_text(nothing.model_dump_json())
    assert "Nothing was learned" in page(nothing, place.folder)
    with pytest.raises(LedgerError, match=r"has no winner \(nothing-learned\)"):
        load_winner(place.folder)
