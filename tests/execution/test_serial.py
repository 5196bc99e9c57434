from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.execution import serial
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.plugin.registry import Registry
from harness.records import Death, Point, Resources, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.plan import make_plan
from harness.study.schema import Study

MakeStudy = Callable[..., Study]


@dataclass
class Tray:
    """A source with a stack of trials, which keeps what is reported; `at_point` runs at each slice with a point."""

    trials: list[Trial]
    at_point: Callable[[], None] = lambda: None
    attempt: int = 1
    together: int = 1
    """How many trials are dealt together."""
    told: list[str] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    results: list[TrialResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        assert fits(Resources(cpu=10_000, gpu=64))
        if not self.trials:
            return None
        trial = self.trials.pop(0)
        self.told.append(f"deal {trial.number}")
        return trial, self.attempt

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        beside = [self.trials.pop(0) for _ in range(min(self.together - 1, len(self.trials)))]
        self.told += [f"beside {other.number}" for other in beside]
        return tuple((other, self.attempt) for other in beside)

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        self.points += points
        if points:
            self.told.append(f"report {trial.number}")
            self.at_point()

    def note(self, trial: Trial, text: str) -> None:
        self.notes.append(text)

    def tell(self, trial: Trial, result: TrialResult) -> None:
        self.told.append(f"end {trial.number}")
        self.results.append(result)

    def worker_failed(self, trial: Trial, why: str, *, death: Death) -> None:
        raise AssertionError("no worker is lost in one process")

    def finished(self) -> bool:
        return not self.trials

    def resource_classes(self) -> tuple[Resources, ...]:
        return (Resources(),)


@pytest.fixture
def trials(toy_study: MakeStudy, toy_registry: Registry) -> list[Trial]:
    plan = make_plan(toy_study(training={"updates": 40, "batch_size": 8, "evaluations": 10}), toy_registry).cells[0]
    state = CellState(Proposer(plan, seed=0, sampler="random"), study_id="id")
    return [state.search_trial(number) for number in range(3)]


@pytest.fixture
def worker(tmp_path: Path, toy_registry: Registry) -> Worker:
    return Worker(tmp_path, toy_registry)


def timeless(points: list[Point]) -> list[Point]:
    return [point.model_copy(update={"time": 0.0, "seconds": 0.0}) for point in points]


def test_trials_run_one_after_another_and_each_is_reported_before_it_ends(worker: Worker, trials: list[Trial]) -> None:
    tray = Tray(list(trials))
    run_serial(tray, worker)
    assert tray.told == [f"{verb} {number}" for number in range(3) for verb in ("deal", "report", "end")]
    assert [result.outcome for result in tray.results] == ["complete"] * 3


def test_a_trial_that_fails_does_not_stop_the_next(worker: Worker, trials: list[Trial]) -> None:
    faulty = trials[0].model_copy(update={"build": {**trials[0].build, "fault": "raise"}})
    tray = Tray([faulty, trials[1]])
    run_serial(tray, worker)
    assert [result.outcome for result in tray.results] == ["failed", "complete"]


def test_what_a_desk_raises_ends_the_run(worker: Worker, trials: list[Trial]) -> None:
    def refuse() -> None:
        raise RuntimeError("the source is on fire")

    tray = Tray(list(trials), refuse)
    with pytest.raises(RuntimeError, match="on fire"):
        run_serial(tray, worker)
    assert len(tray.trials) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_slice_and_the_trial_goes_on_exactly(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    whole = Tray([trials[0].model_copy(update={"number": 9})])
    run_serial(whole, worker)
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    begun = Tray(trials[:1], lambda: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt):
        run_serial(begun, worker)

    assert len(begun.points) == 1
    assert begun.results == []
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    continued = Tray(trials[:1], attempt=2)
    run_serial(continued, worker)
    assert timeless(continued.points) == timeless(whole.points)  # it tells again what it had told before
    assert continued.results[0].score == whole.results[0].score


def test_an_interrupt_in_the_last_slice_ends_the_trial_and_then_the_run(worker: Worker, trials: list[Trial]) -> None:
    tray = Tray(list(trials), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run_serial(tray, worker)
    assert tray.told == ["deal 0", "report 0", "end 0"]


def test_a_second_interrupt_does_not_wait_and_the_trial_can_be_continued(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_serial(Tray(trials[:1], twice), worker)
    continued = Tray(trials[:1], attempt=2)
    run_serial(continued, worker)
    assert continued.results[0].outcome == "complete"


def test_a_passed_over_checkpoint_reaches_the_desk(worker: Worker, trials: list[Trial]) -> None:
    folder = worker.folder / "checkpoints" / trials[0].key
    folder.mkdir(parents=True)
    (folder / "attempt-0001.pt").write_bytes(b"torn")
    tray = Tray(trials[:1], attempt=2)
    run_serial(tray, worker)
    assert len(tray.notes) == 1
    assert "attempt-0001.pt: is no checkpoint" in tray.notes[0]


def test_it_runs_outside_the_main_thread(worker: Worker, trials: list[Trial]) -> None:
    tray = Tray(trials[:1])
    thread = threading.Thread(target=run_serial, args=(tray, worker))
    thread.start()
    thread.join(60)
    assert [result.outcome for result in tray.results] == ["complete"]
