from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.api.dataset import Arrays, Batch, Dataset, Ragged, Split
from harness.api.signature import Real, Signature
from harness.api.task import Metric, Task, Total, mean_of
from harness.records import Optimisation, Point, Schedule, Training
from harness.seeds import Seeds
from harness.training import checkpoint, evaluation
from harness.training import run as training_loop
from harness.training.evaluation import evaluate, evaluate_weights
from harness.training.network import Network, build_network
from harness.training.optimizers import make_optimizer, schedule_factor
from harness.training.run import TrainingData, TrainingRun
from tests.support.toys import ToyEma, ToyRagged, ToySum

CPU = torch.device("cpu")
SEEDS = Seeds.of(0, 0)
FOREVER = 1e9


class Same(nn.Module):
    """A backbone that passes its input on, so that the network is linear."""

    out_features = 1

    def forward(self, x: Tensor) -> Tensor:
        return x


class Line(Task):
    """y = 2x − 1 at eight points of one step: linear least squares, solved exactly by w = 2, b = −1."""

    name: ClassVar[str] = "line"

    def signature(self) -> Signature:
        return Signature(input=Real(1), output=Real(1), length=1, readout="last")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("mse", "", "lower", mean_of("mse")),)

    def training_sequences(self) -> int:
        return 8

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        x = torch.linspace(-1, 1, 8)[:, None]  # (sequences, channels)
        return Arrays(x[:, None], 2 * x - 1)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        return {"mse": Total((output - batch.targets).square().sum(), len(output))}


def scripted(scores: list[float], better: Literal["lower", "higher"] = "lower") -> Task:
    """`Line`, whose validation gives these scores one after another."""
    told = iter(scores)

    class Scripted(Line):
        name: ClassVar[str] = "scripted"

        def metrics(self) -> tuple[Metric, ...]:
            return (Metric("score", "", better, lambda sums: next(told)),)

    return Scripted()


def line_run(task: Task | None = None, *, network: Network | None = None, **settings: Any) -> TrainingRun:
    """A run of the linear network from w = b = 0, in full batches (settings: of `Training` and `Optimisation`, Any)."""
    given = {"updates": 10, "batch_size": 8, "evaluate_every": 1, "optimizer": "sgd", "learning_rate": 0.1, **settings}
    task = task or Line()
    network = network or Network(task.signature(), Same())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return TrainingRun(
        network,
        task,
        training=Training.model_validate({key: given[key] for key in Training.model_fields if key in given}),
        optimisation=Optimisation.model_validate(
            {key: given[key] for key in Optimisation.model_fields if key in given}
        ),
        data=TrainingData(task.load("train", SEEDS, {}), task.load("validation", SEEDS, {})),
        seeds=SEEDS,
    )


def descent(updates: int, rate: float | Callable[[int], float]) -> list[tuple[float, float, float]]:
    """Gradient descent on `Line` in float64: (w, b, loss) after each update."""
    x = np.linspace(-1, 1, 8)
    w = b = 0.0
    path = []
    for update in range(updates):
        residual = w * x + b - (2 * x - 1)
        step = rate(update) if callable(rate) else rate
        w, b = w - step * 2 * float(np.mean(residual * x)), b - step * 2 * float(np.mean(residual))
        path.append((w, b, float(np.mean((w * x + b - (2 * x - 1)) ** 2))))
    return path


def weights_of(run: TrainingRun) -> tuple[float, float]:
    decoder = run.network.decoder
    return decoder.weight.item(), decoder.bias.item()


class Clock:
    """Seconds that pass only in updates, one each: slices end where a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(training_loop, "time", SimpleNamespace(monotonic=lambda: self.now, time=lambda: 0.0))

    def drive(self, run: TrainingRun) -> TrainingRun:
        def tick(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.now += module.training

        run.network.backbone.register_forward_pre_hook(tick)
        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# ---- what is computed


def test_full_batch_sgd_follows_the_closed_form_of_gradient_descent() -> None:
    run = line_run(updates=40)
    run.advance(FOREVER)
    expected = descent(40, 0.1)
    assert weights_of(run) == pytest.approx(expected[-1][:2], abs=1e-5)
    assert [point.metrics["mse"] for point in run.points] == pytest.approx([loss for *_, loss in expected], abs=1e-5)
    before = [np.mean((2 * np.linspace(-1, 1, 8) - 1) ** 2), *(loss for *_, loss in expected)]
    assert [point.train_loss for point in run.points] == pytest.approx(before[:-1], abs=1e-5)


def test_a_solvable_task_is_solved() -> None:
    run = line_run(updates=500, evaluate_every=50)
    run.advance(FOREVER)
    assert run.outcome == "complete"
    assert weights_of(run) == pytest.approx((2, -1), abs=1e-4)
    assert run.points[-1].metrics["mse"] < 1e-8


def test_a_sum_is_the_mean_with_the_batch_as_a_factor_on_the_rate() -> None:
    summed, mean = line_run(reduction="sum", learning_rate=0.1 / 8), line_run(reduction="mean")
    for run in (summed, mean):
        run.advance(FOREVER)
    assert weights_of(summed) == pytest.approx(weights_of(mean), rel=1e-5)
    assert summed.points[0].gradient_norm == pytest.approx(8 * mean.points[0].gradient_norm, rel=1e-5)
    assert summed.points[0].train_loss == pytest.approx(mean.points[0].train_loss, rel=1e-6)


@pytest.mark.parametrize("clip", [0.25, 1.0, 100.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_applied_is_clipped_and_what_is_reported_is_not(clip: float, reduction: str) -> None:
    run = line_run(updates=1, learning_rate=1.0, clip=clip, reduction=reduction)
    run.advance(FOREVER)
    raw = math.hypot(*descent(1, 1.0)[0][:2]) * (8 if reduction == "sum" else 1)
    assert run.points[0].gradient_norm == pytest.approx(raw, rel=1e-5)
    assert math.hypot(*weights_of(run)) == pytest.approx(min(raw, clip), rel=1e-5)


def test_the_gradient_norm_is_that_of_the_last_update_before_each_point(clock: Clock) -> None:
    """Also of the point that a bound on seconds brings forward."""
    for clip in (None, 1e6):
        run = clock.drive(line_run(updates=50, evaluate_every=3, clip=clip, seconds=5))
        run.advance(FOREVER)
        path = [(0.0, 0.0), *((w, b) for w, b, _ in descent(5, 0.1))]
        steps = [math.dist(*pair) / 0.1 for pair in itertools.pairwise(path)]
        assert [point.update for point in run.points] == [3, 5]
        assert [point.gradient_norm for point in run.points] == pytest.approx([steps[2], steps[4]], rel=1e-4)


def test_one_point_falls_on_each_multiple_and_one_on_the_last_update() -> None:
    run = line_run(updates=10, evaluate_every=4)
    run.advance(FOREVER)
    assert [point.update for point in run.points] == [4, 8, 10]
    assert [point.epoch for point in run.points] == [4, 8, 10]
    assert (run.update, run.epochs, run.outcome) == (10, 10, "complete")


def test_advancing_a_run_that_has_ended_changes_nothing() -> None:
    run = line_run()
    run.advance(FOREVER)
    before, points = weights_of(run), list(run.points)
    run.advance(FOREVER)
    assert (weights_of(run), run.points) == (before, points)


# ---- divergence, patience, bounds


def test_an_absurd_rate_is_recorded_as_divergence() -> None:
    run = line_run(updates=100, learning_rate=1e6, evaluate_every=20)
    run.advance(FOREVER)
    assert run.outcome == "diverged"
    assert "at update 20" in run.reason or "at update 40" in run.reason or "not finite" in run.reason
    assert all(math.isfinite(point.metrics["mse"]) for point in run.points)
    assert run.update % 20 == 0
    assert run.update < 100


def test_a_run_that_diverges_keeps_its_best_weights_and_score() -> None:
    run = line_run(scripted([3.0, 1.0, 2.0, math.nan, 0.5]), updates=5)
    run.advance(FOREVER)
    assert (run.outcome, run.reason, run.update) == ("diverged", "validation is not finite", 4)
    assert (run.best_update, run.best_score) == (2, 1.0)
    path = descent(3, 0.1)
    assert float(run.best["decoder.weight"]) == pytest.approx(path[1][0], abs=1e-6)
    kept = [float(weights["decoder.weight"]) for weights in run.last]
    assert kept == pytest.approx([w for w, *_ in path], abs=1e-6)


def test_a_validation_that_overflows_is_divergence() -> None:
    class Overflowing(Line):
        name: ClassVar[str] = "overflowing"

        def metrics(self) -> tuple[Metric, ...]:
            return (Metric("ppl", "", "lower", lambda sums: math.exp(1e9)),)

    run = line_run(Overflowing())
    run.advance(FOREVER)
    assert (run.outcome, run.reason, run.points) == ("diverged", "validation is not finite", [])


def test_a_secondary_metric_may_overflow() -> None:
    class Twofold(Line):
        name: ClassVar[str] = "twofold"

        def metrics(self) -> tuple[Metric, ...]:
            return (*super().metrics(), Metric("ppl", "", "lower", lambda sums: math.exp(1e9)))

    run = line_run(Twofold(), updates=2)
    run.advance(FOREVER)
    assert run.outcome == "complete"
    assert [point.metrics["ppl"] for point in run.points] == [math.inf, math.inf]


@pytest.mark.parametrize(
    ("scores", "patience", "minimum", "end"),
    [
        ([5, 4, 3, 2, 1, 0], 1, 0, 6),
        ([5, 6, 4, 4, 4, 4], 2, 0, 4 + 1),  # an equal score is no better one
        ([5, 6, 7, 8, 9, 9], 2, 0, 3),
        ([5, 6, 7, 8, 9, 9], 2, 5, 5),
        ([5, 6, 7, 4, 5, 5], 2, 4, 6),  # a better score just in time
        ([5, 6, 7, 8, 9, 9], None, 0, 6),
        ([5, 6, 7, 8, 9, 9], 1, 100, 6),
    ],
)
def test_patience_counts_evaluations_without_a_better_score_after_the_minimum(
    scores: list[float], patience: int | None, minimum: int, end: int
) -> None:
    run = line_run(scripted(scores), updates=6, patience=patience, minimum_updates=minimum)
    run.advance(FOREVER)
    assert (run.outcome, run.update) == ("complete", end)


def test_a_bound_on_seconds_ends_with_an_evaluation_and_holds_over_a_restart(clock: Clock, tmp_path: Path) -> None:
    def make() -> TrainingRun:
        return clock.drive(line_run(updates=100, evaluate_every=50, seconds=7))

    run = make()
    run.advance(4)
    assert (run.update, run.outcome, run.seconds) == (4, None, 4)
    again = make()
    again.restore(through_a_file(run, tmp_path))
    clock.now += 1000  # time between attempts is not training
    again.advance(FOREVER)
    assert (again.update, again.outcome, again.seconds) == (7, "complete", 7)
    assert [point.update for point in again.points] == [7]


# ---- weights that are kept


@pytest.mark.parametrize(("better", "best"), [("lower", 2), ("higher", 4)], ids=["lower is better", "higher is better"])
def test_the_best_weights_are_those_of_the_first_best_validation(better: Literal["lower", "higher"], best: int) -> None:
    scores = [3.0, 1.0, 2.0, 9.0, 1.0, 9.0]
    run = line_run(scripted(scores, better), updates=6)
    run.advance(FOREVER)
    assert (run.best_update, run.best_score) == (best, scores[best - 1])
    assert float(run.best["decoder.weight"]) == pytest.approx(descent(6, 0.1)[best - 1][0], abs=1e-6)


def test_the_weights_of_the_last_three_evaluations_are_kept_in_order() -> None:
    run = line_run(updates=9, evaluate_every=2)
    run.advance(FOREVER)
    path = descent(9, 0.1)
    kept = [float(weights["decoder.weight"]) for weights in run.last]
    assert kept == pytest.approx([path[update - 1][0] for update in (6, 8, 9)], abs=1e-6)


def test_kept_weights_reproduce_their_score() -> None:
    run = line_run(updates=5, learning_rate=0.1)
    run.advance(FOREVER)
    validation = Line().load("validation", SEEDS, {})
    assert evaluate_weights(run.network, run.best, Line(), validation, CPU) == {"mse": run.best_score}
    first = evaluate_weights(run.network, run.last[0], Line(), validation, CPU)
    assert first == run.points[-3].metrics


# ---- evaluation


@pytest.mark.parametrize("batch_size", [1, 3, 7, 1000])
@pytest.mark.parametrize("task", [ToySum(), ToyRagged()], ids=["arrays", "ragged"])
def test_micro_averages_do_not_depend_on_the_batch_size(
    task: Task, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = build_network(ToyEma(), task.signature(), (5,), {"bias": True, "dropout": 0.5})
    dataset = task.load("train", SEEDS, {})
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH_SIZE", 4)
    expected = evaluate(network, task, dataset, CPU)
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH_SIZE", batch_size)
    assert evaluate(network, task, dataset, CPU) == pytest.approx(expected, rel=1e-6)


def test_a_micro_average_weighs_every_frame_alike() -> None:
    task = ToyRagged()
    torch.manual_seed(0)
    network = build_network(ToyEma(), task.signature(), (5,), {"bias": True, "dropout": 0.0})
    dataset = task.load("train", SEEDS, {})
    assert isinstance(dataset, Ragged)
    total = frames = 0.0
    for start, length in zip(dataset.starts.tolist(), dataset.lengths.tolist(), strict=True):
        inputs, targets = dataset.inputs[start : start + length], dataset.targets[start : start + length]
        logits = network(inputs[None])[0].detach().double().numpy()
        nll = np.logaddexp(0, logits) - targets.double().numpy() * logits
        total, frames = total + float(nll.sum()), frames + length
    assert evaluate(network, task, dataset, CPU)["nats"] == pytest.approx(total / frames, rel=1e-6)


def test_evaluation_switches_dropout_off_and_training_on_again() -> None:
    task = ToySum()
    torch.manual_seed(0)
    network = build_network(ToyEma(), task.signature(), (5,), {"bias": True, "dropout": 0.9})
    dataset = task.load("validation", SEEDS, {})
    assert evaluate(network, task, dataset, CPU) == evaluate(network, task, dataset, CPU)
    assert network.training
    assert all(module.training for module in network.modules())


# ---- schedules


def losses_strategy() -> st.SearchStrategy[list[float]]:
    return st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0]), max_size=40)


def released_music_rule(losses: list[float], window: int, start: int) -> float:
    """The factor after these epochs, by the loop of locuslab/TCN, TCN/poly_music/music_test.py."""
    factor = 1.0
    history: list[float] = []
    for epoch, loss in enumerate(losses, start=1):
        if epoch > start and loss > max(history[-window:]):
            factor /= 10
        history.append(loss)
    return factor


@given(losses_strategy())
def test_a_plateau_is_the_rule_of_the_released_music_code(losses: list[float]) -> None:
    schedule = Schedule(kind="plateau", factor=0.1, window=3, start=10)
    expected = released_music_rule(losses, window=3, start=10)
    assert schedule_factor(schedule, losses, 0.5) == pytest.approx(expected, rel=1e-9)


def test_the_first_ten_evaluations_are_no_plateau_and_the_eleventh_may_be() -> None:
    schedule = Schedule(kind="plateau", factor=0.1, window=3, start=10)
    rising = [float(loss) for loss in range(12)]
    factors = [schedule_factor(schedule, rising[:count], 0.0) for count in range(13)]
    assert factors == pytest.approx([1.0] * 11 + [0.1, 0.01])


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_a_plateau_looks_back_over_its_window_and_no_further(window: int) -> None:
    """The loss before the window is the worst of all: a window that is one longer sees it, and no plateau."""
    schedule = Schedule(kind="plateau", factor=0.5, window=window, start=0)
    losses = [9.0, *[1.0] * window, 5.0]
    assert schedule_factor(schedule, losses, 0.0) == 0.5
    assert schedule_factor(schedule, [9.0, *[1.0] * (window - 1), 5.0], 0.0) == 1.0  # the worst is in the window


@pytest.mark.parametrize(("start", "window"), [(0, 1), (0, 5), (3, 50)])
def test_a_plateau_needs_something_to_be_worse_than(start: int, window: int) -> None:
    schedule = Schedule(kind="plateau", factor=0.5, window=window, start=start)
    assert schedule_factor(schedule, [1.0], 0) == 1.0
    assert schedule_factor(schedule, [1.0] * 9, 0) == 1.0  # equal is not worse


@given(st.integers(0, 50), st.integers(1, 12))
def test_a_step_comes_after_every_so_many_evaluations(count: int, every: int) -> None:
    schedule = Schedule(kind="step", factor=0.5, every=every)
    assert schedule_factor(schedule, [1.0] * count, 0.3) == 0.5 ** (count // every)


def test_a_cosine_falls_from_one_to_zero_through_a_half() -> None:
    schedule = Schedule(kind="cosine")
    values = [schedule_factor(schedule, [], progress) for progress in (0, 1 / 3, 0.5, 2 / 3, 1)]
    assert values == pytest.approx([1, 0.75, 0.5, 0.25, 0], abs=1e-12)


def test_a_constant_is_one() -> None:
    assert schedule_factor(Schedule(), [1.0, 9.0, 99.0], 0.9) == 1.0


def test_a_cosine_is_applied_update_by_update() -> None:
    run = line_run(updates=6, schedule=Schedule(kind="cosine"))
    run.advance(FOREVER)
    path = descent(6, lambda update: 0.1 * 0.5 * (1 + math.cos(math.pi * update / 6)))
    assert weights_of(run) == pytest.approx(path[-1][:2], abs=1e-6)


def test_a_step_is_applied_from_the_update_after_its_evaluation() -> None:
    run = line_run(updates=6, evaluate_every=2, schedule=Schedule(kind="step", factor=0.5, every=1))
    run.advance(FOREVER)
    assert [point.learning_rate for point in run.points] == pytest.approx([0.1, 0.05, 0.025])
    path = descent(6, lambda update: 0.1 * 0.5 ** (update // 2))
    assert weights_of(run) == pytest.approx(path[-1][:2], abs=1e-6)


@pytest.mark.parametrize(("better", "sign"), [("lower", 1), ("higher", -1)])
def test_a_plateau_follows_the_validation_whatever_its_direction(better: Literal["lower", "higher"], sign: int) -> None:
    scores = [sign * score for score in (5.0, 4.0, 3.0, 9.0, 2.0, 2.0)]
    plateau = Schedule(kind="plateau", factor=0.1, window=3, start=2)
    run = line_run(scripted(scores, better), updates=6, schedule=plateau)
    run.advance(FOREVER)
    assert [point.learning_rate for point in run.points] == pytest.approx([0.1] * 4 + [0.01] * 2)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd", "adagrad"])
def test_each_optimiser_is_pytorchs_own_at_its_defaults(name: Literal["adam", "rmsprop", "sgd", "adagrad"]) -> None:
    reference = {
        "adam": torch.optim.Adam,
        "rmsprop": torch.optim.RMSprop,
        "sgd": torch.optim.SGD,
        "adagrad": torch.optim.Adagrad,
    }[name]
    ours, theirs = (Network(Line().signature(), Same()) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizers = [
        make_optimizer(ours, Optimisation(optimizer=name, learning_rate=0.03)),
        reference(theirs.parameters(), lr=0.03),
    ]
    for step in range(1, 6):
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (network(torch.ones(2, 1, 1) * step) - 1).square().sum().backward()
            optimizer.step()
    for actual, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


# ---- continuing exactly


def toy_run(
    task: Task,
    *,
    optimizer: str = "adam",
    schedule: Schedule | None = None,
    clip: float | None = 0.5,
    dropout: float = 0.3,
    updates: int = 20,
) -> TrainingRun:
    """Three updates an epoch do not divide 20, nor do five between evaluations: cuts fall everywhere."""
    torch.manual_seed(SEEDS.init)
    network = build_network(ToyEma(), task.signature(), (5,), {"bias": True, "dropout": dropout})
    return TrainingRun(
        network,
        task,
        training=Training(updates=updates, batch_size=12, evaluate_every=5),
        optimisation=Optimisation.model_validate(
            {"optimizer": optimizer, "learning_rate": 0.02, "clip": clip, "schedule": schedule or Schedule()}
        ),
        data=TrainingData(task.load("train", SEEDS, {}), task.load("validation", SEEDS, {})),
        seeds=SEEDS,
    )


def through_a_file(run: TrainingRun, folder: Path) -> dict[str, Any]:
    """The state as another process would read it (a tree, hence Any)."""
    checkpoint.save(folder / "attempt-0001.pt", run.state(), trial="t")
    return checkpoint.load(folder / "attempt-0001.pt", trial="t")


def fingerprint(run: TrainingRun) -> tuple[object, ...]:
    """All that a training leaves, by bits; times are not its own."""

    def bits(weights: Mapping[str, Tensor]) -> dict[str, bytes]:
        return {name: value.numpy().tobytes() for name, value in weights.items()}

    curve = [point.model_copy(update={"time": 0.0, "seconds": 0.0}) for point in run.points]
    kept = [bits(weights) for weights in (run.best, *run.last, run.network.state_dict())]
    return curve, kept, run.best_update, run.update, run.outcome


SCHEDULES = [
    Schedule(),
    Schedule(kind="cosine"),
    Schedule(kind="step", every=1, factor=0.5),
    Schedule(kind="plateau", start=0, window=1, factor=0.5),
]


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd", "adagrad"])
@pytest.mark.parametrize("task", [ToySum(sequences=32), ToyRagged()], ids=["arrays", "ragged"])
def test_a_run_cut_anywhere_continues_bit_for_bit(task: Task, optimizer: str, clock: Clock, tmp_path: Path) -> None:
    for index, schedule in enumerate(SCHEDULES):
        clip = 0.5 if index % 2 else None
        whole = toy_run(task, optimizer=optimizer, schedule=schedule, clip=clip)
        whole.advance(FOREVER)
        for cuts in ([1] * 20, [5, 5, 5]) if index == 0 else ([3, 1, 7],):
            run = clock.drive(toy_run(task, optimizer=optimizer, schedule=schedule, clip=clip))
            for updates in cuts:
                run.advance(updates)
                if run.outcome is not None:
                    break
                state = through_a_file(run, tmp_path)
                torch.rand(7)
                run = clock.drive(toy_run(task, optimizer=optimizer, schedule=schedule, clip=clip))
                run.restore(state)
            run.advance(FOREVER)
            assert fingerprint(run) == fingerprint(whole)


@given(st.lists(st.integers(1, 6), max_size=8))
@settings(max_examples=15, deadline=None)
def test_slices_in_one_process_do_not_show(cuts: list[int]) -> None:
    whole = toy_run(ToyRagged())
    whole.advance(FOREVER)
    with pytest.MonkeyPatch.context() as patch:
        run = Clock(patch).drive(toy_run(ToyRagged()))
        for updates in cuts:
            run.advance(updates)
            torch.manual_seed(updates)
            torch.randn(updates)
        run.advance(FOREVER)
    assert fingerprint(run) == fingerprint(whole)


def test_a_slice_of_time_makes_progress_and_ends() -> None:
    run = toy_run(ToySum(), updates=100_000)
    run.advance(0.05)
    assert 0 < run.update < 100_000
    assert 0.05 <= run.seconds < 5


def test_the_process_s_random_state_is_untouched_by_a_slice(clock: Clock) -> None:
    run = clock.drive(toy_run(ToySum()))
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    run.advance(7)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_follows_the_noise_seed_and_nothing_else() -> None:
    def train(seeds: Seeds) -> Mapping[str, Tensor]:
        task = ToySum()
        torch.manual_seed(0)
        run = TrainingRun(
            build_network(ToyEma(), task.signature(), (5,), {"bias": True, "dropout": 0.5}),
            task,
            training=Training(updates=5, batch_size=8, evaluate_every=5),
            optimisation=Optimisation(learning_rate=0.02),
            data=TrainingData(task.load("train", SEEDS, {}), task.load("validation", SEEDS, {})),
            seeds=seeds,
        )
        run.advance(FOREVER)
        return run.network.state_dict()

    base = train(SEEDS)["decoder.weight"]
    for axis, matters in {"noise": True, "order": True, "init": False, "data": False, "fixed": False}.items():
        other = train(SEEDS.model_copy(update={axis: 123}))["decoder.weight"]
        assert torch.equal(base, other) != matters, axis


CONTINUE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from harness.training import checkpoint
from tests.support.toys import ToyRagged
from tests.training.test_run import FOREVER, toy_run
run = toy_run(ToyRagged())
run.restore(checkpoint.load(Path(sys.argv[1]), trial="t"))
run.advance(FOREVER)
checkpoint.save(Path(sys.argv[2]), run.state(), trial="t")
"""


def test_another_process_continues_bit_for_bit(clock: Clock, tmp_path: Path) -> None:
    whole = toy_run(ToyRagged())
    whole.advance(FOREVER)
    run = clock.drive(toy_run(ToyRagged()))
    run.advance(8)
    begun, ended = tmp_path / "begun.pt", tmp_path / "ended.pt"
    checkpoint.save(begun, run.state(), trial="t")
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", CONTINUE, str(begun), str(ended)], check=True, cwd=root, timeout=120)
    state = checkpoint.load(ended, trial="t")
    run.restore(state)
    run.outcome = whole.outcome  # not part of a state, since only runs under way are saved
    assert fingerprint(run) == fingerprint(whole)


def test_a_state_holds_only_what_a_checkpoint_may(clock: Clock, tmp_path: Path) -> None:
    run = clock.drive(toy_run(ToySum()))
    run.advance(7)
    restored = toy_run(ToySum())
    restored.restore(through_a_file(run, tmp_path))
    assert [Point.model_validate(point) for point in restored.state()["points"]] == run.points
    assert json.dumps(restored.state()["points"])


def test_an_interrupt_within_an_update_leaves_a_state_that_says_so(clock: Clock) -> None:
    """A KeyboardInterrupt may fall between the gradient and the step: such a state must not become a checkpoint."""
    run = clock.drive(toy_run(ToySum()))
    run.advance(3)
    assert run.whole

    def interrupt(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if clock.now >= 6:
            raise KeyboardInterrupt

    handle = run.network.backbone.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.advance(FOREVER)
    handle.remove()
    assert not run.whole
