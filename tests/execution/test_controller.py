"""The controller: ledger, hooks and failed workers of a running study."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.execution.controller import StudyController
from harness.execution.retry_policy import CRASHES, MAX_FAILURES, SILENT_FAILURES, FailureKind
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.ledger.journal import read_study
from harness.ledger.ledger import Ledger
from harness.plugin.hookspecs import hookimpl
from harness.plugin.loader import Loaded
from harness.records import Point, Trial, TrialResult
from harness.study.plan import make_plan
from harness.study.schema import Study
from tests.support.sources import Passing

MakeStudy = Callable[..., Study]
Launch = Callable[..., StudyOutcome]
pytestmark = pytest.mark.usefixtures("short_slices")


def test_hooks_are_called_once_per_event_and_after_the_ledger(launch: Launch, toy_study: MakeStudy) -> None:
    events: list[str] = []

    class Listener:
        def __init__(self, ledger: Ledger) -> None:
            self.ledger = ledger

        @hookimpl
        def harness_study_started(self, folder: str) -> None:
            events.append("study")

        @hookimpl
        def harness_trial_started(self, trial: Trial, attempt: int) -> None:
            assert self.ledger.entry(trial.key).attempt == attempt == 1
            events.append("trial")

        @hookimpl
        def harness_trial_reported(self, trial: Trial, point: Point) -> None:
            assert self.ledger.entry(trial.key).points[-1] == point
            events.append("point")

        @hookimpl
        def harness_trial_finished(self, trial: Trial, result: TrialResult) -> None:
            assert self.ledger.entry(trial.key).result == result
            events.append("end")

        @hookimpl
        def harness_study_finished(self, complete: bool) -> None:
            events.append(f"complete {complete}")

    outcome = launch(toy_study(), listeners=lambda ledger: [Listener(ledger)])
    assert outcome.messages == ()
    assert events == ["study", *(["trial", "point", "point", "end"] * 4), "complete True"]
    launch(toy_study())
    assert events[-1] == "complete True", "the listener was still registered"
    assert len(events) == 18


def test_listener_that_exits_does_not_end_the_study(launch: Launch, toy_study: MakeStudy) -> None:
    class Exiting:
        @hookimpl
        def harness_trial_finished(self, trial: Trial) -> None:
            raise SystemExit(0)

    outcome = launch(toy_study(), listeners=lambda _: [Exiting()])
    assert outcome.complete
    assert outcome.messages == ("plugin Exiting raised in harness_trial_finished (SystemExit: 0)",)


def test_listener_that_raises_costs_one_message_and_the_others_are_called(launch: Launch, toy_study: MakeStudy) -> None:
    class Broken:
        @hookimpl
        def harness_trial_finished(self, trial: Trial) -> None:
            raise RuntimeError(f"no room for {trial.key}\nat all")

    events: list[str] = []

    class Listener:
        @hookimpl
        def harness_trial_finished(self, trial: Trial) -> None:
            events.append(trial.key)

    outcome = launch(toy_study(), listeners=lambda _: [Broken(), Listener(), Broken()])
    assert outcome.complete
    assert len(events) == 4
    (message,) = outcome.messages
    assert message.startswith("plugin Broken raised in harness_trial_finished (RuntimeError: no room for ")
    assert "\n" not in message


def test_note_names_its_trial(launch: Launch, toy_study: MakeStudy) -> None:
    class Noting(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            self.note(trial, "was lucky")
            super().tell(trial, result)

    outcome = launch(toy_study(), Noting)
    assert [text.endswith(": was lucky") for text in outcome.messages] == [True] * 4


def test_trial_that_fails_is_charged_the_updates_that_it_reported(controller: StudyController) -> None:
    """A worker that fails while it builds the network again, as after a promotion, knows of no update."""
    trial, _ = ask(controller)
    controller.report(trial, (point(2), point(4)))
    controller.tell(trial, TrialResult(outcome="failed", reason="no network today", ended=time.time()))
    result = result_of(controller, trial)
    assert result is not None
    assert (result.outcome, result.updates, result.epochs, result.train_seconds) == ("failed", 4, 1, 1)


@pytest.fixture
def controller(tmp_path: Path, toy_study: MakeStudy, toy_loaded: Loaded) -> StudyController:
    """The controller of a study that no executor runs."""
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


def ask(source: StudyController) -> tuple[Trial, int]:
    trial = source.ask(lambda _: True)
    assert trial is not None
    return trial


def result_of(source: StudyController, trial: Trial) -> TrialResult | None:
    return source.ledger.entry(trial.key).result


def result_of_folder(folder: Path, trial: Trial) -> TrialResult:
    (result,) = [entry.result for entry in read_study(folder).entries() if entry.trial.key == trial.key]
    assert result is not None
    return result


def test_trial_of_a_lost_node_is_retried_with_the_same_content(controller: StudyController) -> None:
    trial, attempt = ask(controller)
    controller.worker_failed(trial, "the node is gone", kind="node")
    again, second = ask(controller)
    assert (again, attempt, second) == (trial, 1, 2)
    assert result_of(controller, trial) is None


@pytest.mark.parametrize(("kind", "times"), [("crash", CRASHES), ("silent", SILENT_FAILURES)])
def test_repeated_failures_without_progress_are_the_trial_s_outcome(
    controller: StudyController, kind: FailureKind, times: int
) -> None:
    trial, _ = ask(controller)
    controller.report(trial, (point(4),))
    for _ in range(times - 1):
        controller.worker_failed(trial, "signal 11", kind=kind)
        assert ask(controller)[0] == trial
        controller.report(trial, (point(4),))  # reported before, so this is no progress
    controller.worker_failed(trial, "signal 11", kind=kind)
    result = result_of(controller, trial)
    assert result is not None
    assert (result.outcome, result.reason) == (
        "failed",
        f"worker failed {times} times: signal 11 in a trial of {trial.plugins[0].name} {trial.plugins[0].version}",
    )
    assert ask(controller)[0].number == 1


@pytest.mark.parametrize("kind", ["crash", "silent"])
def test_trial_whose_workers_fail_despite_progress_is_postponed_to_the_next_run(
    controller: StudyController, toy_study: MakeStudy, toy_loaded: Loaded, kind: FailureKind
) -> None:
    trial, _ = ask(controller)
    for number in range(1, MAX_FAILURES):
        controller.report(trial, (point(number),))
        controller.worker_failed(trial, "preempted", kind=kind)
        assert ask(controller) == (trial, number + 1)
    controller.report(trial, (point(MAX_FAILURES),))
    controller.worker_failed(trial, "preempted", kind=kind)
    other, _ = ask(controller)
    assert other.number == 1, "the cell goes on with its other trials"
    assert not controller.finished()
    controller.tell(other, TrialResult(outcome="complete", score=1.0))
    assert controller.ask(lambda _: True) is None
    assert controller.finished(), "an executor would wait forever"
    assert not controller.scheduler.finished()
    assert result_of(controller, trial) is None
    assert controller._messages[-1] == (
        f"{trial.key}: worker failed {MAX_FAILURES} times (preempted); postponed; run the same command again to resume"
    )
    folder = controller.ledger.folder
    outcome = Runner(make_plan(toy_study(), toy_loaded.registry), toy_loaded, folder.parent).run(
        lambda source: run_serial(source, Worker(folder, toy_loaded.registry))
    )
    assert outcome.complete
    assert result_of_folder(folder, trial).outcome == "complete"


def test_losses_of_machines_never_count_against_the_trial(controller: StudyController) -> None:
    trial, _ = ask(controller)
    for attempt in range(1, 3 * MAX_FAILURES):
        controller.worker_failed(trial, "its node has died", kind="node")
        assert ask(controller) == (trial, attempt + 1)


def test_failures_before_the_trial_starts_do_not_count_against_the_trial(controller: StudyController) -> None:
    trial, _ = ask(controller)
    for _ in range(MAX_FAILURES - 1):
        controller.worker_failed(trial, "signal 9", kind="early")
        assert ask(controller)[0] == trial
    controller.worker_failed(trial, "signal 9", kind="early")
    assert result_of(controller, trial) is None
    assert ask(controller)[0].number == 1


def test_worker_that_ray_ends_for_memory_is_out_of_memory_at_once(controller: StudyController) -> None:
    trial, _ = ask(controller)
    controller.worker_failed(trial, "OutOfMemoryError: 3 GiB", kind="memory")
    result = result_of(controller, trial)
    assert result is not None
    assert (result.outcome, result.reason) == ("out-of-memory", "OutOfMemoryError: 3 GiB")
    assert ask(controller)[0].number == 1


FULL = TrialResult(outcome="out-of-memory", reason="OutOfMemoryError: CUDA out of memory", device="Toy GPU")


def test_trial_that_fills_a_shared_gpu_is_retried_once_with_a_gpu_of_its_own(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path
) -> None:
    source = controller_of(toy_study(resources={"gpu": 0.25}), toy_loaded, tmp_path)
    trial, _ = ask(source)
    source.tell(trial, FULL)
    assert result_of(source, trial) is None
    assert source.ask(lambda wanted: wanted.gpu < 1) is None, "it would share the GPU again"
    again, attempt = ask(source)
    assert (again.key, again.resources.gpu, attempt) == (trial.key, 1, 2)
    assert again.digest == trial.digest
    source.tell(again, FULL)
    result = result_of(source, trial)
    assert result is not None
    assert result.outcome == "out-of-memory"
    assert ask(source)[0].resources.gpu == 0.25, "the next trial of the cell shares again"


@pytest.mark.parametrize(("gpu", "device"), [(1, "Toy GPU"), (0, "cpu"), (0.25, "")])
def test_out_of_memory_without_a_shared_gpu_is_the_outcome_at_once(
    toy_study: MakeStudy, toy_loaded: Loaded, tmp_path: Path, gpu: float, device: str
) -> None:
    source = controller_of(toy_study(resources={"gpu": gpu}), toy_loaded, tmp_path)
    trial, _ = ask(source)
    source.tell(trial, FULL.model_copy(update={"device": device}))
    assert result_of(source, trial) is not None
