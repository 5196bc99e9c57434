"""Pixel-by-pixel MNIST: the file format by hand-made files, splits and memory on made-up images, counts on the real."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from harness import Arrays, Batch, Classes, Real, Seeds, Signature, Split, Task
from harness.api.dataset import SPLITS, sample
from harness.data.files import CACHE, DATA, locate
from harness.errors import DataError
from harness.plugin.loader import load_plugins
from harness.study.budget import count_at
from harness.training.batches import evaluation_batches
from harness_tasks import PermutedMnist, SequentialMnist
from harness_tasks.pixel_mnist import FILES, _drawn_order, _without_run, permutation, read_idx

SEEDS = Seeds.of(0, 0)
TASKS: list[Task] = [SequentialMnist(), PermutedMnist()]
COUNTS: dict[Split, int] = {"train": 55_000, "validation": 5_000, "test": 10_000}
both = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
needs_data = pytest.mark.skipif(DATA not in os.environ, reason=f"reads the MNIST files below {DATA}")
needs_proc = pytest.mark.skipif(not os.access("/proc/self/smaps", os.R_OK), reason="reads /proc, which is Linux's")

Files = dict[str, Path]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(CACHE, str(folder))
        yield folder


def write_idx(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Path:
    """As the official files: big-endian sizes after a magic number, gzipped."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Files of the official shapes, whose image i holds i in its first three pixels and has the label i % 10."""
    folder = tmp_path_factory.mktemp("made")
    files = {}
    for images, labels, count in ((*FILES[:2], 60_000), (*FILES[2:], 10_000)):
        numbers = np.arange(count)
        pixels = np.zeros((count, 28, 28), dtype=np.uint8)
        pixels[:, 0, 0], pixels[:, 0, 1], pixels[:, 0, 2] = numbers // 2**16, numbers // 2**8 % 2**8, numbers % 2**8
        files[images.name] = write_idx(folder / f"images-{count}", pixels)
        files[labels.name] = write_idx(folder / f"labels-{count}", (numbers % 10).astype(np.uint8))
    return files


def official() -> Files:
    return {file.name: locate(file) for file in FILES}


def load(task: Task, split: Split, files: Files, seeds: Seeds = SEEDS) -> Arrays:
    data = task.load(split, seeds, files)
    assert isinstance(data, Arrays)
    return data


def numbers(data: Arrays) -> Tensor:
    """Which images of the made files a split holds, in its order."""
    return (data.inputs[:, :3, 0].long() * torch.tensor([2**16, 2**8, 1])).sum(1)


def first_batch(data: Arrays, size: int = 100) -> Batch:
    return next(evaluation_batches(data, batch_size=size, device=torch.device("cpu")))


# The form of the files.


@pytest.mark.parametrize("shape", [(3, 28, 28), (7,), (0,), (2, 3, 2, 2), (3, 1024, 1024)])
def test_idx_file_comes_back_as_it_was_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    read = read_idx(write_idx(tmp_path / "a.gz", array), shape)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


def test_idx_header_is_that_of_the_official_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes.fromhex("00000803 00000002 00000001 00000002") + b"\x05\x06\x07\x08"))
    assert read_idx(path, (2, 1, 2)).tolist() == [[[5, 6]], [[7, 8]]]


LABELS = bytes.fromhex("00000801 00000003")
FAULTS = {
    "empty": (b"", r"cannot be unpacked|begins with nothing"),
    "not gzip": (LABELS + b"\1\2\3", r"cannot be unpacked \(BadGzipFile: .+\)"),
    "gzip cut off": (gzip.compress(LABELS + os.urandom(3))[:-9], r"cannot be unpacked \(EOFError: .+\)"),
    "gzip damaged": (gzip.compress(LABELS + b"\1\2\3")[:-8] + bytes(8), r"cannot be unpacked \(BadGzipFile: CRC .+\)"),
    "deflate damaged": (gzip.compress(b"")[:10] + b"\xff" * 40, r"cannot be unpacked \(error: .+\)"),
    "no content": (gzip.compress(b""), r"begins with nothing"),
    "header cut off": (gzip.compress(LABELS[:6]), r"begins with 000008010000"),
    "another type": (gzip.compress(b"\0\0\x0d\1" + LABELS[4:] + b"\1\2\3"), r"begins with 00000d0100000003"),
    "images for labels": (gzip.compress(b"\0\0\x08\3" + LABELS[4:] + bytes(30)), r"begins with 0000080300000003"),
    "another count": (gzip.compress(LABELS[:7] + b"\4" + bytes(4)), r"begins with 0000080100000004"),
    "too short": (gzip.compress(LABELS + b"\1\2"), r"holds 2 bytes after its header"),
    "too long": (gzip.compress(LABELS + b"\1\2\3\4"), r"holds more than 3 bytes after its header"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_idx_file_of_another_form_is_an_error_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{path}: ({message}).*; an IDX file of 3 unsigned bytes begins") as caught:
        read_idx(path, (3,))
    assert "\n" not in str(caught.value)


def test_file_of_fewer_images_is_an_error(tmp_path: Path, made: Files) -> None:
    path = write_idx(tmp_path / "few.gz", np.zeros((50_000, 28, 28), dtype=np.uint8))
    with pytest.raises(DataError, match=r"few\.gz: begins with .*; an IDX file of 60,000 x 28 x 28 unsigned bytes"):
        load(SequentialMnist(), "train", {**made, FILES[0].name: path})


# Splits.


@both
def test_signature_is_one_pixel_a_step_and_one_answer(task: Task) -> None:
    assert task.signature() == Signature(Real(1), Classes(10), length=784, readout="last", dependency=784)
    assert task.training_sequences() == COUNTS["train"]


@both
@pytest.mark.parametrize("split", SPLITS)
def test_split_holds_bytes_in_the_order_of_the_files(task: Task, split: Split, made: Files) -> None:
    data = load(task, split, made)
    assert data.inputs.shape == (COUNTS[split], 784, 1)
    assert data.inputs.dtype == torch.uint8
    assert data.targets.dtype == torch.int64
    assert torch.equal(data.targets, numbers(data) % 10)


@pytest.mark.parametrize("stream", range(6))
def test_training_and_validation_share_no_image_and_leave_none_out(stream: int, made: Files) -> None:
    seeds = Seeds.of(1, stream)
    parts = [numbers(load(SequentialMnist(), split, made, seeds)) for split in ("train", "validation")]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(60_000))


def test_test_split_is_the_official_one(made: Files) -> None:
    for seeds in (SEEDS, Seeds.of(5, 3)):
        assert torch.equal(numbers(load(PermutedMnist(), "test", made, seeds)), torch.arange(10_000))


def test_validation_follows_from_the_data_seed_alone(made: Files) -> None:
    def held_out(task: Task, seeds: Seeds) -> set[int]:
        return set(numbers(load(task, "validation", made, seeds)).tolist())

    mine = held_out(SequentialMnist(), SEEDS)
    others = {"fixed": 1, "order": 2, "init": 3, "noise": 4}
    assert held_out(PermutedMnist(), SEEDS.model_copy(update=others)) == mine
    cuts = [mine, *(held_out(SequentialMnist(), Seeds.of(0, stream)) for stream in range(1, 5))]
    assert all(cut != other for i, cut in enumerate(cuts) for other in cuts[:i])


def test_validation_is_a_sample_of_all_of_the_training_images(made: Files) -> None:
    held_out = numbers(load(SequentialMnist(), "validation", made))
    # Drawn without replacement, so counts vary less than chi-square allows; neighbours in the file stay apart.
    assert chisquare(torch.histc(held_out.float(), 12, 0, 60_000)).pvalue > 0.01
    apart = held_out.sort().values.diff()
    assert float((apart == 1).float().mean()) == pytest.approx(5_000 / 60_000, abs=0.015)


@pytest.mark.parametrize("start", range(9))
def test_rows_without_a_run_are_all_others_once(start: int) -> None:
    rows = np.arange(12)
    rest = _without_run(rows, start, 4)
    assert sorted(rest) == [row for row in range(12) if not start <= row < start + 4]


@both
def test_training_writes_to_no_page_of_the_next_load(task: Task, made: Files) -> None:
    before = [load(task, split, made).inputs.clone() for split in SPLITS]
    assert all(
        torch.equal(load(task, split, made).inputs, inputs) for split, inputs in zip(SPLITS, before, strict=True)
    )


@both
def test_loading_leaves_global_random_state_untouched(task: Task, made: Files) -> None:
    before = torch.get_rng_state(), np.random.get_state(legacy=False)
    load(task, "train", made)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_equal(np.random.get_state(legacy=False), before[1])


IN_ANOTHER_PROCESS = """
import hashlib, sys
from pathlib import Path
import torch
from harness import Seeds
from harness.training.batches import evaluation_batches
from harness_tasks import PermutedMnist
from harness_tasks.pixel_mnist import FILES
files = dict(zip((file.name for file in FILES), map(Path, sys.argv[1:]), strict=True))
for split in ("train", "validation", "test"):
    data = PermutedMnist().load(split, Seeds.of(0, 0), files)
    batch = next(evaluation_batches(data, batch_size=100, device=torch.device("cpu")))
    print(hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest())
"""


def test_same_seeds_give_the_same_batches_in_another_process(made: Files) -> None:
    batches = [first_batch(load(PermutedMnist(), split, made)) for split in SPLITS]
    mine = [
        hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()
        for batch in batches
    ]
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, *(str(made[file.name]) for file in FILES)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == mine


# What the network sees.


def test_sequence_is_the_image_row_by_row(made: Files) -> None:
    data = load(SequentialMnist(), "test", made)
    batch = first_batch(data)
    pixels = read_idx(made[FILES[2].name], (10_000, 28, 28))[:100]
    seen = (batch.inputs[..., 0].view(100, 28, 28) * 0.3081 + 0.1307) * 255
    assert batch.inputs.shape == (100, 784, 1)
    assert batch.inputs.dtype == torch.float32
    torch.testing.assert_close(seen, torch.from_numpy(pixels).float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("split", SPLITS)
def test_permuted_sequence_is_the_sequence_in_the_permuted_order(split: Split, made: Files) -> None:
    plain, permuted = (first_batch(load(task, split, made)) for task in TASKS)
    assert torch.equal(permuted.inputs, plain.inputs[:, torch.from_numpy(permutation(SEEDS))])
    assert torch.equal(permuted.targets, plain.targets)
    assert not torch.equal(permuted.inputs, plain.inputs)


def test_a_study_keeps_the_permutation_that_its_trials_see() -> None:
    assert PermutedMnist().fixed(SEEDS) == {"permutation": tuple(permutation(SEEDS).tolist())}
    assert SequentialMnist().fixed(SEEDS) == {}


@pytest.mark.parametrize("task", [SequentialMnist(images=300), PermutedMnist(images=300)], ids=lambda task: task.name)
def test_fewer_images_are_the_first_of_training_and_leave_the_other_splits(task: Task, made: Files) -> None:
    whole = type(task)()
    assert numbers(load(task, "train", made)).tolist() == numbers(load(whole, "train", made))[:300].tolist()
    assert torch.equal(load(task, "train", made).targets, load(whole, "train", made).targets[:300])
    for split in ("validation", "test"):
        assert torch.equal(load(task, split, made).inputs, load(whole, split, made).inputs)
    published = task.published()
    assert task.training_sequences() == 300
    assert published is not None
    assert published.results == {}


def test_permutation_is_one_of_the_study() -> None:
    order = permutation(Seeds.of(7, 0))
    assert sorted(order) == list(range(784))
    assert all(np.array_equal(order, permutation(Seeds.of(7, stream))) for stream in range(1, 12))
    assert not np.array_equal(order, permutation(Seeds.of(8, 0)))
    # A random permutation leaves one pixel in its place on average, and seldom more than four.
    assert (order == np.arange(784)).sum() <= 4


def test_permutation_stays_the_same_over_time() -> None:
    """What a stored seed stands for: studies that are recorded refer to it."""
    order = permutation(Seeds.of(0, 0))
    assert order[:8].tolist() == [690, 695, 562, 16, 110, 554, 89, 742]
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16] == "5bee8a20dd280852"


def test_every_order_is_drawn_equally_often() -> None:
    drawn = [tuple(_drawn_order(4, seed)) for seed in range(4800)]
    assert len(set(drawn)) == 24
    assert chisquare([drawn.count(order) for order in set(drawn)]).pvalue > 0.01


# Loss and scores.


def test_metrics_are_accuracy_and_beside_it_nll() -> None:
    metrics = SequentialMnist().metrics()
    assert [(metric.name, metric.unit, metric.better) for metric in metrics] == [
        ("accuracy", "%", "higher"),
        ("nll", "nats", "lower"),
    ]


def scores(output: Tensor, targets: Tensor) -> dict[str, float]:
    task = SequentialMnist()
    totals = task.loss(output, Batch(torch.zeros(len(targets), 784, 1), targets))
    sums = {name: (float(total.sum), float(total.count)) for name, total in totals.items()}
    return {metric.name: metric.of(sums) for metric in task.metrics()}


def test_scores_against_closed_forms() -> None:
    targets = torch.tensor([0, 3, 3, 9])
    assert scores(torch.zeros(4, 10), targets) == pytest.approx({"nll": math.log(10), "accuracy": 25})
    sure = 50 * torch.nn.functional.one_hot(torch.tensor([0, 3, 4, 9]), 10).double()
    assert scores(sure, targets) == pytest.approx({"nll": 50 / 4, "accuracy": 75})


def test_nll_alone_trains() -> None:
    output = torch.zeros(4, 10, requires_grad=True)
    totals = SequentialMnist().loss(output, Batch(torch.zeros(4, 784, 1), torch.tensor([0, 3, 3, 9])))
    assert next(iter(totals)) == "nll"
    assert [total.sum.requires_grad for total in totals.values()] == [True, False]
    (gradient,) = torch.autograd.grad(totals["nll"].sum, output)
    assert gradient[0].tolist() == pytest.approx([-0.9] + [0.1] * 9)


def test_totals_do_not_depend_on_batch_size() -> None:
    output = torch.randn(12, 10, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.zeros(12, 784, 1), torch.arange(12) % 10)
    whole = PermutedMnist().loss(output, batch)
    parts = [
        PermutedMnist().loss(output[i : i + 5], Batch(batch.inputs[i : i + 5], batch.targets[i : i + 5]))
        for i in (0, 5, 10)
    ]
    for name, total in whole.items():
        assert sum(int(part[name].count) for part in parts) == total.count == 12
        assert sum(float(part[name].sum) for part in parts) == pytest.approx(float(total.sum), rel=1e-6)


def test_loss_reads_no_value_back_from_the_device() -> None:
    output = torch.zeros(3, 10, device="meta")  # has no values to read
    batch = Batch(torch.zeros(3, 784, 1, device="meta"), torch.zeros(3, dtype=torch.int64, device="meta"))
    assert {total.sum.device.type for total in SequentialMnist().loss(output, batch).values()} == {"meta"}


@both
def test_published_size_is_that_of_the_published_tcn(task: Task) -> None:
    models = load_plugins().registry.models
    published = task.published()
    if "tcn" not in models:
        pytest.skip("the model comes with seqharness-models")
    setting = models["tcn"].value.published(task.row())
    assert published is not None
    assert setting is not None
    size = count_at(models["tcn"].value, task.signature(), setting.widths, setting.params)
    assert size.parameters == published.parameters == 66_910


# Memory, on the made files: their arrays are as large as the real ones.

RAW_BYTES = 70_000 * (784 + 1)
VALIDATION_BYTES = 5_000 * 784

# Its own import of torch and a first batch come before the measurement: what they touch is no data.
EPOCH = """
import re, sys
from functools import partial
from pathlib import Path
import torch
from harness import Arrays, Seeds
from harness.training.batches import evaluation_batches, training_batches
from harness_tasks import PermutedMnist
from harness_tasks.pixel_mnist import FILES, _prepare

files = dict(zip((file.name for file in FILES), map(Path, sys.argv[2:]), strict=True))
seeds, cpu = Seeds.of(0, int(sys.argv[1])), torch.device("cpu")
torch.set_num_threads(1)

def kibibytes(name):
    return int(re.search(rf"{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def iterate(train, others):
    batches = training_batches(train, batch_size=64, order_seed=0, device=cpu)
    for update in range(batches.per_epoch):
        batches.at(update)
    for data in others:
        for _ in evaluation_batches(data, batch_size=64, device=cpu):
            pass

prepare = partial(_prepare, order_seed=1)
small = Arrays(torch.zeros(256, 784, 1, dtype=torch.uint8), torch.zeros(256, dtype=torch.int64), prepare)
iterate(small, [small])
Path("/proc/self/clear_refs").write_text("5")
before = kibibytes("VmRSS")
kept = [PermutedMnist().load(split, seeds, files) for split in ("train", "validation", "test")]
iterate(kept[0], kept[1:])
growth = 1024 * (kibibytes("VmHWM") - before)
"""


@needs_proc
def test_epoch_stays_within_one_and_a_half_times_the_raw_arrays(made: Files, tmp_path: Path) -> None:
    """The peak, in the process that parses them too."""
    command = [sys.executable, "-c", EPOCH + "print(growth)", "0", *(str(made[file.name]) for file in FILES)]
    environment = {**os.environ, CACHE: str(tmp_path)}
    growth = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout)
    assert RAW_BYTES < growth < 1.5 * RAW_BYTES


HOLD = """
print("ready", flush=True)
input()
maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
ours = [entry for entry in maps if "/parsed/mnist-" in entry]
print(sum(1024 * int(re.search(r"Pss: +(\\d+) kB", entry)[1]) for entry in ours), flush=True)
input()
"""


@needs_proc
def test_two_workers_hold_the_images_once(made: Files) -> None:
    """Pss counts a page that n processes map as 1/n of it; each has its own of the images it overwrites."""
    load(PermutedMnist(), "train", made)  # parsed, so that neither has to
    paths = [str(made[file.name]) for file in FILES]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", EPOCH + HOLD, stream, *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for stream in ("1", "2")
    ]
    held = []
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        held.append(int(process.stdout.readline()))
    for process in running:
        process.communicate("\n", timeout=60)
    assert RAW_BYTES < sum(held) < RAW_BYTES + 2 * VALIDATION_BYTES + 2**20


# The official files.


@needs_data
@both
def test_official_files_have_the_official_counts(task: Task) -> None:
    data = {split: load(task, split, official()) for split in SPLITS}
    assert {split: len(part) for split, part in data.items()} == COUNTS
    digits = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert torch.bincount(data["test"].targets).tolist() == digits
    training = torch.bincount(torch.cat([data["train"].targets, data["validation"].targets]))
    assert training.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@needs_data
def test_images_and_labels_stay_together() -> None:
    images = read_idx(locate(FILES[0]), (60_000, 28, 28)).reshape(-1, 784)
    labels = read_idx(locate(FILES[1]), (60_000,))
    pairs = zip(images, labels, strict=True)
    expected = sorted(hashlib.md5(bytes([label]) + image.tobytes()).digest() for image, label in pairs)
    parts = [load(SequentialMnist(), split, official()) for split in ("train", "validation")]
    seen = sorted(
        hashlib.md5(bytes([int(label)]) + image.tobytes()).digest()
        for part in parts
        for image, label in zip(part.inputs.numpy(), part.targets, strict=True)
    )
    assert seen == expected


def correlation_of_ink(images: Tensor, labels: Tensor) -> float:
    """Of the mean pixel of images two apart, relative to that of their digit."""
    ink = images.flatten(1).float().mean(1)
    for digit in range(10):
        ink[labels == digit] -= ink[labels == digit].mean()
    return float((ink[2:] * ink[:-2]).mean() / ink.square().mean())


@needs_data
def test_neighbours_are_by_the_same_hand_in_the_files_and_not_as_they_are_stored() -> None:
    images = torch.from_numpy(read_idx(locate(FILES[0]), (60_000, 28, 28)))
    labels = torch.from_numpy(read_idx(locate(FILES[1]), (60_000,)))
    data = load(SequentialMnist(), "train", official())
    assert correlation_of_ink(images, labels) == pytest.approx(0.27, abs=0.005)
    assert correlation_of_ink(data.inputs, data.targets) == pytest.approx(0, abs=4 / math.sqrt(55_000))


@needs_data
@both
def test_training_pixels_have_mean_0_and_deviation_1(task: Task) -> None:
    # The constants are those of the 60,000 images, to four digits.
    total = square = 0.0
    for split in ("train", "validation"):
        for batch in evaluation_batches(load(task, split, official()), batch_size=5_000, device=torch.device("cpu")):
            total += float(batch.inputs.sum(dtype=torch.float64))
            square += float(batch.inputs.square().sum(dtype=torch.float64))
    mean = total / (60_000 * 784)
    assert mean == pytest.approx(0, abs=2e-4)
    assert math.sqrt(square / (60_000 * 784) - mean**2) == pytest.approx(1, abs=2e-4)


@needs_data
@both
def test_floor_is_the_accuracy_of_the_most_frequent_digit(task: Task) -> None:
    targets = load(task, "test", official()).targets
    training = load(task, "train", official()).targets
    digit = int(torch.bincount(training).argmax())
    answer = torch.nn.functional.one_hot(torch.full_like(targets, digit), 10).float()
    assert scores(answer, targets)["accuracy"] == pytest.approx(task.floor(), rel=1e-6)
    few = sample(load(task, "test", official()), 50, 0)
    assert isinstance(few, Arrays)
    assert task.sample_floor(few, few) == 100 * float((few.targets == digit).double().mean())
    drawn = torch.cat([load(task, split, official()).targets for split in ("train", "validation")])
    assert task.validation_floor() == pytest.approx(100 * float((drawn == digit).double().mean()))
    published = task.published()
    assert published is not None
    assert all(result > 11.35 for result in published.results.values())
