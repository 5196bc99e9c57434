"""The copy memory task of Hochreiter & Schmidhuber 1997, as in Bai, Kolter & Koltun 2018."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Arrays,
    Batch,
    Classes,
    Metric,
    Plateau,
    PublishedRow,
    Real,
    Seeds,
    Signature,
    Split,
    Total,
    mean_of,
    percent_of,
)
from harness_tasks.synthetic import Synthetic

DIGITS = 10
"""Digits to remember, each of {1..8}."""


class CopyMemory(Synthetic):
    """Ten digits, a long blank, and the digits again.

    The T + 20 steps of the input are 10 digits of {1..8}, T - 1 zeros and 11 nines; the first nine is the delimiter.
    The target is T + 10 zeros, then the digits, each T + 10 steps after its input.  The input is one raw number per
    step, 0 to 9, as in the released code.  The loss is over all steps, as published.  The metrics on the ten digits
    alone are reported too, because a network without memory is right at 99.1 % of all steps (T = 1000).
    """

    name: ClassVar[str] = "copy-memory"
    title: ClassVar[str] = "copy memory"
    size: ClassVar[str] = "16K"
    parameters: ClassVar[Mapping[int, int]] = {500: 10_750, 1000: 12_530, 2000: 14_170}
    results: ClassVar[Mapping[int, Mapping[str, float]]] = {
        1000: {"lstm": 0.0204, "gru": 0.0197, "rnn": 0.0202, "tcn": 3.5e-5}
    }
    plateaus: ClassVar[Mapping[int, Plateau]] = {
        100: Plateau(250, "T = 100, a TCN of 10,000 parameters: benchmarks/plateaus.py"),
    }

    length: int = Field(default=1000, ge=1)
    """The blank, T; sequences have T + 20 steps."""
    sequences: int = Field(default=10_000, ge=1)
    """Training sequences."""
    ranked_by: Literal["loss", "recall_accuracy"] = "loss"
    """What selects and ranks: the published loss over all steps, or the accuracy on the ten digits (Figure 5)."""

    @property
    def steps(self) -> int:
        """Steps of a whole sequence."""
        return self.length + 2 * DIGITS

    def signature(self) -> Signature:
        dependency = self.length + DIGITS + 1  # a digit is recalled T + 10 steps after its input
        return Signature(Real(1), Classes(10), length=self.steps, readout="each", dependency=dependency)

    def metrics(self) -> tuple[Metric, ...]:
        # A factor of 2 is not a difference: the loss of a solved run spans decades within a few epochs (a port
        # logs 9.0e-6 and 0.043 five epochs apart, Baichenjia/Tensorflow-TCN).
        factor = math.log(2)
        losses = (
            Metric("loss", "nats", "lower", mean_of("loss"), margin=factor, scale="log"),
            Metric("recall_loss", "nats", "lower", mean_of("recall_loss"), margin=factor, scale="log"),
        )
        accuracy = Metric("recall_accuracy", "%", "higher", percent_of("recall_accuracy"), margin=1.0)
        return (*losses, accuracy) if self.ranked_by == "loss" else (accuracy, *losses)

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Arrays:  # reads no file
        count, random = self.count(split), self.generator(split, seeds)
        digits = torch.from_numpy(random.integers(1, 9, size=(count, DIGITS)))
        inputs = torch.zeros(count, self.steps, 1)
        inputs[:, :DIGITS, 0] = digits.float()
        inputs[:, -DIGITS - 1 :] = 9
        targets = torch.zeros(count, self.steps, dtype=torch.int64)
        targets[:, -DIGITS:] = digits
        return Arrays(inputs, targets)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        losses = F.cross_entropy(output.flatten(0, 1), batch.targets.flatten(), reduction="none")
        losses = losses.view_as(batch.targets)  # (batch, T + 20)
        recalled = output[:, -DIGITS:].detach().argmax(-1) == batch.targets[:, -DIGITS:]
        return {
            "loss": Total(losses.sum(dtype=torch.float64), losses.numel()),
            "recall_loss": Total(losses[:, -DIGITS:].detach().sum(dtype=torch.float64), recalled.numel()),
            "recall_accuracy": Total(recalled.sum(dtype=losses.dtype), recalled.numel()),
        }

    def floor(self) -> float:
        """Return the score of a network without memory: certain of the zeros, uniform over {1..8} at the ten digits."""
        if self.ranked_by == "recall_accuracy":
            return 100 / 8
        return DIGITS * math.log(8) / self.steps

    def validation_floor(self) -> float:
        """Return the floor: both splits are drawn alike."""
        return self.floor()

    def published(self) -> PublishedRow | None:
        """Return the losses of Table 1.  Accuracies have no results: no number can be read from Figure 5."""
        row = super().published()
        return row if row is None or self.ranked_by == "loss" else replace(row, results={})

    def regularisation(self) -> dict[str, BaseDistribution]:
        """Return dropout around 0.05, published for both TCN and LSTM (Tables 2 and 3); 0 is the released default."""
        return {"dropout": FloatDistribution(0.0, 0.2, step=0.05)}
