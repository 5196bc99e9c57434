"""The pilot: throughput from the points of a training, and models that cannot be trained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StudyError
from harness.plugin.registry import Registry
from harness.recommendation import pilot
from harness.recommendation.pilot import measure, throughput_of
from harness.recommendation.time_budget import Throughput
from harness.study.plan import make_plan
from harness.study.schema import Search
from tests.conftest import MakeStudy

SECONDS = st.floats(1e-4, 10)


@given(update=SECONDS, evaluation=SECONDS, start=SECONDS, first=st.integers(1, 50))
def test_throughput_of_a_training_of_constant_speed_is_recovered(
    update: float, evaluation: float, start: float, first: int
) -> None:
    """Two points, each reached before its own evaluation; the slow start counts neither as update nor evaluation."""
    points = [(first, first * update), (2 * first, 2 * first * update + evaluation)]
    train_seconds = 2 * (first * update + evaluation)
    throughput = throughput_of(points, train_seconds, start + train_seconds)
    assert throughput.update_seconds == pytest.approx(update, rel=1e-6)
    assert throughput.evaluation_seconds == pytest.approx(evaluation, rel=1e-6)
    assert throughput.start_seconds == pytest.approx(start, rel=1e-6, abs=1e-9)
    assert throughput.training(2 * first, 2) == pytest.approx(start + train_seconds, rel=1e-6)


def test_single_point_gives_the_mean_of_its_updates() -> None:
    throughput = throughput_of([(10, 5.0)], train_seconds=6.0, wall_seconds=7.5)
    assert (throughput.update_seconds, throughput.evaluation_seconds, throughput.start_seconds) == (0.5, 1.0, 1.5)


def test_slow_first_updates_do_not_count() -> None:
    """The first 10 updates take 100 s, the next 10 take 1 s."""
    assert throughput_of([(10, 100.0), (20, 101.0)], 101.0, 101.0).update_seconds == pytest.approx(10.0 * 0.1)
    assert throughput_of([(10, 5.0), (20, 6.0)], 6.0, 6.0).update_seconds == pytest.approx(0.1)


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
