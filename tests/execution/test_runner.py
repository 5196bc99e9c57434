"""A study from start to end, cells that fail, and user errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.api.task import DataFile, Task
from harness.errors import BudgetError, DataError, LeaseError, LedgerError, StudyError
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.ledger.folder import JOURNAL, STUDY_FILE
from harness.ledger.journal import read_study
from harness.ledger.lease import Lease
from harness.plugin.hookspecs import hookimpl
from harness.plugin.loader import Loaded
from harness.plugin.registry import Entry as Registered
from harness.plugin.registry import Registry
from harness.records import Trial, TrialResult
from harness.seeds import Seeds
from harness.study.file import read_study_file
from harness.study.plan import make_plan
from harness.study.schema import Study
from tests.support.ledgers import entries_by_key
from tests.support.sources import Interrupting, Passing
from tests.support.toys import ToySum

MakeStudy = Callable[..., Study]
Launch = Callable[..., StudyOutcome]
pytestmark = pytest.mark.usefixtures("short_slices")


def test_study_runs_to_its_end(launch: Launch, toy_study: MakeStudy) -> None:
    outcome = launch(toy_study())
    assert (outcome.complete, outcome.failed, outcome.messages) == (True, (), ())
    snapshot = read_study(outcome.folder)
    entries = snapshot.entries()
    assert [(entry.trial.phase, entry.trial.number) for entry in entries] == [
        ("search", 0),
        ("search", 1),
        ("final", 0),
        ("final", 1),
    ]
    assert all(entry.attempt == 1 and entry.result is not None for entry in entries)
    assert snapshot.manifest.study_id == outcome.study_id
    best = min(entries[:2], key=lambda entry: entry.result.score if entry.result and entry.result.score else 9)
    for repetition, final in enumerate(entries[2:]):
        assert (final.trial.winner, final.trial.repetition) == (best.trial.key, repetition)
        assert (final.trial.params, final.trial.widths) == (best.trial.params, best.trial.widths)
        assert final.trial.seeds == Seeds.of(0, repetition + 1)
        assert final.result is not None
        assert (outcome.folder / str(final.result.weights)).exists()


def test_folder_holds_the_whole_study_file(launch: Launch, toy_study: MakeStudy) -> None:
    outcome = launch(toy_study())
    assert read_study_file(outcome.folder / STUDY_FILE) == toy_study()
    assert not list(outcome.folder.glob("lease*"))


def test_second_run_of_a_finished_study_changes_nothing(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    journal = (first.folder / JOURNAL).read_bytes()
    second = launch(toy_study())
    assert second == first
    assert (first.folder / JOURNAL).read_bytes() == journal


def test_interrupted_study_is_reported_as_not_complete(launch: Launch, toy_study: MakeStudy) -> None:
    reported: list[bool] = []

    class Listener:
        @hookimpl
        def harness_study_finished(self, complete: bool) -> None:
            reported.append(complete)

    with pytest.raises(KeyboardInterrupt):
        launch(toy_study(), lambda source: Interrupting(source, 9, before=False), listeners=lambda _: [Listener()])
    assert reported == [False]


@pytest.mark.parametrize(
    ("fault", "reason"), [("raise", "ValueError: a toy that was told to raise"), ("nan", "loss nan at update 4")]
)
def test_cell_without_a_complete_trial_is_reported_as_failed_and_the_others_go_on(
    launch: Launch, toy_study: MakeStudy, fault: str, reason: str
) -> None:
    faulty = {"name": "toy-ema", "as": "faulty", "space": {"fault": fault}}
    outcome = launch(toy_study(models=[faulty, "toy-ema"]))
    assert outcome.complete
    (failed,) = outcome.failed
    assert failed.startswith(f"toy-sum/faulty: no search trial completed: {reason}")
    counts = [(entry.trial.cell.model, entry.trial.phase) for entry in read_study(outcome.folder).entries()]
    assert counts.count(("faulty", "search")) == 2
    assert ("faulty", "final") not in counts
    assert counts.count(("toy-ema", "final")) == 2
    assert launch(toy_study(models=[faulty, "toy-ema"])) == outcome  # spent: nothing is tried again


def test_failed_finals_are_counted(launch: Launch, toy_study: MakeStudy) -> None:
    class Unlucky(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            unlucky = trial.phase == "final" and trial.repetition == 1
            super().tell(trial, TrialResult(outcome="failed", reason="bad luck") if unlucky else result)

    outcome = launch(toy_study(), Unlucky)
    assert outcome.complete
    assert outcome.failed == ("toy-sum/toy-ema: 1 of 2 final trials have a score: bad luck (from toys unknown)",)


def test_stacked_study_gives_the_same_trials_and_scores_as_one_without_stacks(
    launch: Launch, toy_study: MakeStudy
) -> None:
    given = {
        "models": ["toy-ema", "toy-stack"],
        "tasks": [{"name": "toy-sum", "parameters": 161}, {"name": "toy-ragged", "parameters": 161}],
        "budget": {"trials": 2, "repetitions": 5, "tolerance": 0.2},
        "training": {"updates": 24, "batch_size": 8, "evaluations": 4},
        "search": {"space": {"dropout": 0.0}},
    }
    single = launch(toy_study(**given), runs="single")
    stacked = launch(toy_study(**given, resources={"stack": 3}), runs="stacked")
    assert stacked.complete
    assert stacked.messages == single.messages
    results, expected = (entries_by_key(outcome.folder) for outcome in (stacked, single))
    assert results.keys() == expected.keys()
    for key, entry in expected.items():
        assert results[key].trial.digest == entry.trial.digest
        assert results[key].attempt == 1
        result, expected_result = results[key].result, entry.result
        assert result is not None
        assert expected_result is not None
        assert result.score == pytest.approx(expected_result.score, rel=1e-4)
        assert [p.update for p in results[key].points] == [p.update for p in entry.points]


def test_study_started_without_stacks_may_be_resumed_with_them(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    again = launch(toy_study(resources={"stack": 3}, budget={"trials": 2, "repetitions": 5}))
    assert again.study_id == first.study_id
    assert again.complete


def test_second_driver_is_rejected_and_does_not_disturb_the_first(launch: Launch, toy_study: MakeStudy) -> None:
    refused: list[str] = []

    class Impatient(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            with pytest.raises(LeaseError, match="is running this study") as caught:
                launch(toy_study())
            refused.append(str(caught.value))
            super().tell(trial, result)

    assert launch(toy_study(), Impatient).complete
    assert len(refused) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_lease_is_released_after_an_exception(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, error: type[BaseException]
) -> None:
    def execute(source: TrialSource) -> None:
        raise error("enough")

    runner = Runner(make_plan(toy_study(), toy_loaded.registry), toy_loaded, tmp_path)
    with pytest.raises(error, match="enough"):
        runner.run(execute)
    Lease(runner.folder).release()


@pytest.mark.parametrize("place", ["a file", "/proc/seqharness"])
def test_runs_folder_that_cannot_be_created_is_an_error_of_one_line(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, place: str
) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot be created .*choose another --runs") as caught:
        Runner(make_plan(toy_study(), toy_loaded.registry), toy_loaded, tmp_path / place).run(never)
    assert "\n" not in str(caught.value)


def never(source: TrialSource) -> None:
    raise AssertionError("nothing may be trained")


@pytest.mark.parametrize("parameters", [1, 3])
def test_budget_that_no_width_meets_leaves_no_folder(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, parameters: int
) -> None:
    study = toy_study(tasks=[{"name": "toy-sum", "parameters": parameters}])
    with pytest.raises(BudgetError, match="toy-sum/toy-ema: 1000 configurations in a row were rejected"):
        Runner(make_plan(study, toy_loaded.registry), toy_loaded, tmp_path / "runs").run(never)
    assert list(tmp_path.iterdir()) == []


class Filed(ToySum):
    def files(self) -> tuple[DataFile, ...]:
        return (DataFile("nowhere/x.bin", 1, "0" * 64),)


def test_missing_data_files_leave_no_folder(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    registry: Registry = toy_loaded.registry
    filed: Registered[type[Task]] = Registered("toy-sum", Filed, registry.plugins[0], "tests.test_run")
    tasks = {**registry.tasks, "toy-sum": filed}
    loaded = Loaded(replace(registry, tasks=tasks), toy_loaded.hooks)
    with pytest.raises(DataError, match=r"nowhere/x\.bin"):
        Runner(make_plan(toy_study(), loaded.registry), loaded, tmp_path / "runs").run(never)
    assert list(tmp_path.iterdir()) == []


def test_cells_of_missing_data_files_can_be_left_out(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    filed: Registered[type[Task]] = Registered("filed", Filed, toy_loaded.registry.plugins[0], "tests.test_run")
    tasks = {**toy_loaded.registry.tasks, "filed": filed}
    loaded = Loaded(replace(toy_loaded.registry, tasks=tasks), toy_loaded.hooks)
    both = toy_study(tasks=[{"name": "toy-sum", "parameters": 161}, {"name": "filed", "parameters": 161}])
    runner = Runner(make_plan(both, loaded.registry).without_missing(), loaded, tmp_path / "runs")
    outcome = runner.run(lambda source: run_serial(source, Worker(runner.folder, loaded.registry)))
    manifest = read_study(outcome.folder).manifest
    assert outcome.complete
    assert [str(facts.cell) for facts in manifest.cells] == ["toy-sum/toy-ema"]
    (left,) = manifest.left_out
    assert str(left.cell) == "filed/toy-ema"
    assert left.reason.startswith("data file nowhere/x.bin (1 bytes, sha256 000")
    with pytest.raises(StudyError, match=r"study 'toys' has no cell to run: data file nowhere/x\.bin"):
        make_plan(toy_study(tasks=[{"name": "filed", "parameters": 161}]), loaded.registry).without_missing()


class Ordered(ToySum):
    def fixed(self, seeds: Seeds) -> dict[str, tuple[int, ...]]:
        return {"order": (seeds.fixed % 7, 3)}


def test_values_that_a_task_draws_once_per_study_are_in_the_manifest(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path
) -> None:
    ordered: Registered[type[Task]] = Registered("toy-sum", Ordered, toy_loaded.registry.plugins[0], "tests.test_run")
    loaded = Loaded(
        replace(toy_loaded.registry, tasks={**toy_loaded.registry.tasks, "toy-sum": ordered}), toy_loaded.hooks
    )
    runner = Runner(make_plan(toy_study(), loaded.registry), loaded, tmp_path)
    outcome = runner.run(lambda source: run_serial(source, Worker(runner.folder, loaded.registry)))
    snapshot = read_study(outcome.folder)
    assert snapshot.manifest.fixed == {"toy-sum": {"order": (snapshot.entries()[0].trial.seeds.fixed % 7, 3)}}
