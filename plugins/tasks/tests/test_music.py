"""Polyphonic music: the loss against closed forms, the splits against the published counts."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.io import loadmat, savemat
from torch import Tensor

from harness import Batch, Bits, Ragged, Real, Seeds, Signature, Split, Task
from harness.api.dataset import SPLITS
from harness.data.files import DATA, locate
from harness.errors import DataError
from harness_tasks import JsbChorales, Nottingham, PianoRolls, frame_floors

SEEDS = Seeds.of(0, 0)
TASKS: list[PianoRolls] = [JsbChorales(), Nottingham()]
both = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
needs_data = pytest.mark.skipif(DATA not in os.environ, reason=f"reads the music files below {DATA}")


def load(task: Task, split: Split) -> Ragged:
    data = task.load(split, SEEDS, {file.name: locate(file) for file in task.files()})
    assert isinstance(data, Ragged)
    return data


def roll(frames: int, seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 2, size=(frames, 88), dtype=np.uint8)


def write_mat(path: Path, variable: str, cells: list[npt.NDArray[np.uint8]]) -> dict[str, Path]:
    """A file in the form of the released ones, under the name that JSB Chorales asks for."""
    array = np.empty((1, len(cells)), dtype=object)
    array[0, :] = cells
    savemat(path, {variable: array})
    return {"music/JSB_Chorales.mat": path}


def nll(output: Tensor, batch: Batch) -> tuple[float, int]:
    total = JsbChorales().loss(output, batch)["nll"]
    return float(total.sum), int(total.count)


def random_batch(lengths: list[int]) -> tuple[Tensor, Batch]:
    """Logits and a batch of these lengths, padded with zeros."""
    generator = torch.Generator().manual_seed(len(lengths))
    shape = (len(lengths), max(lengths), 88)
    keys = torch.randint(0, 2, shape, generator=generator).float()
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    keys = keys * mask[..., None]
    return torch.randn(shape, generator=generator), Batch(keys, keys, torch.tensor(lengths))


def test_signatures_and_metric_are_those_of_the_paper() -> None:
    assert JsbChorales().signature() == Signature(Real(88), Bits(88), length=159, readout="each")
    assert Nottingham().signature() == Signature(Real(88), Bits(88), length=1792, readout="each")
    metric = JsbChorales().metric
    assert (metric.name, metric.unit, metric.better, metric.scale) == ("nll", "nats/frame", "lower", "linear")
    assert metric.of({"nll": (30.0, 4.0)}) == 7.5


def test_loss_of_zero_logits_is_88_ln_2_a_frame() -> None:
    total, count = nll(torch.zeros(2, 5, 88), Batch(torch.zeros(2, 5, 88), roll_batch(2, 5)))
    assert count == 10
    assert total == pytest.approx(10 * 88 * math.log(2))


def roll_batch(count: int, frames: int) -> Tensor:
    return torch.from_numpy(np.stack([roll(frames, seed) for seed in range(count)])).float()


def test_loss_is_the_cross_entropy_of_the_keys() -> None:
    logits, batch = random_batch([4, 4])
    probability = torch.sigmoid(logits.double())
    expected = -torch.where(batch.targets == 1, probability, 1 - probability).log().sum()
    assert nll(logits, Batch(batch.inputs, batch.targets))[0] == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("rubbish", [1e4, -1e4, math.inf, -math.inf, math.nan])
def test_padding_leaks_into_neither_loss_nor_gradient(rubbish: float) -> None:
    logits, batch = random_batch([3, 7, 1])
    mask = batch.mask
    assert mask is not None
    expected = sum(
        nll(logits[i : i + 1, :length], Batch(batch.inputs[i : i + 1], batch.targets[i : i + 1, :length]))[0]
        for i, length in enumerate([3, 7, 1])
    )
    for targets in (batch.targets, batch.targets.masked_fill(~mask[..., None], rubbish)):
        output = logits.masked_fill(~mask[..., None], rubbish).requires_grad_()
        total = JsbChorales().loss(output, Batch(batch.inputs, targets, batch.lengths))["nll"]
        (gradient,) = torch.autograd.grad(total.sum, output)
        assert float(total.sum.detach()) == pytest.approx(expected, rel=1e-6)
        assert int(total.count) == 11
        assert not gradient[~mask].any()
        torch.testing.assert_close(gradient[mask], (torch.sigmoid(logits) - batch.targets)[mask])


def test_totals_do_not_depend_on_batch_size() -> None:
    lengths = [3, 7, 1, 5, 7]
    logits, batch = random_batch(lengths)
    whole = nll(logits, batch)
    parts = [
        nll(
            logits[i : i + 2],
            Batch(batch.inputs[i : i + 2], batch.targets[i : i + 2], torch.tensor(lengths[i : i + 2])),
        )
        for i in (0, 2, 4)
    ]
    assert sum(count for _, count in parts) == whole[1] == sum(lengths)
    assert sum(total for total, _ in parts) == pytest.approx(whole[0], rel=1e-6)


@pytest.mark.parametrize("logit", [1e4, -1e4])
@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 2])], ids=["full", "ragged"])
def test_extreme_logits_lose_finitely(logit: float, lengths: Tensor | None) -> None:
    output = torch.full((2, 3, 88), logit, requires_grad=True)
    targets = torch.full((2, 3, 88), 0.0 if logit > 0 else 1.0)  # always wrong
    total = JsbChorales().loss(output, Batch(targets, targets, lengths))["nll"]
    frames = 6 if lengths is None else 5
    assert float(total.sum.detach()) == pytest.approx(frames * 88 * 1e4)
    (gradient,) = torch.autograd.grad(total.sum, output)
    assert bool(gradient.isfinite().all())


def test_loss_reads_no_value_back_from_the_device() -> None:
    meta = torch.zeros(2, 3, 88, device="meta")  # has no values to read
    for lengths in (None, torch.zeros(2, dtype=torch.int64, device="meta")):
        total = JsbChorales().loss(meta, Batch(meta, meta, lengths))["nll"]
        assert total.sum.device.type == "meta"


def test_load_shifts_each_piece_by_one_frame(tmp_path: Path) -> None:
    pieces = [roll(4, 0), roll(2, 1), roll(6, 2)]
    data = JsbChorales().load("validation", SEEDS, write_mat(tmp_path / "a.mat", "validdata", pieces))
    assert data.lengths.tolist() == [3, 1, 5]
    assert data.inputs.dtype == data.targets.dtype == torch.float32
    for start, length, piece in zip(data.starts.tolist(), data.lengths.tolist(), pieces, strict=True):
        assert np.array_equal(data.inputs[start : start + length].numpy(), piece[:-1])
        assert np.array_equal(data.targets[start : start + length].numpy(), piece[1:])


def test_file_of_another_form_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    files = {"music/JSB_Chorales.mat": path}
    for content in (b"", b"not a mat file", b"\x00" * 500, bytes(range(256)) * 4):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.mat: no variable 'traindata' of piano rolls") as caught:
            JsbChorales().load("train", SEEDS, files)
        assert "\n" not in str(caught.value)


def test_file_cut_off_is_an_error(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "a.mat", "traindata", [roll(40, 0)])["music/JSB_Chorales.mat"]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="no variable 'traindata' of piano rolls"):
        JsbChorales().load("train", SEEDS, {"music/JSB_Chorales.mat": path})


def test_file_without_the_split_is_an_error(tmp_path: Path) -> None:
    files = write_mat(tmp_path / "a.mat", "traindata", [roll(4, 0)])
    with pytest.raises(DataError, match="no variable 'testdata'"):
        JsbChorales().load("test", SEEDS, files)


@pytest.mark.parametrize("shape", [(5, 87), (1, 88), (0, 88)])
def test_piece_of_another_shape_is_an_error(tmp_path: Path, shape: tuple[int, int]) -> None:
    files = write_mat(tmp_path / "a.mat", "traindata", [roll(4, 0), np.zeros(shape, dtype=np.uint8)])
    with pytest.raises(DataError, match=r"traindata 1 is \(.*\); a piano roll is \(frames > 1, 88\)"):
        JsbChorales().load("train", SEEDS, files)


# Sequences, frames before the shift, and shortest and longest piece of any split: counts of the released files.
COUNTS = [
    (JsbChorales(), (229, 76, 77), (13_807, 4_602, 4_725), (25, 160)),
    (Nottingham(), (694, 173, 170), (176_561, 45_513, 44_463), (40, 1793)),
]


@needs_data
@pytest.mark.parametrize(("task", "sequences", "frames", "extent"), COUNTS, ids=["jsb-chorales", "nottingham"])
def test_splits_have_the_released_counts(
    task: Task, sequences: tuple[int, ...], frames: tuple[int, ...], extent: tuple[int, int]
) -> None:
    splits = [load(task, split) for split in SPLITS]
    assert tuple(len(split) for split in splits) == sequences
    assert tuple(len(split.inputs) + len(split) for split in splits) == frames
    lengths = torch.cat([split.lengths for split in splits]) + 1
    assert (int(lengths.min()), int(lengths.max())) == extent
    assert task.training_sequences() == len(splits[0])
    assert task.signature().length == int(lengths.max()) - 1


@needs_data
@both
def test_frames_are_bits_shifted_by_one(task: Task) -> None:
    content = loadmat(locate(task.files()[0]))["testdata"][0]
    data = load(task, "test")
    assert set(data.inputs.flatten().tolist()) == {0.0, 1.0}
    for start, length, piece in zip(data.starts.tolist(), data.lengths.tolist(), content, strict=True):
        assert np.array_equal(data.inputs[start : start + length].numpy(), piece[:-1])
        assert np.array_equal(data.targets[start : start + length].numpy(), piece[1:])


@needs_data
@both
@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_rule_of_single_keys_beats_the_floor(task: Task, split: Split) -> None:
    """Neither the frequency of a key nor its frequency given its present value: the floor has all keys of the frame."""
    train, held_out = load(task, "train"), load(task, split)
    floor = task.floor() if split == "test" else task.validation_floor()
    assert floor is not None
    on, following = train.inputs.double(), train.targets.double()
    overall = (following.sum(0) + 0.5) / (len(on) + 1)
    after_on = ((on * following).sum(0) + 0.5) / (on.sum(0) + 1)
    after_off = (((1 - on) * following).sum(0) + 0.5) / ((1 - on).sum(0) + 1)
    rules = (overall.expand_as(held_out.inputs), torch.where(held_out.inputs == 1, after_on, after_off))
    for chance in rules:
        total = task.loss(torch.logit(chance)[None], Batch(held_out.inputs[None], held_out.targets[None]))["nll"]
        assert float(total.sum) / int(total.count) > floor + 0.5


@needs_data
@both
def test_published_results_beat_the_floor(task: Task) -> None:
    published, floor = task.published(), task.floor()
    assert published is not None
    assert floor is not None
    assert all(result < floor for result in published.results.values())


@needs_data
@pytest.mark.slow
@pytest.mark.timeout(600)
@both
def test_floors_are_those_of_the_rule_on_the_present_frame(task: PianoRolls) -> None:
    rolls = [task.rolls(split, {file.name: locate(file) for file in task.files()}) for split in SPLITS]
    assert frame_floors(*rolls) == pytest.approx(task.floors, rel=1e-5)


def test_floor_of_frames_that_repeat_is_small_and_of_unrelated_frames_that_of_coins() -> None:
    """88 fair coins: 88 ln 2 nats per frame, if the frame before says nothing."""
    coins = [[roll(200, 3 * piece + split) for piece in range(10)] for split in range(3)]
    held = [[np.repeat(piece[:20], 10, axis=0) for piece in split] for split in coins]
    unrelated, repeated = frame_floors(*coins), frame_floors(*held)
    assert unrelated == pytest.approx((88 * math.log(2),) * 2, rel=0.05)
    assert max(repeated) < 0.6 * min(unrelated)


@needs_data
def test_corrupt_file_never_reaches_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = JsbChorales().files()[0]
    content = bytearray(locate(file).read_bytes())
    content[5000] ^= 1
    copy = tmp_path / file.name
    copy.parent.mkdir()
    copy.write_bytes(content)
    monkeypatch.setenv(DATA, str(tmp_path))
    with pytest.raises(DataError, match=f"sha256 {file.sha256}"):
        load(JsbChorales(), "train")
