"""Runs trained in lockstep end as they would have alone: curves, gradient norms, best and final weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness import (
    Arrays,
    Batch,
    Bits,
    Classes,
    Dataset,
    Metric,
    Model,
    Optimisation,
    Ragged,
    Real,
    Schedule,
    Seeds,
    Signature,
    Split,
    Stream,
    Task,
    Tokens,
    Total,
    derive,
    mean_of,
    perplexity_of,
)
from harness.records import Training
from harness.training import checkpoint
from harness.training.evaluation import evaluate
from harness.training.network import build_network
from harness.training.run import TrainingData, TrainingRun
from harness.training.vectorized import VectorizedRuns
from harness_models.recurrent import Gru, Lstm, Rnn
from harness_models.tcn import Tcn

CPU = torch.device("cpu")
FOREVER = 1e9
RUNS = 3


def drawn(split: Split, seeds: Seeds) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seeds.data, split))


class Last(Task):
    """The sum of a sequence, read at its last step; the last batch of an epoch is smaller."""

    name: ClassVar[str] = "last"

    def signature(self) -> Signature:
        return Signature(Real(2), Real(1), length=12, readout="last")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("mse", "", "lower", mean_of("mse")),)

    def training_sequences(self) -> int:
        return 22

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        x = torch.rand(22, 12, 2, generator=drawn(split, seeds), dtype=torch.float64)
        return Arrays(x, x.sum(dim=(1, 2))[:, None] / 10)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        return {"mse": Total((output - batch.targets).square().sum(), len(output))}


class Each(Task):
    """The bits of a step earlier, at each step of sequences of other lengths in every run."""

    name: ClassVar[str] = "each"

    def signature(self) -> Signature:
        return Signature(Real(3), Bits(3), length=11, readout="each")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("nats", "nats", "lower", mean_of("nll")),)

    def training_sequences(self) -> int:
        return 19

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        random = drawn(split, seeds)
        lengths = torch.randint(1, 12, (19,), generator=random)
        pieces = [torch.randint(0, 2, (int(n), 3), generator=random).double() for n in lengths]
        return Ragged(torch.cat(pieces), torch.cat([F.pad(piece, (0, 0, 1, 0))[:-1] for piece in pieces]), lengths)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats = F.binary_cross_entropy_with_logits(output, batch.targets, reduction="none").sum(-1)
        mask = torch.ones_like(nats, dtype=torch.bool) if batch.mask is None else batch.mask
        return {"nll": Total((nats * mask).sum(), mask.sum())}


class Words(Task):
    """Tokens of a stream, whose rows end at different steps; the state is carried, or windows show some history."""

    name: ClassVar[str] = "words"
    reading: Literal["carry", "window"] = "carry"

    def signature(self) -> Signature:
        return Signature(Tokens(5, 4), Classes(5), length=6, readout="each", tied=True)

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("perplexity", "", "lower", perplexity_of("nll")),)

    def training_sequences(self) -> int:
        return 26

    def updates_per_epoch(self, batch_size: int) -> int:
        return math.ceil(math.ceil(131 / batch_size) / 6)

    def carries(self) -> bool:
        return self.reading == "carry"

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        tokens = torch.randint(0, 5, (131,), generator=drawn(split, seeds)).cumsum(0) % 5
        return Stream(tokens, before=0, scored=6, history=None if self.carries() else 3)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats = F.cross_entropy(output.flatten(0, -2), batch.targets.flatten(), reduction="none").view_as(batch.targets)
        mask = torch.ones_like(nats, dtype=torch.bool) if batch.mask is None else batch.mask
        return {"nll": Total((nats * mask).sum(), mask.sum())}


TASKS: dict[str, Task] = {
    "last": Last(),
    "each": Each(),
    "carry": Words(reading="carry"),
    "window": Words(reading="window"),
}
MODELS: dict[str, tuple[Model, tuple[int, ...], dict[str, Any]]] = {  # parameters of several types
    "tcn": (Tcn(), (6, 5), {"kernel_size": 3, "levels": 2}),
    "lstm": (Lstm(), (5, 4), {"layers": 2, "forget_bias": 1.0}),
    "gru": (Gru(), (5,), {"layers": 1}),
    "rnn": (Rnn(), (6,), {"layers": 1}),
}
PLATEAU = Schedule(kind="plateau", factor=0.5, window=1, start=1)
OPTIMISATIONS = {
    "adam": Optimisation(learning_rate=0.02, clip=0.05),
    "sgd": Optimisation(optimizer="sgd", learning_rate=0.02, reduction="sum"),
    "rmsprop": Optimisation(optimizer="rmsprop", learning_rate=0.005, clip=1.0),
    "adagrad": Optimisation(optimizer="adagrad", learning_rate=0.05, schedule=Schedule(kind="cosine")),
}


def make_run(
    repetition: int,
    model: str = "tcn",
    task: Task = TASKS["last"],
    optimisation: Optimisation = OPTIMISATIONS["adam"],
    dropout: float = 0.0,
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float64,
    **training: Any,  # fields of `Training`
) -> TrainingRun:
    seeds = Seeds.of(0, repetition + 1)
    torch.manual_seed(seeds.init)
    made, widths, params = MODELS[model]
    network = build_network(made, task.signature(), widths, {**params, "dropout": dropout}).to(device, dtype)
    return TrainingRun(
        network,
        task,
        training=Training.model_validate({"updates": 20, "batch_size": 5, "evaluate_every": 4, **training}),
        optimisation=optimisation,
        data=TrainingData(
            in_precision(task.load("train", seeds, {}), dtype), in_precision(task.load("validation", seeds, {}), dtype)
        ),
        seeds=seeds,
    )


def in_precision(dataset: Dataset, dtype: torch.dtype) -> Dataset:
    if isinstance(dataset, Stream):
        return dataset
    return replace(dataset, inputs=dataset.inputs.to(dtype), targets=dataset.targets.to(dtype))


def together_and_apart(make: Callable[[int], TrainingRun]) -> tuple[list[TrainingRun], list[TrainingRun]]:
    together = [make(repetition) for repetition in range(RUNS)]
    VectorizedRuns(together).advance(FOREVER)
    apart = [make(repetition) for repetition in range(RUNS)]
    for run in apart:
        run.advance(FOREVER)
    return together, apart


def assert_same(actual: TrainingRun, expected: TrainingRun, tolerance: float = 1e-9) -> None:
    assert (actual.outcome, actual.update, actual.best_update) == (
        expected.outcome,
        expected.update,
        expected.best_update,
    )
    near = partial(pytest.approx, rel=tolerance, abs=1e-14)
    for point, expected_point in zip(actual.points, expected.points, strict=True):
        assert point.update == expected_point.update
        assert point.learning_rate == expected_point.learning_rate
        assert point.train_loss == near(expected_point.train_loss)
        assert point.gradient_norm == near(expected_point.gradient_norm)
        assert point.metrics == near(expected_point.metrics)
    pairs = [(actual.best, expected.best), (actual.network.state_dict(), expected.network.state_dict())]
    for actual_weights, expected_weights in (*pairs, *zip(actual.last, expected.last, strict=True)):
        assert actual_weights.keys() == expected_weights.keys()
        for name, value in expected_weights.items():
            torch.testing.assert_close(actual_weights[name], value, rtol=tolerance, atol=1e-11)


def path_of(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in weights.values()])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize(("model", "optimisation"), list(zip(MODELS, OPTIMISATIONS.values(), strict=True)), ids=MODELS)
def test_runs_in_lockstep_end_as_alone(model: str, task: Task, optimisation: Optimisation) -> None:
    """Every kind of reading; twenty updates in epochs whose last batch is smaller."""
    together, apart = together_and_apart(lambda r: make_run(r, model, task, optimisation))
    for actual, expected in zip(together, apart, strict=True):
        assert_same(actual, expected)
    assert len({point.train_loss for run in together for point in run.points}) == 5 * RUNS


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adagrad"])
def test_each_run_follows_its_own_schedule(optimizer: Literal["adam", "sgd", "rmsprop", "adagrad"]) -> None:
    rate = 0.2 if optimizer == "sgd" else 0.02
    optimisation = Optimisation(optimizer=optimizer, learning_rate=rate, schedule=PLATEAU, clip=0.5)
    together, apart = together_and_apart(lambda r: make_run(r, optimisation=optimisation, updates=24, evaluate_every=1))
    for actual, expected in zip(together, apart, strict=True):
        assert_same(actual, expected, tolerance=1e-8)
    assert len({tuple(point.learning_rate for point in run.points) for run in together}) == RUNS


def test_a_run_stops_by_its_own_patience_and_the_others_go_on() -> None:
    def make(repetition: int) -> TrainingRun:
        return make_run(repetition, updates=60, evaluate_every=2, patience=2)

    together, apart = together_and_apart(make)
    assert len({run.update for run in together}) > 1
    for actual, expected in zip(together, apart, strict=True):
        assert_same(actual, expected)


def test_a_run_that_diverges_leaves_the_others_alone() -> None:
    def make(repetition: int) -> TrainingRun:
        run = make_run(repetition)
        if repetition == 1:
            next(run.network.parameters()).data.fill_(torch.inf)
        return run

    together, apart = together_and_apart(make)
    assert [run.outcome for run in together] == ["complete", "diverged", "complete"]
    assert together[1].update == apart[1].update == 4
    for index in (0, 2):
        assert_same(together[index], apart[index])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adagrad"])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_slices_and_checkpoints_change_nothing(
    optimizer: Literal["adam", "sgd", "rmsprop", "adagrad"], task: Task, tmp_path: Path
) -> None:
    """A slice of one update at a time, with dropout; half-way, other runs take over from files."""

    def make(repetition: int) -> TrainingRun:
        return make_run(repetition, "lstm", task, Optimisation(optimizer=optimizer, learning_rate=0.01), dropout=0.3)

    whole = [make(repetition) for repetition in range(RUNS)]
    VectorizedRuns(whole).advance(FOREVER)
    first = [make(repetition) for repetition in range(RUNS)]
    stack = VectorizedRuns(first)
    while first[0].update < 11:
        stack.advance(0)
    for index, run in enumerate(first):
        checkpoint.save(tmp_path / f"{index}.pt", run.state(), trial="")
    second = [make(repetition) for repetition in range(RUNS)]
    for index, run in enumerate(second):
        run.restore(checkpoint.load(tmp_path / f"{index}.pt"))
    VectorizedRuns(second).advance(FOREVER)
    for actual, expected in zip(second, whole, strict=True):
        assert_same(actual, expected, tolerance=1e-12)


class Dropped(Words):
    """`Words`, of whose embedding training drops a part."""

    name: ClassVar[str] = "dropped"

    def signature(self) -> Signature:
        return super().signature().with_embedding(None, dropout=0.3)


@pytest.mark.parametrize("reading", ["carry", "window"])
@pytest.mark.parametrize("stack", [False, True], ids=["alone", "stack"])
def test_slices_and_checkpoints_change_nothing_of_embedding_dropout(
    reading: Literal["carry", "window"], stack: bool, tmp_path: Path
) -> None:
    def make(task: Task) -> list[TrainingRun]:
        return [make_run(repetition, "lstm", task) for repetition in range(RUNS if stack else 1)]

    def advance(runs: list[TrainingRun], seconds: float) -> None:
        (VectorizedRuns(runs) if stack else runs[0]).advance(seconds)

    whole, first, second = (make(Dropped(reading=reading)) for _ in range(3))
    advance(whole, FOREVER)
    while first[0].update < 7:
        advance(first, 0)
    for index, (run, restored) in enumerate(zip(first, second, strict=True)):
        checkpoint.save(tmp_path / f"{index}.pt", run.state(), trial="")
        restored.restore(checkpoint.load(tmp_path / f"{index}.pt"))
    advance(second, FOREVER)
    plain = make(Words(reading=reading))
    advance(plain, FOREVER)
    for actual, expected, without in zip(second, whole, plain, strict=True):
        assert_same(actual, expected, tolerance=1e-12)
        assert actual.points[-1].train_loss != pytest.approx(without.points[-1].train_loss, rel=1e-6)


def test_a_checkpoint_holds_one_run_and_not_its_stack(tmp_path: Path) -> None:
    def bytes_of(run: TrainingRun) -> int:
        checkpoint.save(tmp_path / "x.pt", run.state(), trial="")
        return (tmp_path / "x.pt").stat().st_size

    alone = make_run(0, "lstm")
    together = [make_run(repetition, "lstm") for repetition in range(8)]
    stack = VectorizedRuns(together)
    for _ in range(5):
        alone.advance(0)
        stack.advance(0)
    assert bytes_of(together[3]) < 1.2 * bytes_of(alone)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_run_goes_on_alone_from_where_its_stack_stopped(task: Task) -> None:
    together = [make_run(repetition, task=task) for repetition in range(RUNS)]
    stack = VectorizedRuns(together)
    for _ in range(7):
        stack.advance(0)
    alone = make_run(1, task=task)
    alone.restore(copy.deepcopy(together[1].state()))
    alone.advance(FOREVER)
    expected = make_run(1, task=task)
    expected.advance(FOREVER)
    assert_same(alone, expected)
    together[1].advance(FOREVER)
    assert_same(together[1], expected)


def test_a_run_that_was_saved_earlier_catches_up_first() -> None:
    apart = [make_run(repetition) for repetition in range(RUNS)]
    together = [make_run(repetition) for repetition in range(RUNS)]
    for index, run in enumerate(together):
        for _ in range(3 * index):
            run.advance(0)
    VectorizedRuns(together).advance(FOREVER)
    for actual, expected in zip(together, apart, strict=True):
        expected.advance(FOREVER)
        assert_same(actual, expected)


def test_dropout_is_of_the_seeds_and_differs_between_runs_of_equal_weights() -> None:
    def trained() -> list[TrainingRun]:
        runs = [make_run(repetition, "tcn", dropout=0.5) for repetition in range(2)]
        runs[1].network.load_state_dict(runs[0].network.state_dict())
        runs[1].step._batches = runs[0].step._batches
        VectorizedRuns(runs).advance(0)
        return runs

    first, second = trained(), trained()
    assert torch.equal(path_of(first[0].network.state_dict()), path_of(second[0].network.state_dict()))
    assert not torch.equal(path_of(first[0].network.state_dict()), path_of(first[1].network.state_dict()))


def test_runs_that_part_draw_apart() -> None:
    """Saved in one stack, each goes on with dropout of its own."""
    runs = [make_run(repetition, dropout=0.5) for repetition in range(2)]
    VectorizedRuns(runs).advance(0)
    states = [run.state()["random"]["cpu"] for run in runs]
    assert not torch.equal(*states)


class Alone(Last):
    """One sequence, so that nothing but dropout differs between updates of weights that stay."""

    name: ClassVar[str] = "alone"

    def training_sequences(self) -> int:
        return 1

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        x = torch.rand(1, 12, 2, generator=drawn(split, seeds), dtype=torch.float64)
        return Arrays(x, x.sum(dim=(1, 2))[:, None] / 10)


FROZEN = Optimisation(optimizer="sgd", learning_rate=1e-30)


@pytest.mark.parametrize("seconds", [0.0, FOREVER], ids=["slices", "one-go"])
def test_dropout_in_lockstep_differs_between_updates(seconds: float) -> None:
    runs = [make_run(r, task=Alone(), optimisation=FROZEN, dropout=0.5, evaluate_every=1) for r in range(2)]
    stack = VectorizedRuns(runs)
    while runs[0].outcome is None:
        stack.advance(seconds)
    for run in runs:
        losses = [point.train_loss for point in run.points]
        assert len(losses) == 20
        assert len(set(losses)) > 15  # two masks may agree on all that counts


def test_dropout_of_a_run_that_leaves_its_stack_is_that_of_its_update() -> None:
    """Wherever it leaves, it draws anew; and alike each time it leaves there."""

    def losses_after(updates: int) -> tuple[float, ...]:
        runs = [make_run(r, task=Alone(), optimisation=FROZEN, dropout=0.5, evaluate_every=1) for r in range(2)]
        stack = VectorizedRuns(runs)
        for _ in range(updates):
            stack.advance(0)
        for _ in range(5):
            runs[0].advance(0)
        return tuple(point.train_loss for point in runs[0].points[updates:])

    after = [losses_after(updates) for updates in (1, 2, 3, 3)]
    assert len(set(after[:3])) == 3
    assert after[2] == after[3]


def test_the_process_s_random_state_is_put_back() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    runs = [make_run(repetition, dropout=0.5) for repetition in range(2)]
    torch.set_rng_state(before)
    VectorizedRuns(runs).advance(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_seconds_add_up_to_those_that_passed() -> None:
    runs = [make_run(repetition, updates=200) for repetition in range(RUNS)]
    begun = time.monotonic()
    VectorizedRuns(runs).advance(FOREVER)
    passed = time.monotonic() - begun
    assert sum(run.seconds for run in runs) <= passed
    assert sum(run.seconds for run in runs) > 0.5 * passed


class NothingReadBack(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what waits for a device: reading a value, or making a shape of values."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # PyTorch's own
        name = function.overloadpacket.__name__
        if name in {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"}:
            raise AssertionError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


class Reads(Last):
    """Its loss reads a value back."""

    name: ClassVar[str] = "reads"

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        return {"mse": Total(super().loss(output, batch)["mse"].sum * output.sum().item(), len(output))}


def started(stack: bool, *args: Any, **kwargs: Any) -> TrainingRun | VectorizedRuns:
    """One run or three, after an update."""
    runs = [make_run(repetition, *args, **kwargs) for repetition in range(RUNS)]
    started = VectorizedRuns(runs) if stack else runs[0]
    started.advance(0)
    return started


# Adagrad is left out: PyTorch's counts its steps on the host and reads them there.
@pytest.mark.parametrize("stack", [False, True], ids=["alone", "lockstep"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_an_update_reads_no_value_back(stack: bool, optimizer: str, task: Task) -> None:
    run = started(stack, "lstm", task, OPTIMISATIONS[optimizer], dropout=0.3)
    with NothingReadBack():  # type: ignore[no-untyped-call]
        run.advance(0)


@pytest.mark.parametrize("stack", [False, True], ids=["alone", "lockstep"])
def test_a_value_read_back_would_be_seen(stack: bool) -> None:
    run = started(stack, "tcn", Reads())
    seen = pytest.raises(AssertionError, match="_local_scalar_dense waits for the device")
    with NothingReadBack(), seen:  # type: ignore[no-untyped-call]
        run.advance(0)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_trains_float32_weights_near_those_of_float32(model: str, task: Task) -> None:
    """Its products have 8 bits: the first losses agree to some of them, and no more."""

    def losses(**precision: Any) -> list[float]:
        run = make_run(0, model, task, dtype=torch.float32, evaluate_every=1, updates=6, **precision)
        run.advance(FOREVER)
        assert run.outcome == "complete"
        assert {value.dtype for value in run.best.values()} == {torch.float32}
        assert run.points[-1].metrics == evaluate(run.network, task, run._validation, CPU)  # in float32
        return [point.train_loss for point in run.points]

    reduced, full = losses(precision="bfloat16"), losses()
    assert reduced == pytest.approx(full, rel=0.05)
    assert reduced != pytest.approx(full, rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_in_lockstep_is_near_that_alone(model: str) -> None:
    def make(repetition: int) -> TrainingRun:
        return make_run(repetition, model, dtype=torch.float32, precision="bfloat16")

    together, apart = together_and_apart(make)
    for actual, expected in zip(together, apart, strict=True):
        for point, expected_point in zip(actual.points, expected.points, strict=True):
            assert point.train_loss == pytest.approx(expected_point.train_loss, rel=0.05)


CUDA = torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("stack", [False, True], ids=["alone", "lockstep"])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("model", MODELS)
def test_an_update_does_not_wait_for_the_gpu(model: str, task: Task, stack: bool) -> None:
    run = started(stack, model, task, device=CUDA)
    torch.cuda.set_sync_debug_mode("error")
    try:
        run.advance(0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("model", MODELS)
def test_runs_in_lockstep_on_a_gpu_end_as_alone_on_the_cpu(model: str, task: Task, graphs: bool) -> None:
    together = [make_run(repetition, model, task, device=CUDA) for repetition in range(RUNS)]
    VectorizedRuns(together, graphs=graphs).advance(FOREVER)
    for repetition, run in enumerate(together):
        expected = make_run(repetition, model, task)
        expected.advance(FOREVER)
        run.network.cpu()
        run.kept.best = {name: value.cpu() for name, value in run.best.items()}
        run.kept.last = [{name: value.cpu() for name, value in weights.items()} for weights in run.last]
        assert_same(run, expected, tolerance=1e-7)


@pytest.mark.gpu
def test_recorded_dropout_is_of_the_seeds_and_differs_between_updates() -> None:
    def trained() -> Tensor:
        runs = [make_run(repetition, dropout=0.5, device=CUDA) for repetition in range(2)]
        stack = VectorizedRuns(runs, graphs=True)
        for _ in range(4):
            stack.advance(0)
        return path_of(runs[0].network.state_dict())

    assert torch.equal(trained(), trained())
