"""What the author of a task subclasses."""

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

from harness.dataset import Batch, Dataset, Split
from harness.seeds import Seeds
from harness.signature import Signature

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Total:
    """A sum over scored elements and how many there were, so that averages over ragged batches are exact."""

    sum: Tensor
    """A scalar; summed in float64 it holds a whole split to more digits than float32 has."""
    count: Tensor | int


Sums = Mapping[str, tuple[float, float]]
"""Name of a total → (sum, count) over a whole split."""


@dataclass(frozen=True)
class Metric:
    """A number that is compared across models."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    of: Callable[[Sums], float]
    margin: float = 0.0
    """Two models closer than this, on `scale`, count as equivalent."""
    scale: Literal["linear", "log"] = "linear"
    """The scale on which scores of repetitions are averaged: log for losses that span decades."""


def mean_of(name: str) -> Callable[[Sums], float]:
    """The micro-average of a total."""
    return lambda sums: sums[name][0] / sums[name][1]


def percent_of(name: str) -> Callable[[Sums], float]:
    """The micro-average of a total of zeros and ones, in %."""
    return lambda sums: 100 * sums[name][0] / sums[name][1]


def perplexity_of(name: str) -> Callable[[Sums], float]:
    """exp of the mean of a total in nats."""
    return lambda sums: math.exp(sums[name][0] / sums[name][1])


def bits_of(name: str) -> Callable[[Sums], float]:
    """The mean of a total in nats, in bits."""
    return lambda sums: sums[name][0] / sums[name][1] / math.log(2)


@dataclass(frozen=True)
class DataFile:
    """A file that a task needs, and how to know it is the right one."""

    name: str
    """Path below the data folder, with forward slashes: `music/JSB_Chorales.mat`."""
    bytes: int
    sha256: str
    url: str | None = None
    """Where it can be fetched from; None where no open address is known."""
    archive: DataFile | None = None
    """A zip or tar file that holds it, where it has no address of its own."""
    member: str = ""
    """Its path in the archive."""
    source: str = ""
    """Who made it."""
    own: bool = False
    """A user's own file: `name` is its absolute path, and it is looked for nowhere else."""


@dataclass(frozen=True)
class PublishedRow:
    """What a paper's table says of a task: the seed of a comparison."""

    source: str
    parameters: int | None
    """The budget that the published sizes stand for; None where none is stated."""
    results: Mapping[str, float] = field(default_factory=dict)
    """Model name → published value of the task's metric."""
    note: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Model name → where its result stands, if elsewhere than `source`."""


class Task(BaseModel, ABC):
    """Data, loss, metric and published results.  The fields of a subclass are its options.

    Each has a default, but for a user's own file: such a task cannot stand by itself.  Frozen: a task with its options
    is a value, equal to another with the same options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """kebab-case; unique among the installed plugins."""

    @abstractmethod
    def signature(self) -> Signature:
        """Known without reading data; of a user's own file, from facts that are found once for its content."""

    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The first ranks models and, on validation, selects weights and winners; the others stand beside it."""

    @abstractmethod
    def training_sequences(self) -> int:
        """Sequences in one epoch, or windows of a stream, known without reading data."""

    def updates_per_epoch(self, batch_size: int) -> int:
        """Updates in one epoch; a task whose training split is a stream says how many windows its rows have."""
        return -(-self.training_sequences() // batch_size)

    def carries(self) -> bool:
        """Whether training carries a state from batch to batch, so that only a backbone with `scan` can serve."""
        return False

    @abstractmethod
    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        """One split, in host memory.

        `files` maps the names of `self.files()` to verified paths.  Uses only the `fixed` and `data` seeds; the test
        split only `fixed`, so it is one a study.
        """

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        """Totals over the scored elements of a batch; the first is back-propagated.

        output: (batch, n) where the readout is `last`, else (batch, time, n), before any softmax or sigmoid.
        Padded steps are masked here.  No value is read back from the device.
        """

    def readings(self, test: Dataset) -> dict[str, Dataset]:  # most tasks have none
        """Further ways to score the test split, by name: a final trial reports each metric of each beside its own, as
        `perplexity-80-40` for the metric `perplexity` and the reading `80-40`."""
        return {}

    def fixed(self, seeds: Seeds) -> dict[str, tuple[int, ...]]:  # most tasks draw nothing of the kind
        """What the task draws from the `fixed` seed that a reader may ask for, by name, as `permutation`.

        Kept with the study and named in its report.
        """
        return {}

    def files(self) -> tuple[DataFile, ...]:
        """The data files that `load` reads."""
        return ()

    def floor(self) -> float | None:
        """The metric of a memoryless or marginal baseline on the test split; None where none is known."""
        return None

    def row(self) -> str:
        """The row of the published tables that these options stand for: `adding-600`."""
        return self.name

    def published(self) -> PublishedRow | None:
        """Published size and results at these options."""
        return None

    @classmethod
    def reads(cls, file: Path) -> bool:  # most tasks bring their data
        """Whether a user's own file of this kind can be the option `data`; told by its ending, not opened."""
        return False

    def notes(self) -> tuple[str, ...]:
        """What a user should know of the data before they train, a line each: a column that was left out."""
        return ()

    def examples(self, rows: Path, files: Mapping[str, Path]) -> Dataset | None:
        """New rows in a file of the user's, encoded as training was, with targets that mean nothing.

        `files` as in `load`.  DataError where a column is missing.  None: the task takes no new rows.
        """
        return None

    def answers(self, outputs: Tensor, rows: Path, files: Mapping[str, Path]) -> DataFrame | None:
        """What a network says of `examples`, in the user's own units and names of classes.

        outputs: (sequences, n) where one answer a sequence is read, else (steps, n), the real steps of all sequences
        end to end, in the order of `examples`; before any softmax or sigmoid.  A line an answer: which sequence and
        time it is of, `prediction`, and of classes `probability_<class>`.
        """
        return None

    def prediction_facts(self) -> str | None:
        """Return as text what `examples` and `answers` need of the training files; None if the task has no such files.

        It is stored with a recommended model, so that the model predicts without those files.
        """
        return None

    def with_prediction_facts(self, facts: str) -> Task:  # facts: of `prediction_facts`
        """Return the task for prediction alone: it has no files, and `load` is not called."""
        return self

    def regularisation(self) -> dict[str, BaseDistribution]:
        """The range of dropout for every model of this task."""
        return {"dropout": FloatDistribution(0.0, 0.5)}

    @property
    def metric(self) -> Metric:
        return self.metrics()[0]
