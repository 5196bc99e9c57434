"""The base class of tasks, their metrics, data files and published results."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness.api.dataset import Batch, Dataset, Split
from harness.api.signature import Signature
from harness.seeds import Seeds

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Total:
    """A sum over scored elements and their number, so that averages over ragged batches are exact."""

    sum: Tensor
    """A scalar.  Summed in float64, it keeps more digits over a whole split than float32 has."""
    count: Tensor | int


Sums = Mapping[str, tuple[float, float]]
"""Mapping from the name of a total to its (sum, count) over a whole split."""


@dataclass(frozen=True)
class Metric:
    """A score that is compared across models."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    of: Callable[[Sums], float]
    """Function that computes the score from the sums over a whole split."""
    margin: float = 0.0
    """Two models closer than this, on `scale`, count as equivalent."""
    scale: Literal["linear", "log"] = "linear"
    """Scale on which scores of repetitions are averaged; use log for losses that span decades."""


def mean_of(name: str) -> Callable[[Sums], float]:
    """Return a function that computes the mean of a total over all scored elements (micro-average)."""
    return lambda sums: sums[name][0] / sums[name][1]


def percent_of(name: str) -> Callable[[Sums], float]:
    """Return a function that computes the mean of a total of zeros and ones, in %."""
    return lambda sums: 100 * sums[name][0] / sums[name][1]


def perplexity_of(name: str) -> Callable[[Sums], float]:
    """Return a function that computes exp of the mean of a total in nats."""
    return lambda sums: math.exp(sums[name][0] / sums[name][1])


def bits_of(name: str) -> Callable[[Sums], float]:
    """Return a function that computes the mean of a total in nats, converted to bits."""
    return lambda sums: sums[name][0] / sums[name][1] / math.log(2)


@dataclass(frozen=True)
class DataFile:
    """A file that a task needs, with the size and the hash that identify it."""

    name: str
    """Path below the data folder, with forward slashes: `music/JSB_Chorales.mat`."""
    bytes: int
    sha256: str
    url: str | None = None
    """Address to download it from; None if no open address is known."""
    archive: DataFile | None = None
    """Zip or tar file that contains it, if it has no address of its own."""
    member: str = ""
    """Path of the file in the archive."""
    source: str = ""
    """Who made it."""
    own: bool = False
    """Whether it is a user-supplied file: `name` is its absolute path, and no other folder is searched."""


@dataclass(frozen=True)
class PublishedRow:
    """The row of a paper's table about a task, for comparison with measured results."""

    source: str
    parameters: int | None
    """Parameter budget of the published sizes; None if the source states none."""
    results: Mapping[str, float] = field(default_factory=dict)
    """Mapping from model name to the published value of the task's metric."""
    note: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Mapping from model name to the source of its result, if it differs from `source`."""


class Task(BaseModel, ABC):
    """Data, loss, metrics and published results.  The fields of a subclass are its options.

    Each option has a default.  The exception is the option for a user-supplied file: such a task cannot be built
    without it.  Tasks are frozen values: two tasks with equal options are equal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """Name in kebab-case, unique among the installed plugins."""

    @abstractmethod
    def signature(self) -> Signature:
        """Return the signature, without reading data.

        A task on a user-supplied file derives it from facts that are computed once for the content of the file.
        """

    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics.

        The first one ranks models; on validation it selects weights and winners.  The others are reported only.
        """

    @abstractmethod
    def training_sequences(self) -> int:
        """Return the number of sequences in one epoch, or of windows for a stream, without reading data."""

    def updates_per_epoch(self, batch_size: int) -> int:
        """Return the number of updates in one epoch.

        Override it if the training split is a stream: return the number of windows per row.
        """
        return -(-self.training_sequences() // batch_size)

    def carries(self) -> bool:
        """Return whether training carries a state from batch to batch; it then needs a backbone with `scan`."""
        return False

    @abstractmethod
    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        """Return one split, in host memory.

        files: mapping from the names in `self.files()` to verified paths.

        Use only the seeds `fixed` and `data`.  For the test split use only `fixed`, so that a study has one test
        split.
        """

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        """Return totals over the scored elements of a batch; the first one is back-propagated.

        output: (batch, n) if the readout is `last`, else (batch, time, n); before any softmax or sigmoid.

        Mask padded steps here.  Do not read values back from the device.
        """

    def readings(self, test: Dataset) -> dict[str, Dataset]:  # most tasks have none
        """Return further ways to score the test split, by name.

        A final trial reports each metric for each of them in addition: `perplexity-80-40` for the metric
        `perplexity` and the reading `80-40`.
        """
        return {}

    def fixed(self, seeds: Seeds) -> dict[str, tuple[int, ...]]:  # most tasks draw nothing of the kind
        """Return values drawn from the seed `fixed` that a reader may need, by name, such as `permutation`.

        They are stored with the study and named in its report.
        """
        return {}

    def files(self) -> tuple[DataFile, ...]:
        """Return the data files that `load` reads."""
        return ()

    def floor(self) -> float | None:
        """Return the metric of a memoryless or marginal baseline on the test split; None if unknown."""
        return None

    def row(self) -> str:
        """Return the row of the published tables that matches these options, such as `adding-600`."""
        return self.name

    def published(self) -> PublishedRow | None:
        """Return the published size and results for these options; None if none are published."""
        return None

    @classmethod
    def reads(cls, file: Path) -> bool:  # most tasks have data of their own
        """Return whether a user-supplied file of this kind can be the option `data`.

        Decide by the file name extension; do not open the file.
        """
        return False

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know about the data before training, one line per fact.

        Example: a column that was left out.
        """
        return ()

    def examples(self, rows: Path, files: Mapping[str, Path]) -> Dataset | None:
        """Return new rows from a user-supplied file, encoded as in training, or None if the task takes no new rows.

        rows: path of the file.  files: as in `load`.  The targets of the result have no meaning.

        Raises DataError if a column is missing.
        """
        return None

    def answers(self, outputs: Tensor, rows: Path, files: Mapping[str, Path]) -> DataFrame | None:
        """Return the predictions of a network for `examples`, in the user's own units and class names.

        outputs: before any softmax or sigmoid, in the order of `examples`; (sequences, n) if each sequence has one
        prediction, else (steps, n), the real steps of all sequences concatenated.  rows, files: as in `examples`.

        The table has one line per prediction: its sequence, its time, `prediction`, and for classes
        `probability_<class>`.
        """
        return None

    def regularisation(self) -> dict[str, BaseDistribution]:
        """Return the range of dropout for every model of this task."""
        return {"dropout": FloatDistribution(0.0, 0.5)}

    @property
    def metric(self) -> Metric:
        """The first of `metrics`, which ranks models."""
        return self.metrics()[0]
