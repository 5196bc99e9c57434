from __future__ import annotations

import contextlib
import itertools
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.api.task import DataFile, Task
from harness.errors import BudgetError, DataError, LeaseError, LedgerError, StudyError
from harness.execution import serial
from harness.execution.controller import StudyController
from harness.execution.retry_policy import CRASHES, MOST_DEATHS, SILENT_DEATHS
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.ledger.folder import JOURNAL, MANIFEST, STUDY_FILE, read_manifest
from harness.ledger.journal import TrialEntry, read_study
from harness.ledger.lease import Lease
from harness.ledger.ledger import Ledger
from harness.plugin.hookspecs import hookimpl
from harness.plugin.loader import Loaded
from harness.plugin.registry import Entry as Registered
from harness.plugin.registry import Registry
from harness.records import Death, Point, Resources, Trial, TrialResult
from harness.seeds import Seeds
from harness.study.file import read_study_file
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.training import checkpoint
from tests.support.toys import ToySum

MakeStudy = Callable[..., Study]
Facts = dict[str, object]


@pytest.fixture(autouse=True)
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """One update a slice, so that sources are asked at every update."""
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)


@pytest.fixture
def launch(tmp_path: Path, toy_loaded: Loaded) -> Callable[..., StudyOutcome]:
    """Runs a study in `tmp_path / runs`, serially, with the controller behind the source that `around` makes."""

    def start(
        study: Study, around: Callable[[TrialSource], TrialSource] = lambda source: source, **options: Any
    ) -> StudyOutcome:
        runner = Runner(
            make_plan(study, toy_loaded.registry),
            toy_loaded,
            tmp_path / options.pop("runs", "runs"),
            fresh=options.pop("fresh", False),
        )
        worker = Worker(runner.folder, toy_loaded.registry)
        return runner.run(lambda source: run_serial(around(source), worker), **options)

    return start


Launch = Callable[..., StudyOutcome]


class Passing:
    """A source that hands everything on."""

    def __init__(self, source: TrialSource) -> None:
        self.source = source

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        return self.source.ask(fits)

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        return self.source.companions(trial)

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        self.source.report(trial, points)

    def note(self, trial: Trial, text: str) -> None:
        self.source.note(trial, text)

    def tell(self, trial: Trial, result: TrialResult) -> None:
        self.source.tell(trial, result)

    def worker_failed(self, trial: Trial, why: str, *, death: Death) -> None:
        self.source.worker_failed(trial, why, death=death)

    def finished(self) -> bool:
        return self.source.finished()

    def resource_classes(self) -> tuple[Resources, ...]:
        return self.source.resource_classes()


class Interrupting(Passing):
    """Interrupts at the `after`-th call, from 0, before or after it is handed on."""

    def __init__(self, source: TrialSource, after: int, *, before: bool) -> None:
        super().__init__(source)
        self.left = after
        self.before = before

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        now, self.left = self.left == 0, self.left - 1
        if now and self.before:
            raise KeyboardInterrupt
        yield
        if now:
            raise KeyboardInterrupt

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        with self.counted():
            return self.source.ask(fits)

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        with self.counted():
            self.source.report(trial, points)

    def tell(self, trial: Trial, result: TrialResult) -> None:
        with self.counted():
            self.source.tell(trial, result)


def lasting(entry: TrialEntry) -> Facts:
    """What must not depend on interruptions: all but times, places and the study's random id."""
    trial = entry.trial.model_dump(mode="json", exclude={"study", "winner"})
    winner = entry.trial.winner.partition("/")[2] if entry.trial.winner else None
    assert entry.result is not None
    result = entry.result
    curve = [(point.update, point.train_loss, point.gradient_norm, point.metrics) for point in entry.points]
    scores = (result.outcome, result.score, result.metrics, result.updates, result.best_update, result.test_opened)
    return {"trial": trial, "winner": winner, "curve": curve, "scores": scores}


def by_key(folder: Path) -> dict[str, Facts]:
    """Trials by key, without the study's random id."""
    return {entry.trial.key.partition("/")[2]: lasting(entry) for entry in read_study(folder).entries()}


TWO_CELLS: dict[str, Any] = {  # tables of a study file, hence Any
    "models": ["toy-ema", "toy-stack"],
    "tasks": [{"name": "toy-ragged", "parameters": 60}],
    "budget": {"trials": 2, "repetitions": 2, "tolerance": 0.1},
    "training": {"updates": 5, "batch_size": 4, "evaluations": 2},
}


# ---- a whole study


def test_a_study_runs_to_its_end_and_says_so(launch: Launch, toy_study: MakeStudy) -> None:
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


def test_the_folder_holds_the_whole_study_file(launch: Launch, toy_study: MakeStudy) -> None:
    outcome = launch(toy_study())
    assert read_study_file(outcome.folder / STUDY_FILE) == toy_study()
    assert not list(outcome.folder.glob("lease*"))


def test_the_same_command_again_does_nothing_new(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    journal = (first.folder / JOURNAL).read_bytes()
    second = launch(toy_study())
    assert second == first
    assert (first.folder / JOURNAL).read_bytes() == journal


def test_hooks_hear_each_event_once_and_after_the_ledger(launch: Launch, toy_study: MakeStudy) -> None:
    heard: list[str] = []

    class Listener:
        def __init__(self, ledger: Ledger) -> None:
            self.ledger = ledger

        @hookimpl
        def harness_study_started(self, folder: str) -> None:
            heard.append("study")

        @hookimpl
        def harness_trial_started(self, trial: Trial, attempt: int) -> None:
            assert self.ledger.entry(trial.key).attempt == attempt == 1
            heard.append("trial")

        @hookimpl
        def harness_trial_reported(self, trial: Trial, point: Point) -> None:
            assert self.ledger.entry(trial.key).points[-1] == point
            heard.append("point")

        @hookimpl
        def harness_trial_finished(self, trial: Trial, result: TrialResult) -> None:
            assert self.ledger.entry(trial.key).result == result
            heard.append("end")

        @hookimpl
        def harness_study_finished(self, complete: bool) -> None:
            heard.append(f"complete {complete}")

    outcome = launch(toy_study(), listeners=lambda ledger: [Listener(ledger)])
    assert outcome.messages == ()
    assert heard == ["study", *(["trial", "point", "point", "end"] * 4), "complete True"]
    launch(toy_study())
    assert heard[-1] == "complete True", "the listener was still registered"
    assert len(heard) == 18


def test_a_listener_that_raises_costs_one_message_and_no_other_listener(launch: Launch, toy_study: MakeStudy) -> None:
    class Broken:
        @hookimpl
        def harness_trial_finished(self, trial: Trial) -> None:
            raise RuntimeError(f"no room for {trial.key}")

    heard: list[str] = []

    class Listener:
        @hookimpl
        def harness_trial_finished(self, trial: Trial) -> None:
            heard.append(trial.key)

    outcome = launch(toy_study(), listeners=lambda _: [Broken(), Listener(), Broken()])
    assert outcome.complete
    assert len(heard) == 4
    (message,) = outcome.messages
    assert message.startswith("plugin Broken raised in harness_trial_finished (RuntimeError: no room for ")


def test_an_interrupted_study_says_that_it_is_not_complete(launch: Launch, toy_study: MakeStudy) -> None:
    heard: list[bool] = []

    class Listener:
        @hookimpl
        def harness_study_finished(self, complete: bool) -> None:
            heard.append(complete)

    with pytest.raises(KeyboardInterrupt):
        launch(toy_study(), lambda source: Interrupting(source, 9, before=False), listeners=lambda _: [Listener()])
    assert heard == [False]


# ---- interruption


def test_interrupted_anywhere_and_continued_it_is_the_undisturbed_study(launch: Launch, toy_study: MakeStudy) -> None:
    study = toy_study(**TWO_CELLS)
    undisturbed = launch(study)
    expected = by_key(undisturbed.folder)
    assert len(expected) == 8
    calls = 0
    for after in range(0, 60, 5):
        with contextlib.suppress(KeyboardInterrupt):
            launch(study, partial(Interrupting, after=after, before=after % 2 == 0), runs=f"runs-{after}")
            break  # no interruption: the study has fewer calls
        calls += 1
        outcome = launch(study, runs=f"runs-{after}")
        assert outcome.complete
        assert by_key(outcome.folder) == expected, f"interrupted at call {after}"
        attempts = [entry.attempt for entry in read_study(outcome.folder).entries()]
        assert sorted(attempts) in ([1] * 8, [1] * 7 + [2])
    assert calls == 12


@pytest.mark.parametrize("sampler", ["random", "tpe", "quasi-random"])
def test_interrupted_again_and_again_it_is_the_undisturbed_study(
    launch: Launch, toy_study: MakeStudy, sampler: str
) -> None:
    study = toy_study(budget={"trials": 3, "repetitions": 1}, search={"sampler": sampler})
    expected = by_key(launch(study).folder)
    runs = 0
    for after in itertools.cycle([3, 9, 5, 2]):
        with contextlib.suppress(KeyboardInterrupt):
            outcome = launch(study, partial(Interrupting, after=after, before=True), runs="broken")
            break
        runs += 1
    assert runs > 4
    assert by_key(outcome.folder) == expected


KILLED = """
import sys
from pathlib import Path
from importlib.metadata import EntryPoint
from harness.execution import serial, trial
from harness.execution.runner import Runner
from harness.plugin.loader import load_plugins
from harness.study.file import read_study_file
from harness.study.plan import make_plan
serial.SLICE_SECONDS = 0
loaded = load_plugins([EntryPoint(name="toys", value="tests.support.toys", group="harness")])
plan = make_plan(read_study_file(Path(sys.argv[1])), loaded.registry)
runner = Runner(plan, loaded, Path(sys.argv[2]))
runner.run(lambda source: serial.run_serial(source, trial.Worker(runner.folder, loaded.registry)))
"""


def test_killed_in_training_and_continued_it_is_the_undisturbed_study(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path, toy_loaded: Loaded
) -> None:
    study = toy_study(
        training={"updates": 60, "batch_size": 8, "evaluations": 30}, resources={"checkpoint_seconds": 1e-9}
    )
    expected = by_key(launch(study).folder)
    file, runs = tmp_path / "study.toml", tmp_path / "killed"
    file.write_text((tmp_path / "runs" / study.name / STUDY_FILE).read_text())
    command = [sys.executable, "-c", KILLED, str(file), str(runs)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    journal = runs / study.name / JOURNAL
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_text().count("point/") < 10:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    attempts = [entry.attempt for entry in read_study(journal.parent).entries()]
    outcome = Runner(make_plan(study, toy_loaded.registry), toy_loaded, runs).run(
        lambda source: run_serial(source, Worker(journal.parent, toy_loaded.registry))
    )
    assert outcome.complete
    assert by_key(outcome.folder) == expected
    assert sum(entry.attempt for entry in read_study(outcome.folder).entries()) > sum(attempts)


@pytest.mark.parametrize("fault", ["none", "nan", "raise"])
def test_checkpoints_stay_until_the_end_of_their_trial_is_written(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path, fault: str
) -> None:
    faulty = {"name": "toy-ema", "space": {"fault": fault}}
    study = toy_study(models=[faulty], resources={"checkpoint_seconds": 1e-9})
    seen: list[str] = []

    class Looking(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            folder = checkpoint.folder_of(tmp_path / "runs" / study.name, trial.key)
            seen.extend(path.name for path in folder.glob("attempt-*"))
            (folder / "attempt-0009.pt.77.writing").write_text("half") if folder.exists() else None
            super().tell(trial, result)

    outcome = launch(study, Looking)
    assert seen == ["attempt-0001.pt"] * {"none": 4, "nan": 2, "raise": 0}[fault]
    assert not list(outcome.folder.rglob("attempt-*"))
    assert len(list(outcome.folder.rglob("weights.pt"))) == (2 if fault == "none" else 0)


def test_a_torn_journal_is_mended_and_said(launch: Launch, toy_study: MakeStudy) -> None:
    outcome = launch(toy_study())
    expected = by_key(outcome.folder)
    with (outcome.folder / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":')
    again = launch(toy_study())
    assert by_key(again.folder) == expected
    (message,) = again.messages
    assert "dropped an incomplete last record of 11 bytes" in message


def test_a_full_disk_ends_the_run_with_one_line_and_the_same_command_continues(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path
) -> None:
    study = toy_study()

    class Full(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            size = (tmp_path / "runs" / study.name / JOURNAL).stat().st_size
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))  # EFBIG past it, setrlimit(2)
            try:
                super().tell(trial, result)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(LedgerError, match="cannot be written"):
        launch(study, Full)
    outcome = launch(study)
    assert outcome.complete
    assert any("dropped an incomplete last record" in message for message in outcome.messages)
    assert [lasting(entry)["scores"] for entry in read_study(outcome.folder).entries()]


# ---- what may change, and what not


def _begun_with_other(names: str) -> str:
    return names if names.startswith("the study") else f"toy-sum/toy-ema was begun with other {names}"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"search": {"seed": 1}}, "the study was begun with other seed"),
        ({"search": {"sampler": "tpe"}}, "the study was begun with other sampler"),
        ({"protocol": "paper"}, "the study was begun with other protocol"),
        ({"training": {"updates": 9, "batch_size": 8, "evaluations": 2}}, "training"),
        ({"budget": {"trials": 2, "repetitions": 2, "tolerance": 0.2}}, "tolerance"),
        ({"tasks": [{"name": "toy-sum", "parameters": 150}]}, "parameters"),
        ({"tasks": [{"name": "toy-sum", "parameters": 161, "length": 5, "as": "toy-sum"}]}, "task options"),
        ({"search": {"space": {"optimizer": "adam"}}}, "space"),
    ],
)
def test_other_settings_are_refused_by_name_and_change_nothing(
    launch: Launch, toy_study: MakeStudy, change: dict[str, Any], names: str
) -> None:
    folder = launch(toy_study()).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(LedgerError, match=_begun_with_other(names) + r"; .*--fresh") as caught:
        launch(toy_study(**change))
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_model_added_at_another_budget_is_refused(launch: Launch, toy_study: MakeStudy) -> None:
    """Else one table would rank models of unequal size."""
    launch(toy_study())
    smaller = toy_study(models=["toy-stack"], tasks=[{"name": "toy-sum", "parameters": 80}])
    with pytest.raises(LedgerError, match=r"toy-sum/toy-ema was begun with other parameters; .*--fresh"):
        launch(smaller)


def test_another_version_of_a_plugin_is_refused(toy_study: MakeStudy, launch: Launch, toy_loaded: Loaded) -> None:
    folder = launch(toy_study()).folder
    updated = {
        name: replace(entry, plugin=entry.plugin.model_copy(update={"version": "2"}))
        for name, entry in toy_loaded.registry.models.items()
    }
    loaded = Loaded(replace(toy_loaded.registry, models=updated), toy_loaded.hooks)
    with pytest.raises(LedgerError, match="begun with other plugins"):
        Runner(make_plan(toy_study(), loaded.registry), loaded, folder.parent).run(lambda source: None)


def test_resources_may_change(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    assert launch(toy_study(resources={"cpu": 2})).study_id == first.study_id


def test_more_repetitions_continue_and_repeat_nothing(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    before = by_key(first.folder)
    after = launch(toy_study(budget={"trials": 2, "repetitions": 4}))
    assert after.study_id == first.study_id
    found = by_key(after.folder)
    assert list(found) == [*before, *(f"toy-sum/toy-ema/final/{number}" for number in (2, 3))]
    assert {key: found[key] for key in before} == before


def test_more_trials_continue_as_if_they_had_been_granted_at_once(
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
    grown, expected = by_key(outcome.folder), by_key(whole.folder)
    assert {key: facts for key, facts in grown.items() if "search" in key} == {
        key: facts for key, facts in expected.items() if "search" in key
    }


def test_finals_of_an_earlier_winner_stay_and_the_new_one_gets_all(
    launch: Launch, toy_study: MakeStudy, tmp_path: Path
) -> None:
    """The seed is one at which a later trial wins."""
    for seed in range(20):
        one = {"search": {"seed": seed}, "name": f"toys-{seed}"}
        first = launch(toy_study(**one, budget={"trials": 1, "repetitions": 2}))
        early = [entry for entry in read_study(first.folder).entries() if entry.trial.phase == "final"]
        second = launch(toy_study(**one, budget={"trials": 3, "repetitions": 2}))
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
def test_a_smaller_budget_is_refused_and_changes_nothing(
    launch: Launch, toy_study: MakeStudy, budget: dict[str, int], reason: str
) -> None:
    folder = launch(toy_study()).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(LedgerError, match=f"toy-sum/toy-ema {reason}; raise it, or use --fresh"):
        launch(toy_study(budget=budget))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_new_cell_continues_beside_the_old_ones_and_a_removed_one_stays(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    before = by_key(first.folder)
    second = launch(toy_study(models=["toy-stack"], budget={"trials": 2, "repetitions": 2, "tolerance": 0.01}))
    assert (second.study_id, second.complete) == (first.study_id, True)
    found = by_key(second.folder)
    assert len(found) == 8
    assert {key: found[key] for key in before} == before
    manifest = read_manifest(second.folder)
    assert manifest is not None
    assert [str(facts.cell) for facts in manifest.cells] == ["toy-sum/toy-ema", "toy-sum/toy-stack"]


def test_fresh_keeps_the_old_study_readable_under_its_id(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    expected = by_key(first.folder)
    second = launch(toy_study(search={"seed": 1}), fresh=True)
    assert second.study_id != first.study_id
    kept = second.folder.with_name(f"toys.{first.study_id}")
    assert by_key(kept) == expected
    assert read_study(kept).manifest.study_id == first.study_id
    finals = [entry for entry in read_study(kept).entries() if entry.trial.phase == "final"]
    assert all(entry.result and (kept / str(entry.result.weights)).exists() for entry in finals)
    assert by_key(second.folder) != expected


def test_fresh_without_an_old_study_is_a_first_run(launch: Launch, toy_study: MakeStudy, tmp_path: Path) -> None:
    assert launch(toy_study(), fresh=True).complete
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["toys"]


@pytest.mark.parametrize("damage", ["manifest", "no manifest", "journal"])
def test_fresh_is_a_way_out_of_whatever_cannot_be_read(launch: Launch, toy_study: MakeStudy, damage: str) -> None:
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


# ---- what a user gets wrong


def test_a_second_driver_is_refused_and_does_not_disturb_the_first(launch: Launch, toy_study: MakeStudy) -> None:
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
def test_the_lease_is_freed_however_a_run_ends(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, error: type[BaseException]
) -> None:
    def execute(source: TrialSource) -> None:
        raise error("enough")

    runner = Runner(make_plan(toy_study(), toy_loaded.registry), toy_loaded, tmp_path)
    with pytest.raises(error, match="enough"):
        runner.run(execute)
    Lease(runner.folder).release()


@pytest.mark.parametrize("place", ["a file", "/proc/seqharness"])
def test_runs_that_cannot_be_written_are_one_line(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, place: str
) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot be created .*choose another --runs") as caught:
        Runner(make_plan(toy_study(), toy_loaded.registry), toy_loaded, tmp_path / place).run(never)
    assert "\n" not in str(caught.value)


def never(source: TrialSource) -> None:
    raise AssertionError("nothing may be trained")


@pytest.mark.parametrize("parameters", [1, 3])
def test_a_budget_that_no_width_meets_leaves_no_folder(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, parameters: int
) -> None:
    study = toy_study(tasks=[{"name": "toy-sum", "parameters": parameters}])
    with pytest.raises(BudgetError, match="toy-sum/toy-ema: 1000 configurations in a row were rejected"):
        Runner(make_plan(study, toy_loaded.registry), toy_loaded, tmp_path / "runs").run(never)
    assert list(tmp_path.iterdir()) == []


class Filed(ToySum):
    def files(self) -> tuple[DataFile, ...]:
        return (DataFile("nowhere/x.bin", 1, "0" * 64),)


def test_missing_data_leave_no_folder(
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


def test_missing_data_may_leave_out_their_cells_until_they_are_there(
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


def test_what_a_task_draws_once_a_study_is_kept_with_it(
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


# ---- cells that fail


@pytest.mark.parametrize(
    ("fault", "reason"), [("raise", "ValueError: a toy that was told to raise"), ("nan", "loss nan at update 4")]
)
def test_a_cell_without_a_complete_trial_is_reported_failed_and_the_others_go_on(
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
            lost = trial.phase == "final" and trial.repetition == 1
            super().tell(trial, TrialResult(outcome="failed", reason="bad luck") if lost else result)

    outcome = launch(toy_study(), Unlucky)
    assert outcome.complete
    assert outcome.failed == ("toy-sum/toy-ema: 1 of 2 final trials completed: bad luck (from toys unknown)",)


# ---- workers that die


@pytest.fixture
def controller(tmp_path: Path, toy_study: MakeStudy, toy_loaded: Loaded) -> StudyController:
    """The source of a study that nobody runs."""
    return controller_of(toy_study(), toy_loaded, tmp_path)


def controller_of(study: Study, loaded: Loaded, runs: Path) -> StudyController:
    sources: list[TrialSource] = []
    Runner(make_plan(study, loaded.registry), loaded, runs).run(sources.append)
    (source,) = sources
    assert isinstance(source, StudyController)
    return source


def point(update: int) -> Point:
    return Point(
        update=update,
        epoch=1,
        seconds=1,
        time=1,
        learning_rate=0.1,
        train_loss=1,
        gradient_norm=1,
        metrics={"mse": 1.0},
    )


def dealt(source: StudyController) -> tuple[Trial, int]:
    found = source.ask(lambda _: True)
    assert found is not None
    return found


def result_of(source: StudyController, trial: Trial) -> TrialResult | None:
    return source.ledger.entry(trial.key).result


def result_of_folder(folder: Path, trial: Trial) -> TrialResult:
    (result,) = [entry.result for entry in read_study(folder).entries() if entry.trial.key == trial.key]
    assert result is not None
    return result


def test_a_lost_trial_is_dealt_again_with_the_same_content(controller: StudyController) -> None:
    trial, attempt = dealt(controller)
    controller.worker_failed(trial, "the node is gone", death="node")
    again, second = dealt(controller)
    assert (again, attempt, second) == (trial, 1, 2)
    assert result_of(controller, trial) is None


@pytest.mark.parametrize(("death", "times"), [("crash", CRASHES), ("silent", SILENT_DEATHS)])
def test_deaths_without_progress_are_the_trial_s_outcome(controller: StudyController, death: Death, times: int) -> None:
    trial, _ = dealt(controller)
    controller.report(trial, (point(4),))
    for _ in range(times - 1):
        controller.worker_failed(trial, "signal 11", death=death)
        assert dealt(controller)[0] == trial
        controller.report(trial, (point(4),))  # told again, which is no progress
    controller.worker_failed(trial, "signal 11", death=death)
    result = result_of(controller, trial)
    assert result is not None
    assert (result.outcome, result.reason) == ("failed", f"its worker died {times} times: signal 11")
    assert dealt(controller)[0].number == 1


@pytest.mark.parametrize("death", ["crash", "silent"])
def test_a_trial_whose_workers_die_in_spite_of_progress_has_no_outcome_and_the_next_run_deals_it(
    controller: StudyController, toy_study: MakeStudy, toy_loaded: Loaded, death: Death
) -> None:
    trial, _ = dealt(controller)
    for number in range(1, MOST_DEATHS):
        controller.report(trial, (point(number),))
        controller.worker_failed(trial, "preempted", death=death)
        assert dealt(controller) == (trial, number + 1)
    controller.report(trial, (point(MOST_DEATHS),))
    controller.worker_failed(trial, "preempted", death=death)
    other, _ = dealt(controller)
    assert other.number == 1, "the cell goes on with its other trials"
    assert not controller.finished()
    controller.tell(other, TrialResult(outcome="complete", score=1.0))
    assert controller.ask(lambda _: True) is None
    assert controller.finished(), "an executor would wait for ever"
    assert not controller.scheduler.finished()
    assert result_of(controller, trial) is None
    folder = controller.ledger.folder
    outcome = Runner(make_plan(toy_study(), toy_loaded.registry), toy_loaded, folder.parent).run(
        lambda source: run_serial(source, Worker(folder, toy_loaded.registry))
    )
    assert outcome.complete
    assert result_of_folder(folder, trial).outcome == "complete"


def test_a_machine_that_is_lost_again_and_again_says_nothing_of_the_trial(controller: StudyController) -> None:
    trial, _ = dealt(controller)
    for attempt in range(1, 3 * MOST_DEATHS):
        controller.worker_failed(trial, "its node has died", death="node")
        assert dealt(controller) == (trial, attempt + 1)


def test_a_worker_that_dies_before_its_trial_begins_is_not_the_trial_s_doing(controller: StudyController) -> None:
    trial, _ = dealt(controller)
    for _ in range(MOST_DEATHS - 1):
        controller.worker_failed(trial, "signal 9", death="early")
        assert dealt(controller)[0] == trial
    controller.worker_failed(trial, "signal 9", death="early")
    assert result_of(controller, trial) is None
    assert dealt(controller)[0].number == 1


def test_a_death_for_want_of_memory_is_out_of_memory_at_once(controller: StudyController) -> None:
    trial, _ = dealt(controller)
    controller.worker_failed(trial, "OutOfMemoryError: 3 GiB", death="memory")
    result = result_of(controller, trial)
    assert result is not None
    assert (result.outcome, result.reason) == ("out-of-memory", "OutOfMemoryError: 3 GiB")
    assert dealt(controller)[0].number == 1


FULL = TrialResult(outcome="out-of-memory", reason="OutOfMemoryError: CUDA out of memory", device="Toy GPU")


def test_a_trial_that_fills_a_shared_gpu_is_tried_once_more_with_the_gpu_alone(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path
) -> None:
    source = controller_of(toy_study(resources={"gpu": 0.25}), toy_loaded, tmp_path)
    trial, _ = dealt(source)
    source.tell(trial, FULL)
    assert result_of(source, trial) is None
    assert source.ask(lambda wanted: wanted.gpu < 1) is None, "it was dealt beside others"
    again, attempt = dealt(source)
    assert (again.key, again.resources.gpu, attempt) == (trial.key, 1, 2)
    assert again.digest == trial.digest
    source.tell(again, FULL)
    result = result_of(source, trial)
    assert result is not None
    assert result.outcome == "out-of-memory"
    assert dealt(source)[0].resources.gpu == 0.25, "the next trial of the cell shares again"


@pytest.mark.parametrize(("gpu", "device"), [(1, "Toy GPU"), (0, "cpu"), (0.25, "")])
def test_out_of_memory_elsewhere_is_the_outcome_at_once(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, gpu: float, device: str
) -> None:
    source = controller_of(toy_study(resources={"gpu": gpu}), toy_loaded, tmp_path)
    trial, _ = dealt(source)
    source.tell(trial, FULL.model_copy(update={"device": device}))
    assert result_of(source, trial) is not None


def test_a_note_names_its_trial(launch: Launch, toy_study: MakeStudy) -> None:
    class Noting(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            self.note(trial, "was lucky")
            super().tell(trial, result)

    outcome = launch(toy_study(), Noting)
    assert [text.endswith(": was lucky") for text in outcome.messages] == [True] * 4


def test_a_stacked_study_holds_the_trials_and_scores_of_one_that_trains_them_apart(
    launch: Launch, toy_study: MakeStudy
) -> None:
    given = {
        "models": ["toy-ema", "toy-stack"],
        "tasks": [{"name": "toy-sum", "parameters": 161}, {"name": "toy-ragged", "parameters": 161}],
        "budget": {"trials": 2, "repetitions": 5, "tolerance": 0.2},
        "training": {"updates": 24, "batch_size": 8, "evaluations": 4},
        "search": {"space": {"dropout": 0.0}},
    }
    apart = launch(toy_study(**given), runs="apart")
    stacked = launch(toy_study(**given, resources={"stack": 3}), runs="stacked")
    assert stacked.complete
    assert stacked.messages == apart.messages
    found, expected = (
        {e.trial.key.partition("/")[2]: e for e in read_study(outcome.folder).entries()} for outcome in (stacked, apart)
    )
    assert found.keys() == expected.keys()
    for key, entry in expected.items():
        assert found[key].trial.digest == entry.trial.digest
        assert found[key].attempt == 1
        mine, its = found[key].result, entry.result
        assert mine is not None
        assert its is not None
        assert mine.score == pytest.approx(its.score, rel=1e-4)
        assert [p.update for p in found[key].points] == [p.update for p in entry.points]


def test_a_stack_may_be_turned_on_in_a_study_that_was_begun_without(launch: Launch, toy_study: MakeStudy) -> None:
    first = launch(toy_study())
    again = launch(toy_study(resources={"stack": 3}, budget={"trials": 2, "repetitions": 5}))
    assert again.study_id == first.study_id
    assert again.complete
