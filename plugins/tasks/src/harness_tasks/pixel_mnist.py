"""MNIST read pixel by pixel, row by row or in a permuted order, as in Bai, Kolter & Koltun 2018."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Arrays,
    Batch,
    Classes,
    DataError,
    DataFile,
    Dataset,
    Metric,
    PublishedRow,
    Real,
    Seeds,
    Signature,
    Split,
    Task,
    Total,
    derive,
    mean_of,
    parsed_arrays,
    percent_of,
)
from harness_tasks.paper import published_row

SIDE = 28
STEPS = SIDE * SIDE
"""Pixels of an image, one per time step."""
TRAINING, VALIDATION, TEST = 55_000, 5_000, 10_000
"""Images of each split; the first two are cut from the 60,000 official training images."""
MEAN, DEVIATION = 0.1307, 0.3081
"""Mean and deviation of the training pixels as numbers in [0, 1], rounded as in the released code."""
PART = 2**20
"""Bytes unpacked at a time."""
PARSED = 1
"""Version of what `_parse` stores."""

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
SOURCE = 'Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits"'

TRAIN_IMAGES = DataFile(
    name="mnist/train-images-idx3-ubyte.gz",
    bytes=9_912_422,
    sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    url=f"{MIRROR}/train-images-idx3-ubyte.gz",
    source=SOURCE,
)
TRAIN_LABELS = DataFile(
    name="mnist/train-labels-idx1-ubyte.gz",
    bytes=28_881,
    sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    url=f"{MIRROR}/train-labels-idx1-ubyte.gz",
    source=SOURCE,
)
TEST_IMAGES = DataFile(
    name="mnist/t10k-images-idx3-ubyte.gz",
    bytes=1_648_877,
    sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    url=f"{MIRROR}/t10k-images-idx3-ubyte.gz",
    source=SOURCE,
)
TEST_LABELS = DataFile(
    name="mnist/t10k-labels-idx1-ubyte.gz",
    bytes=4_542,
    sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    url=f"{MIRROR}/t10k-labels-idx1-ubyte.gz",
    source=SOURCE,
)
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.generic]
"""Images or labels."""


class _PixelMnist(Task):
    """Which digit a 28 x 28 image shows, read at its last pixel.

    The paper has no validation images.  Here 5,000 of the 60,000 training images are for validation; the `data` seed
    draws them, the same ones for both orders of pixels.  The test images are the official 10,000.
    """

    title: ClassVar[str]
    """Title of the row in the paper's tables."""
    results: ClassVar[Mapping[str, float]]
    """Model → test accuracy of Table 1, in %."""

    images: int = Field(default=TRAINING, ge=1, le=TRAINING)
    """Training images: the first ones in the stored order."""

    def signature(self) -> Signature:
        return Signature(Real(1), Classes(10), length=STEPS, readout="last", dependency=STEPS)

    def metrics(self) -> tuple[Metric, ...]:
        # Two standard errors of a difference: at 97 % of 10,000 images one is 0.24 %.  The margin in nats is that of as
        # many images taken for another digit at a probability of 2 %.
        return (
            Metric("accuracy", "%", "higher", percent_of("accuracy"), margin=0.5),
            Metric("nll", "nats", "lower", mean_of("nll"), margin=0.02),
        )

    def training_sequences(self) -> int:
        return self.images

    def files(self) -> tuple[DataFile, ...]:
        return FILES

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Arrays:
        """Return inputs (images, 784, 1) uint8, row by row as in the files, on pages that all workers share.

        `prepare` makes the network's inputs from them, one batch at a time.
        """
        stored = parsed_arrays("mnist", [files[file.name] for file in FILES], partial(_parse, files), version=PARSED)
        part = "test" if split == "test" else "train"
        images, labels = (_cut(stored[f"{part}-{kind}"], split, seeds) for kind in ("images", "labels"))
        count = self.images if split == "train" else len(images)
        return Arrays(
            inputs=torch.from_numpy(images[:count])[..., None],
            targets=torch.from_numpy(labels[:count].astype(np.int64)),
            prepare=partial(_prepare, order_seed=self.order_seed(seeds)),
        )

    def order_seed(self, seeds: Seeds) -> int | None:
        """Return the seed of the order of the pixels; None for the order of the files."""
        return None

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        right = output.detach().argmax(-1) == batch.targets
        return {
            "nll": Total(F.cross_entropy(output, batch.targets, reduction="sum"), len(batch.targets)),
            "accuracy": Total(right.sum(dtype=output.dtype), len(batch.targets)),
        }

    def floor(self) -> float:
        """Return the accuracy of answering 1, the most frequent digit in training and in test: 1,135 of 10,000."""
        return 11.35

    def validation_floor(self) -> float:
        """Return the accuracy of the answer 1 on all 60,000 images from which validation is drawn: 6,742 are a 1."""
        return 100 * 6_742 / (TRAINING + VALIDATION)

    def sample_floor(self, sample: Dataset, train: Dataset) -> float:
        assert isinstance(sample, Arrays)  # as `load` returns it
        return 100 * float((sample.targets == 1).double().mean())

    def published(self) -> PublishedRow:
        return published_row(
            1,
            self.title,
            parameters=66_910,
            results=self.results if self.images == TRAINING else {},
            note="parameters: count of the published TCN at Table 2's first setting (kernel size 7, 25 channels); "
            "Table 1 says 70K",
        )

    def regularisation(self) -> dict[str, BaseDistribution]:
        """Return dropout from 0, published for TCN and LSTM (Tables 2 and 3); a grid, so that 0 itself is drawn."""
        return {"dropout": FloatDistribution(0.0, 0.2, step=0.05)}


class SequentialMnist(_PixelMnist):
    """Pixels row by row, from the upper left to the lower right."""

    name: ClassVar[str] = "sequential-mnist"
    title: ClassVar[str] = "sequential MNIST"
    results: ClassVar[Mapping[str, float]] = {"lstm": 87.2, "gru": 96.2, "rnn": 21.5, "tcn": 99.0}


class PermutedMnist(_PixelMnist):
    """Pixels in one order drawn from the `fixed` seed: the same for all images, models and repetitions of a study.

    The released code draws it from an unseeded generator, so the order behind Table 1 is unknown; see `permutation`.
    """

    name: ClassVar[str] = "permuted-mnist"
    title: ClassVar[str] = "permuted MNIST"
    results: ClassVar[Mapping[str, float]] = {"lstm": 85.7, "gru": 87.3, "rnn": 25.3, "tcn": 97.2}

    def order_seed(self, seeds: Seeds) -> int | None:
        return seeds.fixed

    def fixed(self, seeds: Seeds) -> dict[str, tuple[int, ...]]:
        return {"permutation": tuple(permutation(seeds).tolist())}


def permutation(seeds: Seeds) -> npt.NDArray[np.int64]:
    """Return (784,): the pixel, counted row by row, that permuted MNIST shows at each step.

    It depends only on `seeds.fixed`, which is stored with every trial: `permutation(trial.seeds)` is the order of that
    trial, on any machine.
    """
    return _drawn_order(STEPS, seeds.fixed)


def read_idx(path: Path, shape: tuple[int, ...]) -> Bytes:
    """Return the bytes of a gzipped IDX file of this shape, without allocating more memory than they need.

    The format is: two zero bytes, 8 for unsigned bytes, the number of dimensions, each dimension as a big-endian int32,
    the bytes.  Raises DataError if the file does not have this shape.
    """
    try:
        with gzip.open(path) as stream:
            header = stream.read(4 + 4 * len(shape))
            if header != _idx_header(shape):
                raise DataError(f"{path}: begins with {header.hex() or 'nothing'}; {_expected(shape)}")
            content = np.empty(math.prod(shape), dtype=np.uint8)
            count = _fill(content, stream)
            if count < len(content) or stream.read(1):
                held = f"{count:,}" if count < len(content) else f"more than {count:,}"
                raise DataError(f"{path}: holds {held} bytes after its header; {_expected(shape)}")
    except (OSError, EOFError, zlib.error) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(f"{path}: cannot be unpacked ({what}); {_expected(shape)}") from error
    return content.reshape(shape)


def _idx_header(shape: tuple[int, ...]) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def _expected(shape: tuple[int, ...]) -> str:
    size = " x ".join(f"{side:,}" for side in shape)
    return f"an IDX file of {size} unsigned bytes begins with {_idx_header(shape).hex()} and holds that many"


def _fill(content: Bytes, stream: gzip.GzipFile) -> int:
    """Read until `content` is full or the stream ends; return the number of bytes read."""
    count = 0
    # In parts, because gzip's `readinto` first reads all requested bytes and then copies them.
    while more := stream.readinto(content[count : count + PART].data):
        count += more
    return count


def _parse(files: Mapping[str, Path]) -> Iterator[tuple[str, Bytes]]:
    """Yield images (count, 784) and labels (count,), those of training in one fixed random order.

    Neighbours in the official training files are by the same hand (the ink of images two apart correlates by 0.27
    within a digit), so a run of them would not be a fair sample; in this order any run is one.
    """
    order = _drawn_order(TRAINING + VALIDATION, 0)
    images = read_idx(files[TRAIN_IMAGES.name], (len(order), SIDE, SIDE)).reshape(-1, STEPS)
    _reorder(images, order)
    yield "train-images", images
    del images  # otherwise it would stay in memory with the test images
    yield "train-labels", read_idx(files[TRAIN_LABELS.name], (len(order),))[order]
    yield "test-images", read_idx(files[TEST_IMAGES.name], (TEST, SIDE, SIDE)).reshape(-1, STEPS)
    yield "test-labels", read_idx(files[TEST_LABELS.name], (TEST,))


def _reorder(images: Bytes, order: npt.NDArray[np.int64]) -> None:
    """Compute images[order] in place, one row of pixels at a time: a copy would double the memory."""
    for first in range(0, STEPS, SIDE):
        images[:, first : first + SIDE] = images[order, first : first + SIDE]


def _drawn_order(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a permutation of range(count).

    It uses the raw stream of a bit generator, which NumPy keeps the same in all versions, unlike
    `Generator.permutation` (NEP 19).
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def _cut(rows: Rows, split: Split, seeds: Seeds) -> Rows:
    """Return the stored rows of a split; validation is a run of rows whose start is drawn from `seeds.data`."""
    if split == "test":
        return rows
    start = derive(seeds.data, "mnist", "validation") % (len(rows) - VALIDATION + 1)
    return rows[start : start + VALIDATION] if split == "validation" else _without_run(rows, start, VALIDATION)


def _without_run(rows: Rows, start: int, count: int) -> Rows:
    """Return all rows except `count` rows from `start`.

    At most `count` of the last rows are written over them, which copies only their pages.
    """
    kept = len(rows) - count
    moved = min(count, kept - start)
    rows[start : start + moved] = rows[len(rows) - moved :]
    return rows[:kept]


def _prepare(batch: Batch, *, order_seed: int | None) -> Batch:
    """Convert pixels, (batch, 784, 1) uint8, to inputs: in the task's order, float32, mean 0, deviation 1."""
    pixels = batch.inputs
    if order_seed is not None:
        pixels = pixels.index_select(1, _order_on(pixels.device, order_seed))
    return Batch((pixels.float() / 255 - MEAN) / DEVIATION, batch.targets)


@lru_cache(maxsize=4)
def _order_on(device: torch.device, seed: int) -> Tensor:
    """Return (784,) int64, moved to the device once instead of for each batch."""
    return torch.from_numpy(_drawn_order(STEPS, seed)).to(device)
