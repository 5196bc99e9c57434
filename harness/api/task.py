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
    """A file that a task needs, with its size and digest."""

    name: str
    """Path below the data folder, with forward slashes: `music/JSB_Chorales.mat`."""
    bytes: int
    sha256: str
    url: str | None = None
    """Download address; None if no open address is known."""
    archive: DataFile | None = None
    """A zip or tar file that contains it, if it has no address of its own."""
    member: str = ""
    """Path of the file in the archive."""
    source: str = ""
    """The authors of the data."""
    own: bool = False
    """Whether it is user-supplied: `name` is then its absolute path, and no other folder is searched."""


@dataclass(frozen=True)
class PublishedRow:
    """A task's row in a paper's table: the published size and results that a comparison starts from."""

    source: str
    parameters: int | None
    """The parameter count of the published models; None if none is stated."""
    results: Mapping[str, float] = field(default_factory=dict)
    """Mapping from model name to the published value of the task's metric."""
    note: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Model name → source of its result, if it differs from `source`."""


@dataclass(frozen=True)
class Plateau:
    """How long training stays at the floor before a model solves a task."""

    updates: int
    """Updates after which the validation score first leaves the floor."""
    source: str
    """Where this is published, or how it was measured."""


class Task(BaseModel, ABC):
    """Data, loss, metric and published results. The fields of a subclass are its options.

    Every option has a default, except the path of a user-supplied file. Frozen: a task with its options is a value,
    equal to another with the same options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """Name in kebab-case, unique among the installed plugins."""

    @abstractmethod
    def signature(self) -> Signature:
        """Return the task's signature without reading data; for a user-supplied file, from facts cached with its
        content.
        """

    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """Return all metrics. The first ranks models and selects weights and winners on validation; the others are
        reported beside it.
        """

    @abstractmethod
    def training_sequences(self) -> int:
        """Return the number of sequences in one epoch, or of windows for a stream, without reading data."""

    def updates_per_epoch(self, batch_size: int) -> int:
        """Return the number of updates in one epoch. A task whose training split is a stream returns the number of
        windows per row.
        """
        return -(-self.training_sequences() // batch_size)

    def carries(self) -> bool:
        """Return whether training carries a state from batch to batch, so that only a backbone with `scan` can
        serve.
        """
        return False

    @abstractmethod
    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        """Return one split, in host memory.

        `files` maps the names of `self.files()` to verified paths. Uses only the `fixed` and `data` seeds; for the test
        split only `fixed`, so that a study has one test split.
        """

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        """Return totals over the scored elements of a batch; the first is back-propagated.

        output: (batch, n) if the readout is `last`, else (batch, time, n), before any softmax or sigmoid. Padded steps
        are masked here. No value is copied from the device to the host.
        """

    def readings(self, test: Dataset) -> dict[str, Dataset]:  # most tasks have none
        """Return further ways to score the test split, by name. A final trial reports each metric for each of them,
        such as `perplexity-80-40` for the metric `perplexity` and the reading `80-40`.
        """
        return {}

    def fixed(self, seeds: Seeds) -> dict[str, tuple[int, ...]]:  # most tasks draw nothing of the kind
        """Return what the task draws from the `fixed` seed and a reader may ask for, by name, such as `permutation`.

        It is stored with the study and named in its report.
        """
        return {}

    def files(self) -> tuple[DataFile, ...]:
        """Return the data files that `load` reads."""
        return ()

    def floor(self) -> float | None:
        """Return the metric of a memoryless baseline on the test split; None if unknown."""
        return None

    def validation_floor(self) -> float | None:
        """Return the metric of the same baseline on the validation split; None if unknown.

        `harness recommend` stops early if no validation score is better than it.
        """
        return None

    def plateau(self) -> Plateau | None:  # known of few tasks
        """Return for how many updates training is known to stay at the floor before a model solves the task; None if it
        is not known.

        Pruning before the end of a plateau compares scores that say nothing about the models: `harness plan` warns.
        """
        return None

    def sample_floor(self, sample: Dataset, train: Dataset) -> float | None:
        """Return the metric of the same baseline on a part of a held-out split; None: that of the whole split.

        It is the floor of a study with `training.evaluation_limit`.  train: the whole training split.
        """
        return None

    def row(self) -> str:
        """Return the row of the published tables that these options correspond to, such as `adding-600`."""
        return self.name

    def published(self) -> PublishedRow | None:
        """Return the published size and results for these options; None if none are published."""
        return None

    @classmethod
    def reads(cls, file: Path) -> bool:  # most tasks bring their data
        """Return whether a file can be the option `data`, judged by its suffix without opening it."""
        return False

    def notes(self) -> tuple[str, ...]:
        """Return notes about the data to show before training, one line each, such as a column that was left out."""
        return ()

    def examples(self, rows: Path, files: Mapping[str, Path]) -> Dataset | None:
        """Return new rows of a user-supplied file, encoded as in training, with meaningless targets; None if the task
        takes no new rows.

        `files` as in `load`. Raises DataError if a column is missing.
        """
        return None

    def answers(self, outputs: Tensor, rows: Path, files: Mapping[str, Path]) -> DataFrame | None:
        """Return the predictions for `examples`, in the user's units and class names.

        outputs: (sequences, n) if there is one answer per sequence, else (steps, n): the real steps of all sequences in
        the order of `examples`, before any softmax or sigmoid. One row per answer: its sequence and time, `prediction`,
        and for classes `probability_<class>`.
        """
        return None

    def example_rows(self, count: int) -> DataFrame | None:  # most tasks take no new rows
        """Return at most `count` rows of the user-supplied file, with the columns that `examples` needs and no others;
        None if the file has no columns or the task takes no new rows.

        They are the input example of the trained models in MLflow, which take rows with these columns. Raises DataError
        if the file cannot be read.
        """
        return None

    def prediction_facts(self) -> str | None:
        """Return as text what `examples` and `answers` need to know of the training files; None if they need nothing.

        It is stored with a recommended model, so that the model predicts without those files.
        """
        return None

    def with_prediction_facts(self, facts: str) -> Task:  # facts: of `prediction_facts`
        """Return the task for prediction alone: it has no files, and `load` is not called."""
        return self

    def regularisation(self) -> dict[str, BaseDistribution]:
        """Return the range of dropout for every model of this task."""
        return {"dropout": FloatDistribution(0.0, 0.5)}

    @property
    def metric(self) -> Metric:
        """The first of `metrics`, which ranks models."""
        return self.metrics()[0]
