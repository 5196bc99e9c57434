"""Check that both sides of a ratio have the same outputs, losses and updates: the reference and the harness."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from harness.api.dataset import Batch
from harness.api.signature import Classes, Real, Signature, Tokens
from harness.api.task import Task
from harness.records import Optimisation
from harness.training.network import Network, build_network
from harness_models.tcn import Tcn
from harness_tasks.adding import Adding
from harness_tasks.copy_memory import CopyMemory
from harness_tasks.music import JsbChorales
from harness_tasks.penn_treebank import PtbChar
from harness_tasks.pixel_mnist import SequentialMnist
from measure import CPU_TIME, WALL_CLOCK, Spread, Table, at_least, at_most, clock_of, take_turns, wall_clock
from reference import (
    Loss,
    ReferenceStep,
    cross_entropy,
    music_masked,
    music_trace,
    negative_log_likelihood,
    squared_error,
    tcn_like,
)
from step import benchmarks, bound_on
from works import CPU, HarnessStep, adding

OPTIMISATION = Optimisation(optimizer="sgd", learning_rate=0.1, clip=0.5)


def _network(signature: Signature, widths: tuple[int, ...] = (6, 6, 4)) -> Network:
    torch.manual_seed(0)
    return build_network(Tcn(), signature, widths, {"kernel_size": 3, "levels": len(widths), "dropout": 0.0}).to(CPU)


def _music(*lengths: int) -> Batch:
    inputs, targets = torch.zeros(len(lengths), max(lengths), 88), torch.zeros(len(lengths), max(lengths), 88)
    for row, length in enumerate(lengths):
        inputs[row, :length] = (torch.rand(length, 88) < 0.1).float()
        targets[row, :length] = (torch.rand(length, 88) < 0.1).float()
    return Batch(inputs, targets, torch.tensor(lengths) if len(set(lengths)) > 1 else None)


def _batch(name: str) -> Batch:
    torch.manual_seed(1)
    match name:
        case "adding":
            return Batch(torch.rand(4, 30, 2), torch.rand(4, 1))
        case "mnist":
            return Batch(torch.randn(4, 30, 1), torch.randint(10, (4,)))
        case "copy":
            return Batch(torch.rand(4, 30, 1), torch.randint(10, (4, 30)))
        case "char":
            return Batch(torch.randint(50, (4, 30)), torch.randint(50, (4, 20)), scored=20)
        case "music":
            return _music(25)
    return _music(25, 12, 25)


TASKS: Mapping[str, tuple[Task, Loss, str]] = {
    "adding": (Adding(length=30), squared_error, "mean"),
    "mnist": (SequentialMnist(), negative_log_likelihood, "mean"),
    "copy": (CopyMemory(length=10), cross_entropy, "mean"),
    "char": (PtbChar(reading="window", scored=20, history=10, embedding=4), cross_entropy, "mean"),
    "music": (JsbChorales(), music_trace, "sum"),
    "padded": (JsbChorales(), music_masked, "sum"),
}


@pytest.mark.parametrize("name", TASKS)
def test_reference_and_harness_make_the_same_updates(name: str) -> None:
    task, loss, reduction = TASKS[name]
    batch, optimisation = _batch(name), OPTIMISATION.model_copy(update={"reduction": reduction})
    network = _network(task.signature())
    reference = tcn_like(network, 0.0, last=task.signature().readout == "last")
    theirs, ours = ReferenceStep(reference, loss, optimisation), HarnessStep(network, task, optimisation)
    begun = reference.decoder.weight.detach().clone()
    for _ in range(3):
        theirs(batch)
        ours(batch)
    assert not torch.equal(reference.decoder.weight, begun)
    torch.testing.assert_close(network.decoder.weight, reference.decoder.weight, rtol=1e-4, atol=1e-6)
    first, like = cast(Any, network.backbone).blocks[0].first, cast(Any, reference.backbone).blocks[0].first
    torch.testing.assert_close(first.v, like.weight_v, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first.g, like.weight_g, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("time", "widths"), [(1, (4,)), (9, (5, 3)), (37, (4, 4, 6, 6)), (200, (3, 3))])
def test_reference_has_the_outputs_of_the_harness(time: int, widths: tuple[int, ...]) -> None:
    network = _network(Signature(Real(3), Classes(5), length=time, readout="each"), widths).double()
    x = torch.randn(2, time, 3, dtype=torch.float64)
    torch.testing.assert_close(tcn_like(network, 0.0, last=False).double()(x), network(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [4, 6])
def test_reference_ties_its_decoder_behind_a_projection_where_widths_differ(width: int) -> None:
    network = _network(Signature(Tokens(11, 4), Classes(11), length=9, readout="each", tied=True), (width,))
    reference = tcn_like(network, 0.0, last=False)
    tokens = torch.randint(11, (2, 9))
    torch.testing.assert_close(reference(tokens), network(tokens))
    assert reference.encoder.weight is reference.decoder.weight
    assert reference.decoder.weight is not network.decoder.weight


def _spending(seconds: float, now: list[float], log: list[float]) -> Callable[[], Tensor | None]:
    def spend() -> None:
        now[0] += seconds
        log.append(seconds)

    return spend


def test_turns_rotate_and_ratios_are_of_the_sides() -> None:
    now, log = [0.0], list[float]()
    sides = {"slow": _spending(3, now, log), "fast": _spending(1, now, log)}
    rounds = take_turns(sides, seconds=0, clock=lambda: now[0])
    assert (rounds.ratio("slow", "fast"), len(rounds)) == (Spread(3, 3, 3), 5)
    assert log[2:] == [3, 1, 1, 3, 3, 1, 1, 3, 3, 1]  # after the round that is not counted


def test_warm_ups_come_before_the_first_turn() -> None:
    now, log = [0.0], list[float]()
    sides = {"slow": _spending(3, now, log), "fast": _spending(1, now, log)}
    take_turns(sides, seconds=0, clock=lambda: now[0], warm_ups=2)
    assert log[:6] == [3, 3, 1, 1, 3, 1]


def test_a_gpu_is_measured_by_the_wall_clock_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(1))
    name, clock = clock_of("cuda")
    begun = time.perf_counter()
    assert begun <= clock() <= time.perf_counter()
    assert (name, len(waits)) == (WALL_CLOCK, 1)


def test_a_cpu_is_measured_in_cpu_time() -> None:
    assert clock_of("cpu") == (CPU_TIME, time.process_time)
    assert wall_clock("cpu") is time.perf_counter


def test_bounds_hold_for_the_cpu_alone() -> None:
    assert bound_on(CPU, 7, 8, 11) == (">= 8 (11)", False)
    assert bound_on(torch.device("cuda"), 7, 8, 11) == ("none", True)


def test_batches_and_networks_of_a_work_are_on_its_device() -> None:
    work = adding().on(torch.device("meta"))
    assert {batch.inputs.device.type for batch in work.batches} == {"meta"}
    assert {parameter.device.type for parameter in work.network().parameters()} == {"meta"}


def test_a_row_of_the_cpu_has_its_bound() -> None:
    row = benchmarks()["adding"](seconds=0, device=CPU)
    assert row.bound == ">= 8 (11)"
    assert {"reference", "ours"} == row.seconds.keys()


def test_spread_is_median_and_quartiles() -> None:
    assert Spread.of([5, 1, 4, 2, 3]) == Spread(3, 2, 4)


def test_bounds_say_which_way_they_hold() -> None:
    assert at_least(8, 8, 11) == (">= 8 (11)", True)
    assert at_most(1.031, 1.03, 1.01) == ("<= 1.03 (1.01)", False)


def test_a_saved_row_takes_the_place_of_its_work_alone(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from measure import Row

    def row(work: str, value: float) -> Row:
        return Row(work, Spread(value, value, value), ">= 1 (2)", True, {"ours": value}, 5)

    first, second = Table("t", {"commit": "a"}, tmp_path), Table("t", {"commit": "b"}, tmp_path)
    first.add(row("one", 1))
    first.add(row("two", 2))
    second.add(row("one", 3))
    text = (tmp_path / "t.md").read_text()
    assert "1. commit: b\n2. commit: a" in text
    assert "| one | 3 [3, 3] |" in text
    assert "| two | 2 [2, 2] |" in text
    assert "one: 1 [1, 1]" in capsys.readouterr().err
