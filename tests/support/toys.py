"""A plugin with two small models and two small tasks: all that the tests of the core train.

One self-contained file, so that it can be copied into a distribution of its own and be loaded by worker processes.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from harness import (
    Arrays,
    Batch,
    Bits,
    Dataset,
    Metric,
    Model,
    Optimisation,
    Published,
    PublishedRow,
    Ragged,
    Real,
    Schedule,
    Seeds,
    Signature,
    Split,
    Task,
    Total,
    derive,
    hookimpl,
)
from harness.api.task import mean_of, percent_of
from harness.training.stacked_network import StackedLinear

PAUSE_SECONDS = float(os.environ.get("TOY_PAUSE_SECONDS", "0"))
"""Of each training step, for a test that must find a trial in the middle."""
NOTES = 2
"""Channels of `toy-ragged`."""
SHARES: dict[Split, int] = {"train": 1, "validation": 4, "test": 4}
"""Divisors of the number of sequences."""


def generator(split: Split, seeds: Seeds) -> torch.Generator:
    """Randomness of a synthetic split: `fixed` for test, `data` for the others."""
    seed = derive(seeds.fixed if split == "test" else seeds.data, split)
    return torch.Generator().manual_seed(seed)


class Ema(nn.Module):
    """y[t] = decay · y[t−1] + (1 − decay) · tanh(W x[t] + b), with a learned decay for each of `width` features."""

    def __init__(self, inputs: int, width: int, *, bias: bool, dropout: float, fault: str) -> None:
        super().__init__()
        self.out_features = width
        self.linear = nn.Linear(inputs, width, bias=bias)
        self.decay = nn.Parameter(torch.linspace(-2.0, 2.0, width))  # (width,): logits
        self.dropout = nn.Dropout(dropout)
        self.fault = fault

    def forward(self, x: Tensor) -> Tensor:
        return self.scan(x)[0]

    def scan(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """state: (batch, width), the last y."""
        if self.training:
            time.sleep(PAUSE_SECONDS)
            commit(self.fault)
        decay = self.decays()
        driven = torch.tanh(self.linear(self.dropout(x)))  # (batch, time, width)
        y = torch.zeros_like(driven[..., 0, :]) if state is None else state
        ys = []
        for drive in driven.unbind(-2):
            y = decay * y + (1 - decay) * drive
            ys.append(y)
        out = torch.stack(ys, dim=-2)  # (batch, time, width)
        return (out * torch.nan if self.fault == "nan" else out), y

    def decays(self) -> Tensor:
        return torch.sigmoid(self.decay)

    def stack(self, count: int) -> nn.Module:
        return StackedEma(self, count).train(self.training)


class StackedEma(Ema):
    """Several, with their axis in front: (members, batch, time, width)."""

    def __init__(self, single: Ema, count: int) -> None:
        super().__init__(1, single.out_features, bias=True, dropout=single.dropout.p, fault=single.fault)
        self.linear = StackedLinear(count, single.linear)  # type: ignore[assignment]  # in the place of one
        self.decay = nn.Parameter(single.decay.new_empty(count, single.out_features))

    def decays(self) -> Tensor:
        return super().decays()[:, None]


ENTERED: list[AbstractContextManager[object]] = []


def enter(context: AbstractContextManager[object]) -> None:
    """Enter a context that is never left; PyTorch leaves one that is garbage-collected."""
    ENTERED.append(context)
    context.__enter__()


def set_interop_threads(count: int) -> None:
    """Set the number once; PyTorch refuses a second time."""
    if torch.get_num_interop_threads() != count:
        torch.set_num_interop_threads(count)


MEDDLES: dict[str, Callable[[], object]] = {
    "double": lambda: torch.set_default_dtype(torch.float64),
    "no-gradients": lambda: torch.set_grad_enabled(False),
    "inference": lambda: enter(torch.inference_mode()),
    "meta-device": lambda: torch.set_default_device("meta"),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "threads": lambda: torch.set_num_threads(3),
    "autocast": lambda: enter(torch.autocast("cpu")),
    "backend": lambda: torch.backends.cuda.enable_math_sdp(False),
    "environment": lambda: os.environ.update(HARNESS_DATA="/secret", OMP_NUM_THREADS="7"),
    "folder": lambda: os.chdir("/"),
    "signals": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "warnings": lambda: warnings.simplefilter("error"),
    "logging": logging.disable,
    "interop-threads": lambda: set_interop_threads(7),
}
"""Changes of the whole process; the last one cannot be undone."""


def commit(fault: str) -> None:
    """What a model may do to its worker; `none` is nothing, and `nan` happens to the output."""
    if fault in MEDDLES:
        MEDDLES[fault]()
    if fault == "raise":
        raise ValueError("a toy that was told to raise")
    if fault == "system-exit":
        raise SystemExit(3)
    if fault == "keyboard-interrupt":
        raise KeyboardInterrupt("a toy that was told to interrupt")
    if fault == "recursion":
        commit(fault)
    if fault == "memory":
        raise MemoryError("a toy that was told to run out of memory")
    if fault == "exit":
        os._exit(9)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        while True:
            pass
    if fault == "hang-in-c":
        ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock, as a loop in C does
    if fault == "segfault":
        ctypes.string_at(0)


class ToyEma(Model):
    """One level.  `fault` is no dimension: a study may set it to none, nan, or one that `commit` knows."""

    name: ClassVar[str] = "toy-ema"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {"bias": CategoricalDistribution([True, False])}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Takes `bias`, `dropout` and `fault`."""
        return Ema(signature.in_features, widths[0], **{"bias": True, "dropout": 0.0, "fault": "none", **params})

    def published(self, row: str) -> Published | None:
        if row != "toy-sum":
            return None
        return Published(
            source="tests/support/toys.py",
            widths=(40,),
            params={"bias": True, "dropout": 0.0},
            optimisation=Optimisation(learning_rate=0.01, clip=1.0, schedule=Schedule(kind="cosine")),
            batch_size=8,
            epochs=4,
            assumed=frozenset({"clip"}),
        )


class Shifts(nn.Module):
    """Causal layers of kernel size 2, each with a residual that has a 1 × 1 map only if the width changes."""

    def __init__(self, inputs: int, widths: tuple[int, ...], *, layers: int, scale: float, dropout: float) -> None:
        super().__init__()
        assert len(widths) == layers
        self.scale = scale
        self.out_features = widths[-1]
        self.receptive_field = len(widths) + 1
        sizes = (inputs, *widths)
        self.layers = nn.ModuleList(nn.Linear(2 * i, o) for i, o in zip(sizes, widths, strict=False))
        self.residuals = nn.ModuleList(
            nn.Identity() if i == o else nn.Linear(i, o) for i, o in zip(sizes, widths, strict=False)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            time.sleep(PAUSE_SECONDS)
        for layer, residual in zip(self.layers, self.residuals, strict=True):
            before = nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]  # x one step earlier
            x = residual(x) + torch.tanh(self.scale * layer(self.dropout(torch.cat([x, before], dim=-1))))
        return x


class ToyStack(Model):
    """As many levels as layers.  Its count drops where the width equals `in_features`."""

    name: ClassVar[str] = "toy-stack"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {"layers": IntDistribution(1, 3), "scale": FloatDistribution(0.5, 2.0)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Takes `layers`, `scale` and `dropout`."""
        return Shifts(signature.in_features, widths, **{"scale": 1.0, "dropout": 0.0, **params})

    def levels(self, **params: Any) -> int:
        return int(params["layers"])

    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        reach = int(params["layers"]) + 1
        if signature.dependency is None or reach >= signature.dependency:
            return None
        return f"{reach - 1} layers reach {reach} steps, but {signature.dependency} are needed"


class ToySum(Task):
    """The mean of a sequence of numbers uniform in [−1, 1]."""

    name: ClassVar[str] = "toy-sum"
    length: int = 6
    sequences: int = 64

    def signature(self) -> Signature:
        return Signature(input=Real(1), output=Real(1), length=self.length, readout="last")

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("mse", "", "lower", mean_of("mse"), scale="log"),)

    def training_sequences(self) -> int:
        return self.sequences

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        count = self.sequences // SHARES[split]
        inputs = 2 * torch.rand(count, self.length, 1, generator=generator(split, seeds)) - 1
        return Arrays(inputs, inputs.mean(dim=1))

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        return {"mse": Total(nn.functional.mse_loss(output, batch.targets, reduction="sum"), batch.targets.numel())}

    def floor(self) -> float | None:
        return 1 / (3 * self.length)

    def validation_floor(self) -> float | None:
        return self.floor()

    def row(self) -> str:
        return "toy-sum" if self.length == 6 else f"toy-sum-{self.length}"

    def published(self) -> PublishedRow | None:
        if self.length != 6:
            return None
        return PublishedRow(source="tests/support/toys.py", parameters=161, results={"toy-ema": 0.01})


class ToyRagged(Task):
    """Coin flips; each step asks for the flips of two steps ago, so three steps of input are needed."""

    name: ClassVar[str] = "toy-ragged"
    sequences: int = 32
    longest: int = 9

    def signature(self) -> Signature:
        return Signature(input=Real(NOTES), output=Bits(NOTES), length=self.longest, readout="each", dependency=3)

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("accuracy", "%", "higher", percent_of("right")), Metric("nats", "nats", "lower", mean_of("nll")))

    def training_sequences(self) -> int:
        return self.sequences

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        random = generator(split, seeds)
        lengths = torch.randint(3, self.longest + 1, (self.sequences // SHARES[split],), generator=random)
        pieces = [torch.randint(0, 2, (int(length), NOTES), generator=random).float() for length in lengths]
        targets = [nn.functional.pad(piece, (0, 0, 2, 0))[:-2] for piece in pieces]
        return Ragged(torch.cat(pieces), torch.cat(targets), lengths)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        mask = (
            torch.ones(output.shape[:2], dtype=torch.bool, device=output.device) if batch.mask is None else batch.mask
        )
        nll = nn.functional.binary_cross_entropy_with_logits(output, batch.targets, reduction="none").sum(-1)
        right = ((output > 0) == (batch.targets > 0.5)).float().mean(-1)  # (batch, time)
        count = mask.sum()
        return {"nll": Total((nll * mask).sum(), count), "right": Total((right * mask).sum(), count)}


@hookimpl
def harness_register_models(register: Callable[[Model], None]) -> None:
    register(ToyEma())
    register(ToyStack())


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    register(ToySum)
    register(ToyRagged)
