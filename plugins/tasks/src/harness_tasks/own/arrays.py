"""The task on a user's own arrays and tables."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic import PrivateAttr
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Array,
    Arrays,
    Batch,
    Classes,
    DataFile,
    Dataset,
    Metric,
    Ragged,
    Real,
    Seeds,
    Signature,
    Split,
    Sums,
    Task,
    Total,
    mean_of,
    own_file,
    parsed_arrays,
    percent_of,
)
from harness_tasks.own.facts import Facts, read_facts
from harness_tasks.own.options import ENDINGS, MOST_COUNTED, Options

if TYPE_CHECKING:
    from pandas import DataFrame

PARSED = 3
"""Version of what `prepared` yields."""


class OwnArrays(Options, Task):
    """Your sequences in a .csv, .parquet, .npz or .npy file: classes or numbers, per sequence or per step.

    Signature, floor and counts follow from the file.  They are computed once for the content of the file (SHA-256) and
    these options, and kept in the cache with the encoded splits, which all workers of a machine map.
    """

    name: ClassVar[str] = "arrays"
    _known: Facts | None = PrivateAttr(default=None)
    """Facts of a task that predicts without its files."""

    def signature(self) -> Signature:
        facts = self._facts()
        output = Classes(len(facts.classes)) if facts.classes else Real(1)
        return Signature(Real(facts.channels), output, length=facts.longest, readout=facts.readout)

    def metrics(self) -> tuple[Metric, ...]:
        facts = self._facts()
        metrics = _class_metrics(facts) if facts.classes else _number_metrics(facts)
        return (metrics.pop(facts.score), *metrics.values())

    def training_sequences(self) -> int:
        return self._facts().sequences["train"]

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Arrays | Ragged:  # draws nothing
        stored = self._stored()
        inputs, targets, lengths = (
            torch.from_numpy(stored[f"{split}-{part}"]) for part in ("inputs", "targets", "lengths")
        )
        return dataset_of(inputs, targets, lengths, last=self._facts().readout == "last")

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        """Return the totals of a batch.

        For classes: `nll` in nats, the number correct, and per class the number correct and the count.  For numbers:
        squared and absolute errors in standard deviations.
        """
        if batch.targets.is_floating_point():
            return _number_totals(output, batch, first="absolute" if self.score == "mae" else "squared")
        return _class_totals(output, batch)

    def files(self) -> tuple[DataFile, ...]:
        return () if self._known is not None else tuple(map(own_file, self.paths()))

    def floor(self) -> float:
        """Return the score on test of the most common training class, or of the training mean (for `mae`, the median).

        If `horizon` is at least 1, it is the score of the present class or value if that is better.
        """
        return self._facts().floor

    def validation_floor(self) -> float:
        return self._facts().validation_floor

    def sample_floor(self, sample: Dataset, train: Dataset) -> float:
        from harness_tasks.own.sample_floor import floor_on

        return floor_on(sample, train, self._facts(), ahead=self.horizon > 0)

    def regularisation(self) -> dict[str, BaseDistribution]:
        """Return dropout from 0 to 0.4, because nothing is known of the data; a grid, so that 0 itself is drawn."""
        return {"dropout": FloatDistribution(0.0, 0.4, step=0.1)}

    @classmethod
    def reads(cls, file: Path) -> bool:
        return file.suffix.lower() in ENDINGS

    def notes(self) -> tuple[str, ...]:
        return self._facts().notes

    def examples(self, rows: Path, files: Mapping[str, Path]) -> Dataset:
        from harness_tasks.own.new_rows import examples_in  # imports pyarrow, which most processes do not need

        return dataset_of(*examples_in(rows, self, self._facts()), last=self._facts().readout == "last")

    def answers(self, outputs: Tensor, rows: Path, files: Mapping[str, Path]) -> DataFrame:
        from harness_tasks.own.new_rows import answers_in

        return answers_in(rows, self, self._facts(), outputs)

    def example_rows(self, count: int) -> DataFrame | None:
        from harness_tasks.own.example_rows import first_rows

        return first_rows(Path(self.data), self, self._facts(), count)

    def prediction_facts(self) -> str:
        return self._facts().model_dump_json()

    def with_prediction_facts(self, facts: str) -> OwnArrays:
        task = self.model_copy()
        task._known = Facts.model_validate_json(facts)
        return task

    def _stored(self) -> dict[str, Array]:
        options = self.model_dump_json(exclude={"data", "validation_data", "test_data"})
        endings = [Path(path).suffix.lower() for path in self.paths()]
        held_out = (self.validation_data is not None, self.test_data is not None)
        digest = hashlib.sha256(f"{options}{endings}{held_out}".encode()).hexdigest()[:16]
        return parsed_arrays(
            f"arrays-{digest}", [Path(path) for path in self.paths()], partial(_prepared, self), version=PARSED
        )

    def _facts(self) -> Facts:
        if self._known is not None:
            return self._known
        return _facts_of(self, tuple(file.sha256 for file in self.files()))


def _prepared(task: OwnArrays) -> Iterator[tuple[str, Array]]:
    from harness_tasks.own.encoding import prepared  # imports pyarrow, which is not needed if the cache has the data

    return prepared(task)


@lru_cache(maxsize=64)
def _facts_of(task: OwnArrays, digests: tuple[str, ...]) -> Facts:  # the digests make a changed file a new key
    return read_facts(task._stored()["facts"])


def dataset_of(inputs: Tensor, targets: Tensor, lengths: Tensor, *, last: bool) -> Arrays | Ragged:
    """Return a dataset of concatenated sequences.

    inputs: (steps, channels).  targets: one per sequence if `last`, else one per step.
    """
    longest = int(lengths.max())
    if longest != int(lengths.min()):
        return Ragged(inputs, targets, lengths, last=last)
    shaped = targets if last else targets.reshape(len(lengths), longest, *targets.shape[1:])
    return Arrays(inputs.reshape(len(lengths), longest, -1), shaped)


def _number_metrics(facts: Facts) -> dict[str, Metric]:
    scale = facts.target_scale

    def rmse(sums: Sums) -> float:
        return scale * math.sqrt(mean_of("squared")(sums))

    def mae(sums: Sums) -> float:
        return scale * mean_of("absolute")(sums)

    return {name: Metric(name, "", "lower", of, margin=facts.margin) for name, of in (("rmse", rmse), ("mae", mae))}


def _class_metrics(facts: Facts) -> dict[str, Metric]:
    classes = len(facts.classes)
    metrics = {
        "accuracy": Metric("accuracy", "%", "higher", percent_of("correct"), margin=facts.margin),
        "balanced-accuracy": Metric(
            "balanced-accuracy", "%", "higher", partial(_balanced, classes), margin=facts.margin
        ),
        "log-loss": Metric("log-loss", "nats", "lower", mean_of("nll"), margin=facts.margin),
    }
    return (
        metrics
        if classes <= MOST_COUNTED
        else {name: metric for name, metric in metrics.items() if name != "balanced-accuracy"}
    )


def _balanced(classes: int, sums: Sums) -> float:
    """Return the mean, over the classes that occur, of the fraction that is correct, in %."""
    pairs = [(sums[f"correct-{number}"][0], sums[f"of-{number}"][0]) for number in range(classes)]
    shares = [right / count for right, count in pairs if count > 0]
    return 100 * sum(shares) / len(shares)


def _number_totals(output: Tensor, batch: Batch, *, first: str) -> dict[str, Total]:
    mask = batch.mask
    error = output - batch.targets
    count: Tensor | int = batch.targets.numel()
    if mask is not None:
        # Also masked before squaring; otherwise an infinity in padding would reach the weights as 0 · ∞.
        error, count = torch.where(mask[..., None], error, 0.0), mask.sum()
    totals = {
        "squared": Total(error.square().sum(dtype=torch.float64), count),
        "absolute": Total(error.abs().sum(dtype=torch.float64), count),
    }
    return {first: totals.pop(first), **totals}


def _class_totals(output: Tensor, batch: Batch) -> dict[str, Total]:
    classes, mask = output.shape[-1], batch.mask
    output, targets = output.flatten(0, -2), batch.targets.flatten()
    nats = F.cross_entropy(output, targets, reduction="none")
    right = (output.argmax(-1) == targets).double()
    real = torch.ones_like(right) if mask is None else mask.flatten().double()
    count: Tensor | int = targets.numel() if mask is None else mask.sum()
    right = right * real
    totals = {
        "nll": Total(torch.where(real > 0, nats, 0.0).sum(dtype=torch.float64), count),
        "correct": Total(right.sum(), count),
    }
    if classes > MOST_COUNTED:
        return totals
    zeros = torch.zeros(classes, dtype=torch.float64, device=output.device)
    for name, values in (("correct", right), ("of", real)):
        of_class = zeros.index_add(0, targets, values)  # (classes,)
        totals |= {f"{name}-{number}": Total(value, count) for number, value in enumerate(of_class.unbind())}
    return totals
