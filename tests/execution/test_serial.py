"""Trials one after another in this process, and interrupts of them."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.execution import serial
from harness.execution.crash_trace import trace_path
from harness.execution.retry_policy import FailureKind
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.plugin.registry import Registry
from harness.records import Point, Resources, Trial, TrialResult
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.training.checkpoint import folder_of
from tests.support import toys

MakeStudy = Callable[..., Study]


@dataclass
class ListSource:
    """A source with a list of trials, which records its calls.  `at_point` runs at each slice that reports a point."""

    trials: list[Trial]
    at_point: Callable[[], None] = lambda: None
    attempt: int = 1
    together: int = 1
    """How many trials are trained together."""
    calls: list[str] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    results: list[TrialResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        assert fits(Resources(cpu=10_000, gpu=64))
        if not self.trials:
            return None
        trial = self.trials.pop(0)
        self.calls.append(f"ask {trial.number}")
        return trial, self.attempt

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        companions = [self.trials.pop(0) for _ in range(min(self.together - 1, len(self.trials)))]
        self.calls += [f"companion {other.number}" for other in companions]
        return tuple((other, self.attempt) for other in companions)

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        self.points += points
        if points:
            self.calls.append(f"report {trial.number}")
            self.at_point()

    def note(self, trial: Trial, text: str) -> None:
        self.notes.append(text)

    def tell(self, trial: Trial, result: TrialResult) -> None:
        self.calls.append(f"tell {trial.number}")
        self.results.append(result)

    def worker_failed(self, trial: Trial, reason: str, *, kind: FailureKind) -> None:
        raise AssertionError("no worker can fail in one process")

    def finished(self) -> bool:
        return not self.trials

    def resource_classes(self) -> tuple[Resources, ...]:
        return (Resources(),)


@pytest.fixture
def trials(toy_study: MakeStudy, toy_registry: Registry) -> list[Trial]:
    plan = make_plan(toy_study(training={"updates": 40, "batch_size": 8, "evaluations": 10}), toy_registry).cells[0]
    state = CellState(Proposer(plan, seed=0), study_id="id")
    return [state.search_trial(number) for number in range(3)]


@pytest.fixture
def worker(tmp_path: Path, toy_registry: Registry) -> Worker:
    return Worker(tmp_path, toy_registry)


def timeless(points: list[Point]) -> list[Point]:
    return [point.model_copy(update={"time": 0.0, "seconds": 0.0}) for point in points]


def test_trials_run_in_order_and_points_are_reported_before_the_result(worker: Worker, trials: list[Trial]) -> None:
    source = ListSource(list(trials))
    run_serial(source, worker)
    assert source.calls == [f"{verb} {number}" for number in range(3) for verb in ("ask", "report", "tell")]
    assert [result.outcome for result in source.results] == ["complete"] * 3


def test_failed_trial_does_not_stop_the_next(worker: Worker, trials: list[Trial]) -> None:
    faulty = trials[0].model_copy(update={"build": {**trials[0].build, "fault": "raise"}})
    source = ListSource([faulty, trials[1]])
    run_serial(source, worker)
    assert [result.outcome for result in source.results] == ["failed", "complete"]


CRASH = """Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/site/my_net.py", line 12 in forward
  File "/site/harness/training/run.py", line 99 in advance
"""
EXITS = {
    "system-exit": r"toys unknown raised SystemExit: 3 \(toys\.py:\d+\)",
    "keyboard-interrupt": r"toys unknown raised KeyboardInterrupt: a toy that was told to interrupt \(toys\.py:\d+\)",
    "exit": r"toys unknown raised SystemExit: os\._exit\(9\) \(toys\.py:\d+\)",
    "recursion": r"toys unknown raised RecursionError: maximum recursion depth exceeded.* \(toys\.py:\d+\)",
}


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("fault", EXITS)
def test_exit_interrupt_or_recursion_of_a_plugin_is_the_outcome_and_names_it(
    worker: Worker, trials: list[Trial], fault: str, together: int
) -> None:
    first, second = (trial.model_copy(update={"build": {**trials[0].build, "fault": fault}}) for trial in trials[:2])
    source = ListSource([first, second, trials[2]], together=together)
    run_serial(source, worker)
    assert [result.outcome for result in source.results] == ["failed", "failed", "complete"]
    for result in source.results[:2]:
        assert re.fullmatch(EXITS[fault], result.reason), result.reason


def test_process_of_a_plugin_may_exit(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the workers of a DataLoader do, which are forks."""
    states: list[int] = []

    def fork(fault: str) -> None:
        child = os.fork()
        if child == 0:
            os._exit(7)
        states.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    leave = os._exit
    monkeypatch.setattr(toys, "commit", fork)
    source = ListSource(trials[:1])
    run_serial(source, worker)
    assert set(states) == {7}
    assert source.results[0].outcome == "complete"
    assert os._exit is leave


def leave_traces(worker: Worker, trial: Trial, *traces: str) -> None:
    """Write the traces of a trial's earlier attempts."""
    folder = folder_of(worker.folder, trial.key)
    folder.mkdir(parents=True)
    for attempt, trace in enumerate(traces, start=1):
        trace_path(folder, attempt).write_text(trace)


def test_trial_that_ended_two_earlier_processes_is_not_trained_again(worker: Worker, trials: list[Trial]) -> None:
    """After fatal signals with a trace.  An empty trace is that of a process that was killed from outside."""
    leave_traces(worker, trials[0], CRASH, CRASH)
    leave_traces(worker, trials[1], "", "")
    source = ListSource(trials[:2], attempt=3)
    run_serial(source, worker)
    assert [result.outcome for result in source.results] == ["failed", "complete"]
    reason = "Segmentation fault (my_net.py:12 in forward) in a trial of toys unknown ended the process"
    assert source.results[0].reason == reason
    assert source.calls == ["ask 0", "tell 0", "ask 1", "report 1", "tell 1"]


def test_trial_that_ended_one_earlier_process_trains_again_and_alone(worker: Worker, trials: list[Trial]) -> None:
    """A single crash may be due to a companion, and the retry policy of parallel workers permits one."""
    leave_traces(worker, trials[0], CRASH)
    source = ListSource(list(trials), attempt=2, together=2)
    run_serial(source, worker)
    assert [result.outcome for result in source.results] == ["complete"] * 3
    assert source.calls[:4] == ["ask 0", "report 0", "tell 0", "ask 1"]
    assert "companion 2" in source.calls


def test_fault_handler_of_the_user_is_enabled_again(worker: Worker, trials: list[Trial]) -> None:
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(2)
    try:
        run_serial(ListSource(trials[:1]), worker)
        assert faulthandler.is_enabled()
    finally:
        if not was_enabled:
            faulthandler.disable()


def test_fatal_signals_go_to_the_trace_of_the_trial_in_training(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    traces: list[list[str]] = []
    monkeypatch.setattr(
        toys, "commit", lambda fault: traces.append([path.name for path in worker.folder.rglob("*.trace")])
    )
    run_serial(ListSource(trials[:1], attempt=3), worker)
    assert traces[0] == ["attempt-0003.trace"]


def test_ctrl_c_outside_a_study_ends_a_trial_even_in_the_middle_of_a_plugin(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`harness train` installs no signal handler."""
    monkeypatch.setattr(toys, "commit", lambda fault: os.kill(os.getpid(), signal.SIGINT))
    active = worker.start(trials[0], 1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            active.advance(5)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_second_interrupt_in_the_middle_of_a_plugin_is_the_user_s(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(fault: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(toys, "commit", twice)
    source = ListSource(trials[:1])
    with pytest.raises(KeyboardInterrupt):
        run_serial(source, worker)
    assert source.results == []


def test_exception_of_the_source_ends_the_run(worker: Worker, trials: list[Trial]) -> None:
    def refuse() -> None:
        raise RuntimeError("the source is on fire")

    source = ListSource(list(trials), refuse)
    with pytest.raises(RuntimeError, match="on fire"):
        run_serial(source, worker)
    assert len(source.trials) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_takes_effect_after_the_slice_and_the_trial_resumes_exactly(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    undisturbed = ListSource([trials[0].model_copy(update={"number": 9})])
    run_serial(undisturbed, worker)
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    interrupted = ListSource(trials[:1], lambda: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt):
        run_serial(interrupted, worker)

    assert len(interrupted.points) == 1
    assert interrupted.results == []
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    resumed = ListSource(trials[:1], attempt=2)
    run_serial(resumed, worker)
    assert timeless(resumed.points) == timeless(undisturbed.points)  # points before the interrupt are reported again
    assert resumed.results[0].score == undisturbed.results[0].score


def test_interrupt_in_the_last_slice_ends_the_trial_and_then_the_run(worker: Worker, trials: list[Trial]) -> None:
    source = ListSource(list(trials), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run_serial(source, worker)
    assert source.calls == ["ask 0", "report 0", "tell 0"]


def test_second_interrupt_takes_effect_at_once_and_the_trial_can_be_resumed(
    worker: Worker, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_serial(ListSource(trials[:1], twice), worker)
    resumed = ListSource(trials[:1], attempt=2)
    run_serial(resumed, worker)
    assert resumed.results[0].outcome == "complete"


def test_note_on_a_skipped_checkpoint_reaches_the_source(worker: Worker, trials: list[Trial]) -> None:
    folder = worker.folder / "checkpoints" / trials[0].key
    folder.mkdir(parents=True)
    (folder / "attempt-0001.pt").write_bytes(b"torn")
    source = ListSource(trials[:1], attempt=2)
    run_serial(source, worker)
    assert len(source.notes) == 1
    assert "attempt-0001.pt: is no checkpoint" in source.notes[0]


def test_runs_outside_the_main_thread(worker: Worker, trials: list[Trial]) -> None:
    source = ListSource(trials[:1])
    thread = threading.Thread(target=run_serial, args=(source, worker))
    thread.start()
    thread.join(60)
    assert [result.outcome for result in source.results] == ["complete"]
