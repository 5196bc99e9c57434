"""What may change between two runs of a study, and what may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LedgerError
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.folder import JOURNAL, MANIFEST, read_manifest
from harness.ledger.journal import read_study
from harness.plugin.loader import Loaded
from harness.study.plan import make_plan
from harness.study.schema import Study
from tests.support.ledgers import reproducible_by_key

MakeStudy = Callable[..., Study]
Launch = Callable[..., StudyOutcome]
pytestmark = pytest.mark.usefixtures("short_slices")


def _started_with_other(names: str) -> str:
    return names if names.startswith("the study") else f"toy-sum/toy-ema was started with other {names}"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"search": {"seed": 1}}, "the study was started with other seed"),
        ({"search": {"sampler": "tpe"}}, "the study was started with other sampler"),
        ({"protocol": "paper"}, "the study was started with other protocol"),
        ({"training": {"updates": 9, "batch_size": 8, "evaluations": 2}}, "training"),
        ({"budget": {"trials": 2, "repetitions": 2, "tolerance": 0.2}}, "tolerance"),
        ({"tasks": [{"name": "toy-sum", "parameters": 150}]}, "parameters"),
        ({"tasks": [{"name": "toy-sum", "parameters": 161, "length": 5, "as": "toy-sum"}]}, "task options"),
        ({"search": {"space": {"optimizer": "adam"}}}, "space"),
    ],
)
def test_other_settings_are_rejected_by_name_and_change_nothing(
    launch: Launch, toy_study: MakeStudy, change: dict[str, Any], names: str
) -> None:
    folder = launch(toy_study()).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(LedgerError, match=_started_with_other(names) + r"; .*--fresh") as caught:
        launch(toy_study(**change))
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_model_added_at_another_budget_is_rejected(launch: Launch, toy_study: MakeStudy) -> None:
    """Otherwise one table would rank models of unequal size."""
    launch(toy_study())
    smaller = toy_study(models=["toy-stack"], tasks=[{"name": "toy-sum", "parameters": 80}])
    with pytest.raises(LedgerError, match=r"toy-sum/toy-ema was started with other parameters; .*--fresh"):
        launch(smaller)


def test_other_version_of_a_plugin_is_rejected(toy_study: MakeStudy, launch: Launch, toy_loaded: Loaded) -> None:
    folder = launch(toy_study()).folder
    updated = {
        name: replace(entry, plugin=entry.plugin.model_copy(update={"version": "2"}))
        for name, entry in toy_loaded.registry.models.items()
    }
    loaded = Loaded(replace(toy_loaded.registry, models=updated), toy_loaded.hooks)
    with pytest.raises(LedgerError, match="started with other plugins"):
        Runner(make_plan(toy_study(), loaded.registry), loaded, folder.parent).run(lambda source: None)


def test_resources_may_change(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    assert launch(toy_study(resources={"cpu": 2})).study_id == first.study_id


def test_more_repetitions_resume_the_study_and_repeat_nothing(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    before = reproducible_by_key(first.folder)
    after = launch(toy_study(budget={"trials": 2, "repetitions": 4}))
    assert after.study_id == first.study_id
    entries = reproducible_by_key(after.folder)
    assert list(entries) == [*before, *(f"toy-sum/toy-ema/final/{number}" for number in (2, 3))]
    assert {key: entries[key] for key in before} == before


def test_trials_added_later_equal_those_of_one_larger_budget(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path, toy_loaded: Loaded
) -> None:
    for trials in (2, 4, 8):
        outcome = launch(toy_study(budget={"trials": trials, "repetitions": 2}))
        assert outcome.complete
    whole = Runner(
        make_plan(toy_study(budget={"trials": 8, "repetitions": 2}), toy_loaded.registry),
        toy_loaded,
        tmp_path / "whole",
    )
    whole.run(lambda source: run_serial(source, Worker(whole.folder, toy_loaded.registry)))
    grown, expected = reproducible_by_key(outcome.folder), reproducible_by_key(whole.folder)
    assert {key: facts for key, facts in grown.items() if "search" in key} == {
        key: facts for key, facts in expected.items() if "search" in key
    }


def test_finals_of_an_earlier_winner_are_kept_and_the_new_winner_gets_all_repetitions(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path
) -> None:
    """Tries seeds until a later trial wins."""
    for seed in range(20):
        given = {"search": {"seed": seed}, "name": f"toys-{seed}"}
        first = launch(toy_study(**given, budget={"trials": 1, "repetitions": 2}))
        early = [entry for entry in read_study(first.folder).entries() if entry.trial.phase == "final"]
        second = launch(toy_study(**given, budget={"trials": 3, "repetitions": 2}))
        finals = [entry for entry in read_study(second.folder).entries() if entry.trial.phase == "final"]
        if len(finals) > 2:
            break
    assert second.complete
    assert finals[:2] == early
    assert [entry.trial.number for entry in finals] == [0, 1, 2, 3]
    assert [entry.trial.repetition for entry in finals] == [0, 1, 0, 1]
    assert [entry.trial.seeds for entry in finals[2:]] == [entry.trial.seeds for entry in finals[:2]]
    winners = [entry.trial.winner for entry in finals]
    assert winners[0] == winners[1] != winners[2] == winners[3]


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"trials": 1, "repetitions": 2}, r"holds 2 search trials, more than budget\.trials = 1"),
        ({"trials": 2, "repetitions": 1}, r"holds 2 final trials, more than budget\.repetitions = 1"),
    ],
)
def test_smaller_budget_is_rejected_and_changes_nothing(
    launch: Launch, toy_study: MakeStudy, budget: dict[str, int], reason: str
) -> None:
    folder = launch(toy_study()).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(LedgerError, match=f"toy-sum/toy-ema {reason}; raise it, or use --fresh"):
        launch(toy_study(budget=budget))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_new_cell_joins_the_study_and_a_removed_cell_stays(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    before = reproducible_by_key(first.folder)
    second = launch(toy_study(models=["toy-stack"], budget={"trials": 2, "repetitions": 2, "tolerance": 0.01}))
    assert (second.study_id, second.complete) == (first.study_id, True)
    entries = reproducible_by_key(second.folder)
    assert len(entries) == 8
    assert {key: entries[key] for key in before} == before
    manifest = read_manifest(second.folder)
    assert manifest is not None
    assert [str(facts.cell) for facts in manifest.cells] == ["toy-sum/toy-ema", "toy-sum/toy-stack"]


def test_fresh_renames_the_earlier_study_to_its_id_and_keeps_it(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    expected = reproducible_by_key(first.folder)
    second = launch(toy_study(search={"seed": 1}), fresh=True)
    assert second.study_id != first.study_id
    kept = second.folder.with_name(f"toys.{first.study_id}")
    assert reproducible_by_key(kept) == expected
    assert read_study(kept).manifest.study_id == first.study_id
    finals = [entry for entry in read_study(kept).entries() if entry.trial.phase == "final"]
    assert all(entry.result and (kept / str(entry.result.weights)).exists() for entry in finals)
    assert reproducible_by_key(second.folder) != expected


def test_fresh_without_an_earlier_study_is_a_first_run(launch: Launch, toy_study: MakeStudy, tmp_path: Path) -> None:
    assert launch(toy_study(), fresh=True).complete
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["toys"]


@pytest.mark.parametrize("damage", ["manifest", "no manifest", "journal"])
def test_fresh_works_if_the_earlier_study_cannot_be_read(launch: Launch, toy_study: MakeStudy, damage: str) -> None:
    folder = launch(toy_study()).folder
    if damage == "manifest":
        (folder / MANIFEST).write_text("{")
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / JOURNAL).write_text("garbage\n" + (folder / JOURNAL).read_text())
    with pytest.raises(LedgerError, match="--fresh"):
        launch(toy_study())
    assert launch(toy_study(), fresh=True).complete
    assert len([path for path in folder.parent.iterdir() if path != folder]) == 1
