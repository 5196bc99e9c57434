"""The pilot: throughput from the points of a training, and models that cannot be trained."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StudyError
from harness.execution.trial import ActiveTrial, Worker
from harness.plugin.registry import Registry
from harness.recommendation import pilot
from harness.recommendation.pilot import measure, throughput_of
from harness.recommendation.time_budget import Throughput
from harness.records import Point, Trial
from harness.study.plan import make_plan
from harness.study.schema import Search
from tests.conftest import MakeStudy
from tests.support.plans import HookedModel, with_model

SECONDS = st.floats(1e-4, 10)


def points(*reached: tuple[int, float, float]) -> list[Point]:
    """Return evaluations.  reached: update, training seconds before its evaluation, and the time after it."""
    return [
        Point(
            update=update, epoch=0.0, seconds=seconds, time=ended,
            learning_rate=0.1, train_loss=0.0, gradient_norm=0.0, metrics={},
        )
        for update, seconds, ended in reached
    ]  # fmt: skip


@given(update=SECONDS, evaluations=st.tuples(SECONDS, SECONDS), start=SECONDS, first=st.integers(1, 50))
def test_throughput_of_a_training_is_recovered(
    update: float, evaluations: tuple[float, float], start: float, first: int
) -> None:
    """Evaluations of unequal time do not alter that of an update; the slow start counts as neither."""
    block, (one, two) = first * update, evaluations
    reached = points((first, block, block + one), (2 * first, 2 * block + one, 2 * block + one + two))
    train_seconds = 2 * block + one + two
    throughput = throughput_of(reached, 2 * first, train_seconds, start + train_seconds)
    assert throughput.update_seconds == pytest.approx(update, rel=1e-6)
    assert throughput.evaluation_seconds == pytest.approx(two, rel=1e-6)
    assert throughput.start_seconds == pytest.approx(start, rel=1e-6, abs=1e-9)
    assert throughput.training(2 * first, 2) == pytest.approx(start + 2 * block + 2 * two, rel=1e-6)


def test_single_point_gives_the_mean_of_its_updates() -> None:
    throughput = throughput_of(points((10, 5.0, 6.0)), 10, train_seconds=6.0, wall_seconds=7.5)
    assert (throughput.update_seconds, throughput.evaluation_seconds, throughput.start_seconds) == (0.5, 1.0, 1.5)


def test_long_evaluations_around_one_update_do_not_count() -> None:
    """The time limit ends the training in the first evaluation: one update follows, and an evaluation half as long."""
    throughput = throughput_of(points((10, 5.0, 35.0), (11, 35.5, 50.5)), 11, train_seconds=50.5, wall_seconds=50.5)
    assert (throughput.update_seconds, throughput.evaluation_seconds) == (0.5, 15.0)


def test_updates_before_a_divergence_are_no_evaluation() -> None:
    throughput = throughput_of(points((10, 5.0, 6.0)), 20, train_seconds=11.0, wall_seconds=11.0)
    assert (throughput.update_seconds, throughput.evaluation_seconds) == (0.5, 1.0)


def test_slow_first_updates_do_not_count() -> None:
    """The first 10 updates take 100 s, the next 10 take 1 s."""
    slow = points((10, 100.0, 100.0), (20, 101.0, 101.0))
    assert throughput_of(slow, 20, 101.0, 101.0).update_seconds == pytest.approx(10.0 * 0.1)
    quicker = points((10, 5.0, 5.0), (20, 6.0, 6.0))
    assert throughput_of(quicker, 20, 6.0, 6.0).update_seconds == pytest.approx(0.1)


def test_cell_that_fails_after_an_evaluation_is_not_measured(toy_registry: Registry, toy_study: MakeStudy) -> None:
    calls = itertools.count(1)

    def fail_in_every_fifteenth_update() -> None:
        if next(calls) % 15 == 0:
            raise ValueError("late")

    registry = with_model(toy_registry, HookedModel(fail_in_every_fifteenth_update))
    (cell,) = make_plan(toy_study(models=["toy-hooked"]), registry).cells
    reason = pilot.cell_throughput(cell, Search(), registry, 60)
    assert isinstance(reason, str)
    assert reason.startswith("toy-sum/toy-hooked: failed (ValueError: late")


def test_draws_are_measured_on_different_batches(
    toy_registry: Registry, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials: list[Trial] = []
    start = Worker.start

    def seen(self: Worker, trial: Trial, attempt: int) -> ActiveTrial:
        trials.append(trial)
        return start(self, trial, attempt)

    monkeypatch.setattr(Worker, "start", seen)
    (cell,) = make_plan(toy_study(), toy_registry).cells
    pilot.cell_throughput(cell, Search(), toy_registry, 60)
    assert len({trial.seeds.order for trial in trials}) == pilot.DRAWS
    assert len({trial.seeds.data for trial in trials}) == 1


def test_model_that_fails_gets_the_throughput_of_the_median(toy_registry: Registry, toy_study: MakeStudy) -> None:
    broken = {"name": "toy-ema", "as": "broken", "space": {"fault": "raise"}}
    cells = make_plan(toy_study(models=["toy-ema", broken]), toy_registry).cells
    throughputs = measure(cells, Search(), toy_registry)
    assert throughputs["broken"] == throughputs["toy-ema"]
    assert throughputs["toy-ema"].update_seconds > 0


def test_study_whose_models_all_fail_is_refused(toy_registry: Registry, toy_study: MakeStudy) -> None:
    broken = {"name": "toy-ema", "as": "broken", "space": {"fault": "raise"}}
    with pytest.raises(StudyError, match=r"no model can be trained: toy-sum/broken: failed \(.*told to raise"):
        measure(make_plan(toy_study(models=[broken]), toy_registry).cells, Search(), toy_registry)


def test_model_that_fails_gets_no_throughput_for_which_it_would_be_postponed(
    toy_registry: Registry, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failures are to be reported, and a slow model beside it must not hide them."""
    known: dict[str, Throughput | str] = {
        label: Throughput(update_seconds=seconds, evaluation_seconds=0.0, start_seconds=0.0)
        for label, seconds in {"slow": 9.0, "fast": 0.01, "middle": 0.02}.items()
    }
    monkeypatch.setattr(pilot, "cell_throughput", lambda cell, *_: known.get(cell.cell.model, "failed"))
    models = [{"name": "toy-ema", "as": label} for label in (*known, "broken")]
    throughputs = measure(make_plan(toy_study(models=models), toy_registry).cells, Search(), toy_registry)
    assert throughputs == {**known, "broken": known["middle"]}
