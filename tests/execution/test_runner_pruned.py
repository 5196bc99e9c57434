"""Successive halving: promoted trials equal those that train to their end at once, whatever interrupts the study."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LedgerError, StudyError
from harness.execution.runner import StudyOutcome
from harness.execution.trial import Worker
from harness.halving import total_updates
from harness.ledger.journal import TrialEntry, read_study
from harness.ledger.ledger import Ledger
from harness.plugin.loader import Loaded
from harness.records import TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.training.update_step import UpdateStep
from tests.support.ledgers import entries_by_key, reproducible, reproducible_by_key
from tests.support.sources import Interrupting

MakeStudy = Callable[..., Study]
Launch = Callable[..., StudyOutcome]
pytestmark = pytest.mark.usefixtures("short_slices")

HALVING = {"kind": "successive-halving", "reduction": 3, "minimum_updates": 2}
PRUNED: dict[str, Any] = {  # tables of a study file, hence Any
    "tasks": [{"name": "toy-sum", "parameters": 161}],
    "budget": {"trials": 3, "repetitions": 1},
    "training": {"updates": 18, "batch_size": 8, "evaluations": 9, "schedule": {"kind": "cosine"}},
    "search": {"pruning": HALVING},
}


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """What the undisturbed study has by key, once it has run."""
    return {}


def _undisturbed(launch: Launch, study: Study, kept: dict[str, Any]) -> dict[str, Any]:
    if not kept:
        kept.update(reproducible_by_key(launch(study, runs="undisturbed").folder))
    return kept


def test_promoted_trial_equals_the_same_configuration_at_full_length(launch: Launch, toy_study: MakeStudy) -> None:
    pruned = entries_by_key(launch(toy_study(**PRUNED)).folder)
    count = sum(entry.trial.phase == "search" for entry in pruned.values())
    given = {**PRUNED, "budget": {"trials": count, "repetitions": 1}, "search": {}}
    full = entries_by_key(launch(toy_study(**given), runs="full").folder)
    lengths = set()
    for number in range(count):
        own, whole = (entries[f"toy-sum/toy-ema/search/{number}"] for entries in (pruned, full))
        assert own.result is not None
        assert own.trial.digest == whole.trial.digest
        assert _curve(own) == _curve(whole)[: len(own.points)]
        assert own.points[-1].update == own.result.updates
        lengths.add(own.result.updates)
        if own.result.outcome == "complete":
            assert reproducible(own)["scores"] == reproducible(whole)["scores"]
            assert own.attempt == 3
    assert lengths == {2, 6, 18}


def _curve(entry: TrialEntry) -> list[object]:
    return [point.model_dump(exclude={"seconds", "time"}) for point in entry.points]


def test_every_update_is_trained_once(launch: Launch, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A promoted trial continues from its checkpoint: all trainings together do the updates of the plan."""
    trained: list[int] = []
    run = UpdateStep.run

    def counted(step: UpdateStep) -> None:
        run(step)
        trained.append(step.update)

    monkeypatch.setattr(UpdateStep, "run", counted)
    folder = launch(toy_study(**PRUNED)).folder
    (facts,) = read_study(folder).manifest.cells
    assert len(trained) == total_updates(facts.rungs) + 18  # and the final trial


@pytest.mark.parametrize("after", range(0, 160, 16))
def test_study_interrupted_anywhere_equals_the_undisturbed_one(
    launch: Launch, toy_study: MakeStudy, kept: dict[str, Any], after: int
) -> None:
    study = toy_study(**PRUNED)
    expected = _undisturbed(launch, study, kept)
    with contextlib.suppress(KeyboardInterrupt):
        launch(study, partial(Interrupting, after=after, before=after % 32 == 0))
    outcome = launch(study)
    assert outcome.complete
    assert reproducible_by_key(outcome.folder) == expected
    assert list(outcome.folder.glob("checkpoints/*/*/*/search/**/*.pt")) == []


@pytest.mark.parametrize("left", [0, 3])
def test_kill_between_the_decision_of_a_rung_and_its_record(
    launch: Launch, toy_study: MakeStudy, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """The first rung is decided, and only `left` of its pruned trials have ended in the ledger."""
    study = toy_study(**PRUNED)
    expected = _undisturbed(launch, study, kept)
    finish, calls = Ledger.finish, [left]

    def killed(self: Ledger, key: str, result: TrialResult) -> None:
        if calls[0] == 0:
            raise KeyboardInterrupt
        calls[0] -= 1
        finish(self, key, result)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            launch(study)
    outcome = launch(study)
    assert reproducible_by_key(outcome.folder) == expected


def test_promoted_trial_without_its_checkpoint_trains_from_the_start(
    launch: Launch, toy_study: MakeStudy, kept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = toy_study(**PRUNED)
    expected = _undisturbed(launch, study, kept)
    pause = Ledger.pause

    def without_checkpoint(self: Ledger, key: str, result: TrialResult) -> None:
        pause(self, key, result)
        for path in (self.folder / "checkpoints" / key).glob("*.pt"):
            path.unlink()

    monkeypatch.setattr(Ledger, "pause", without_checkpoint)
    assert reproducible_by_key(launch(study).folder) == expected


def test_checkpoint_beyond_the_rung_is_not_used(toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path) -> None:
    """The last records of the ledger were lost with a machine, and the checkpoints were not."""
    (plan,) = make_plan(toy_study(**PRUNED), toy_loaded.registry).cells
    first = CellState(Proposer(plan, seed=0), study_id="s").search_trial(0)
    worker = Worker(tmp_path, toy_loaded.registry)
    further = worker.start(first.model_copy(update={"until": 6}), 1).advance(60.0).result
    again = worker.start(first, 2).advance(60.0)
    assert further is not None
    assert again.result is not None
    assert [result.outcome for result in (further, again.result)] == ["pruned", "pruned"]
    assert [result.updates for result in (further, again.result)] == [6, 2]
    assert any("checkpoint at update 6 lies behind update 2" in note for note in again.notes)
    promoted = worker.start(first.model_copy(update={"until": 6}), 3).advance(60.0)
    assert [point.update for point in promoted.points] == [2, 4, 6]
    assert promoted.result is not None
    assert promoted.result.metrics == further.metrics


def test_larger_budget_does_not_resume_a_pruned_study(launch: Launch, toy_study: MakeStudy) -> None:
    """Trials that were pruned might have been promoted under it, and their checkpoints are gone."""
    launch(toy_study(**PRUNED))
    with pytest.raises(LedgerError, match=r"started with other rungs of search\.pruning, .* budget\.trials .*--fresh"):
        launch(toy_study(**{**PRUNED, "budget": {"trials": 5, "repetitions": 1}}))


def test_pruning_cannot_be_switched_on_in_a_started_study(launch: Launch, toy_study: MakeStudy) -> None:
    launch(toy_study(**{**PRUNED, "search": {}}))
    with pytest.raises(LedgerError, match=r"started with other rungs of search\.pruning, .* budget\.trials .*--fresh"):
        launch(toy_study(**PRUNED))


def test_pruned_search_beside_a_published_setting_is_resumed(launch: Launch, toy_study: MakeStudy) -> None:
    models = ["toy-ema", {"name": "toy-ema", "setting": "published"}]
    given = {**PRUNED, "models": models, "budget": {**PRUNED["budget"], "allow_deviation": True}}
    first = entries_by_key(launch(toy_study(**given)).folder)
    again = launch(toy_study(**given))
    assert again.complete
    assert entries_by_key(again.folder).keys() == first.keys()


@pytest.mark.parametrize(("key", "value"), [("patience", 2), ("seconds", 5.0)])
def test_nothing_else_may_end_a_trial(launch: Launch, toy_study: MakeStudy, key: str, value: float) -> None:
    given = {**PRUNED, "training": {**PRUNED["training"], key: value}}
    with pytest.raises(StudyError, match=rf"training\.{key} may end a trial earlier; drop one"):
        launch(toy_study(**given))


def test_record_of_a_study_without_pruning_has_no_new_field(launch: Launch, toy_study: MakeStudy) -> None:
    folder = launch(toy_study()).folder
    assert "until" not in (folder / "ledger.log").read_text()
    assert "rung" not in (folder / "ledger.log").read_text() + (folder / "manifest.json").read_text()
    assert all(entry.rungs == () for entry in read_study(folder).entries())
