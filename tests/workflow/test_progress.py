"""The live view of a study: counts, best scores and the remaining time."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness.ledger.journal import TrialEntry
from harness.plugin.registry import Registry
from harness.records import Point, TrialResult
from harness.study.plan import Plan, make_plan
from harness.workflow import progress as progress_module
from harness.workflow.progress import Progress, progress
from tests.conftest import MakeStudy, make_trial


@pytest.fixture
def plan(toy_registry: Registry, toy_study: MakeStudy) -> Plan:
    """One cell with 4 search trials and 2 final trials; a lower score is better."""
    return make_plan(toy_study(budget={"trials": 4, "repetitions": 2}), toy_registry)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that the view sees, in seconds."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def complete(score: float) -> TrialResult:
    return TrialResult(outcome="complete", score=score, train_seconds=2.5)


def shown(view: Progress) -> str:
    output = StringIO()
    Console(file=output, width=120).print(view)
    return output.getvalue()


def test_one_line_per_trial_where_there_is_no_terminal(plan: Plan, clock: SimpleNamespace) -> None:
    output = StringIO()
    with progress(Console(file=output, width=200), plan) as view:
        for number, result in enumerate([complete(0.5), TrialResult(outcome="diverged", reason="nan in the loss")]):
            trial = make_trial(number=number)
            view.harness_trial_started(trial, 1)
            clock.now += 10
            view.harness_trial_finished(trial, result)
    assert output.getvalue().splitlines() == [
        "[1/6] toy-sum/toy-ema search 0: complete, mse 0.5, 2.5 s; about 50 s left",
        "[2/6] toy-sum/toy-ema search 1: diverged, nan in the loss, 0.0 s; about 40 s left",
    ]


def test_trials_of_earlier_runs_count_but_not_for_the_time(plan: Plan, clock: SimpleNamespace) -> None:
    entries = [TrialEntry(make_trial(number=number), 1, (), complete(0.5)) for number in range(2)]
    view = Progress(Console(file=StringIO()), plan).begin([*entries, TrialEntry(make_trial(number=2), 1)])
    clock.now = 7
    assert "2 of 6 trials, 7 s so far" in shown(view)
    view.harness_trial_finished(make_trial(number=2), complete(0.5))
    assert "3 of 6 trials, about 21 s left" in shown(view)


def test_table_has_the_best_score_and_the_trials_that_did_not_complete(plan: Plan) -> None:
    view = Progress(Console(file=StringIO()), plan)
    for score in (0.5, 0.25, 0.75):
        view.harness_trial_reported(
            make_trial(),
            Point(
                update=1,
                epoch=1,
                train_loss=1,
                gradient_norm=1,
                seconds=1,
                time=1,
                learning_rate=1,
                metrics={"mse": score},
            ),
        )
    view.harness_trial_finished(make_trial(number=0), TrialResult(outcome="failed", reason="raised"))
    view.harness_trial_started(make_trial(number=1), 1)
    row = next(line for line in shown(view).splitlines() if "toy-ema" in line)
    assert [part.strip() for part in row.strip("│").split("│")] == [
        "toy-sum", "toy-ema", "1/4", "0/2", "1", "1", "0.25"
    ]  # fmt: skip
