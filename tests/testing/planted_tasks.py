"""A sound task, and copies of it with one defect each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Batch,
    Bits,
    Dataset,
    Metric,
    Ragged,
    Real,
    Seeds,
    Signature,
    Split,
    Task,
    Total,
    derive,
    mean_of,
)


class Flips(Task):
    """A task without a defect: coin flips, with the flips of two steps ago as targets."""

    name: ClassVar[str] = "planted"
    sequences: int = 64

    def signature(self) -> Signature:
        return Signature(Real(2), Bits(2), length=20, readout="each", dependency=3)

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("nats", "nats", "lower", mean_of("nats")),)

    def training_sequences(self) -> int:
        return self.sequences

    def seed(self, split: Split, seeds: Seeds) -> int:
        return derive(seeds.fixed if split == "test" else seeds.data, self.name, split)

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        generator = torch.Generator().manual_seed(self.seed(split, seeds))
        lengths = torch.randint(12, 21, (self.sequences,), generator=generator)
        pieces = [torch.randint(0, 2, (int(n) + 2, 2), generator=generator).float() for n in lengths]
        inputs, targets = [piece[2:] for piece in pieces], [piece[:-2] for piece in pieces]
        return Ragged(torch.cat(inputs), torch.cat(targets), lengths)

    def nats(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss and a mask of real steps, both (batch, time)."""
        nats = F.binary_cross_entropy_with_logits(output, batch.targets, reduction="none").sum(-1)
        return nats, torch.ones_like(nats) if batch.mask is None else batch.mask.to(nats.dtype)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, real = self.nats(output, batch)
        return {"nats": Total((nats * real).sum(), real.sum())}

    def floor(self) -> float | None:
        """Return the entropy of two fair coins, 2 ln 2."""
        return 1.3862943611198906


class LongerThanStated(Flips):
    def signature(self) -> Signature:
        return Signature(Real(2), Bits(2), length=10, readout="each", dependency=3)


class OtherEpoch(Flips):
    def training_sequences(self) -> int:
        return 1000


class ReadsBack(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, real = self.nats(output, batch)
        return {"nats": Total((nats * real).sum(), int(real.sum().item()))}


class ScoresPadding(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, _ = self.nats(output, batch)
        return {"nats": Total(nats.sum(), nats.numel())}


class MeanOfMeans(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, real = self.nats(output, batch)
        return {"nats": Total((nats * real).sum() / real.sum(), 1)}


class WrongWay(Flips):
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("nats", "nats", "higher", mean_of("nats")),)


class FloorTooLow(Flips):
    def floor(self) -> float | None:
        return 0.6931471805599453


class FloorTooHigh(Flips):
    def floor(self) -> float | None:
        return 2.0


class FloorWithoutInput(Flips):
    """The target is the present input; the floor is still that of two coins."""

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        flips = super().load(split, seeds, files)
        assert isinstance(flips, Ragged)
        return Ragged(flips.inputs, flips.inputs, flips.lengths)


class ValidatesOnTraining(Flips):
    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        return super().load("train" if split == "validation" else split, seeds, files)


class TestFromData(Flips):
    def seed(self, split: Split, seeds: Seeds) -> int:
        return derive(seeds.data, self.name, split)


class SeedsGlobally(Flips):
    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        torch.manual_seed(self.seed(split, seeds))
        return super().load(split, seeds, files)


class HashedSeed(Flips):
    def seed(self, split: Split, seeds: Seeds) -> int:
        return derive(super().seed(split, seeds), hash("flips"))


class OpensTest(Flips):
    """A task that loads the test split too early, as one that scales inputs by statistics of all splits."""

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        if split == "train":
            self.load("test", seeds, files)
        return super().load(split, seeds, files)
