"""Batches: what an epoch holds, and that a batch is a function of the update alone."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.api.dataset import Arrays, Batch, Dataset, Ragged
from harness.training.batches import StreamBatches, TrainingBatches, evaluation_batches, training_batches

CPU = torch.device("cpu")


def arrays(count: int) -> Arrays:
    """Sequence i holds 3 steps of the number i + 1, and aims at it."""
    numbers = torch.arange(1, count + 1)
    return Arrays(numbers[:, None, None].expand(count, 3, 2).float(), numbers)


def ragged(lengths: list[int]) -> Ragged:
    """Sequence i holds frames (i + 1, step + 1), and its targets are ten times those."""
    frames = [(i + 1, step + 1) for i, length in enumerate(lengths) for step in range(length)]
    inputs = torch.tensor(frames).float()
    return Ragged(inputs, 10 * inputs, torch.tensor(lengths))


def lengths_drawn(count: int) -> list[int]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 60, (count,), generator=generator).tolist()


def train(dataset: Dataset, batch_size: int, seed: int = 1) -> TrainingBatches | StreamBatches:
    return training_batches(dataset, batch_size=batch_size, order_seed=seed, device=CPU)


def epoch(batches: TrainingBatches | StreamBatches, number: int = 0) -> list[Batch]:
    first = number * batches.per_epoch
    return [batches.at(update) for update in range(first, first + batches.per_epoch)]


def names(batch: Batch) -> list[int]:
    """Which sequences are in a batch: the number in their first frame."""
    return [int(value) for value in batch.inputs[:, 0, 0]]


def same(first: Batch, second: Batch) -> bool:
    lengths = first.lengths is second.lengths is None or (
        first.lengths is not None and second.lengths is not None and torch.equal(first.lengths, second.lengths)
    )
    return lengths and torch.equal(first.inputs, second.inputs) and torch.equal(first.targets, second.targets)


def real_lengths(batch: Batch) -> Tensor:
    count, time = batch.inputs.shape[:2]
    return torch.full((count,), time) if batch.lengths is None else batch.lengths


DATASETS = [
    pytest.param(arrays(10), id="arrays"),
    pytest.param(ragged([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), id="ragged"),
]


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(("batch_size", "per_epoch"), [(1, 10), (3, 4), (5, 2), (10, 1), (16, 1)])
def test_epoch_holds_every_sequence_once(dataset: Dataset, batch_size: int, per_epoch: int) -> None:
    batches = train(dataset, batch_size)
    assert batches.per_epoch == per_epoch
    for number in range(3):
        seen = [names(batch) for batch in epoch(batches, number)]
        assert sorted(chain(*seen)) == list(range(1, 11))
        assert sorted(len(batch) for batch in seen)[1:] == [batch_size] * (per_epoch - 1)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_epochs_and_seeds_differ_in_order(dataset: Dataset, batch_size: int) -> None:
    orders = [
        [names(batch) for batch in epoch(train(dataset, batch_size, seed), number)]
        for seed in (1, 2)
        for number in (0, 1)
    ]
    assert all(order != other for i, order in enumerate(orders) for other in orders[:i])


@pytest.mark.parametrize("dataset", DATASETS)
def test_batch_depends_on_the_update_alone(dataset: Dataset) -> None:
    straight = [train(dataset, 3).at(update) for update in range(9)]
    batches = train(dataset, 3)
    for update in (8, 0, 5, 4, 8, 1, 7, 2, 3, 6, 0):
        assert same(batches.at(update), straight[update])


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=80), batch_size=st.integers(1, 20), seed=st.integers(0, 9)
)
def test_ragged_epoch_holds_every_frame_once_and_zeros_beside(lengths: list[int], batch_size: int, seed: int) -> None:
    dataset = ragged(lengths)
    batches = train(dataset, batch_size, seed)
    seen = epoch(batches)
    assert len(seen) == batches.per_epoch == -(-len(lengths) // batch_size)
    frames = []
    for batch in seen:
        real = real_lengths(batch)
        mask = torch.arange(batch.inputs.shape[1]) < real[:, None]
        assert batch.inputs.shape[1] == int(real.max())
        assert real.tolist() == [lengths[name - 1] for name in names(batch)]
        assert torch.equal(batch.targets, 10 * batch.inputs)
        assert not batch.inputs[~mask].any()
        frames += [tuple(frame) for frame in batch.inputs[mask].tolist()]
    assert sorted(frames) == [tuple(frame) for frame in dataset.inputs.tolist()]
    padded = sum(batch.inputs.shape[0] * batch.inputs.shape[1] for batch in seen)
    assert batches.padding == pytest.approx(padded / sum(lengths) - 1)


def test_steps_of_a_ragged_sequence_stay_in_order() -> None:
    batch = train(ragged([2, 4]), 2).at(0)
    rows = {int(row[0, 0]): row[:, 1].tolist() for row in batch.inputs}
    assert rows == {1: [1, 2, 0, 0], 2: [1, 2, 3, 4]}
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == real_lengths(batch).tolist()


def test_lengths_are_none_where_all_sequences_of_a_batch_are_equal() -> None:
    assert train(ragged([4, 4, 4]), 3).at(0).lengths is None
    assert train(ragged([4, 4, 5]), 3).at(0).lengths is not None
    assert all(batch.lengths is None for batch in epoch(train(ragged([4, 2, 5]), 1)))


def test_not_a_number_beside_a_sequence_does_not_reach_its_padding() -> None:
    dataset = ragged([1, 3])
    dataset.inputs[1:] = torch.nan  # all of the longer sequence, whose frames follow the shorter's
    batch = train(dataset, 2).at(0)
    shorter = int((real_lengths(batch) == 1).nonzero())
    assert torch.equal(batch.inputs[shorter], torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))


def test_bucketing_pads_less_than_shuffling() -> None:
    lengths = lengths_drawn(700)
    padding = train(ragged(lengths), 16).padding
    assert padding is not None
    shuffled = sum(16 * max(lengths[start : start + 16]) for start in range(0, 700, 16)) / sum(lengths) - 1
    assert 0 < padding < shuffled / 5


def test_bucketing_mixes_companions_and_the_order_of_lengths() -> None:
    batches = train(ragged(list(range(1, 601))), 16)  # no two of one length: one sort over all would never vary
    epochs = [epoch(batches, number) for number in (0, 1)]
    for seen in epochs:
        assert sorted(chain(*map(names, seen))) == list(range(1, 601))
        assert len(seen) == 38
        longest = [batch.inputs.shape[1] for batch in seen]
        descents = sum(length > following for length, following in pairwise(longest))
        assert descents > 9  # 18.5 expected of a random order; 2 where three sorted pools follow each other
    companions = [{tuple(sorted(names(batch))) for batch in seen} for seen in epochs]
    assert not companions[0] & companions[1]


def test_padding_is_zero_at_batch_size_one_and_none_for_arrays() -> None:
    assert train(ragged([3, 1, 4]), 1).padding == 0
    assert train(arrays(4), 2).padding is None


@pytest.mark.parametrize("batch_size", [1, 7, 16, 100])
def test_totals_over_frames_do_not_depend_on_batch_size(batch_size: int) -> None:
    dataset = ragged(lengths_drawn(90))
    for batches in (
        epoch(train(dataset, batch_size)),
        list(evaluation_batches(dataset, batch_size=batch_size, device=CPU)),
    ):
        assert sum(float(batch.targets.double().sum()) for batch in batches) == float(dataset.targets.double().sum())
        assert sum(int(real_lengths(batch).sum()) for batch in batches) == len(dataset.inputs)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 99])
def test_evaluation_of_arrays_is_in_order(batch_size: int) -> None:
    batches = list(evaluation_batches(arrays(10), batch_size=batch_size, device=CPU))
    assert list(chain(*map(names, batches))) == list(range(1, 11))
    assert torch.equal(torch.cat([batch.targets for batch in batches]), torch.arange(1, 11))
    assert [len(batch.inputs) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


def test_evaluation_of_ragged_is_by_length_and_each_once() -> None:
    lengths = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    batches = list(evaluation_batches(ragged(lengths), batch_size=3, device=CPU))
    assert list(chain(*map(names, batches))) == [2, 4, 7, 1, 10, 3, 5, 9, 8, 6]
    assert torch.cat([real_lengths(batch) for batch in batches]).tolist() == sorted(lengths)


def test_tokens_and_targets_of_any_rank_keep_their_type() -> None:
    tokens = Arrays(torch.arange(12).view(4, 3), torch.arange(4.0)[:, None])
    batch = train(tokens, 3).at(0)
    assert batch.inputs.dtype == torch.int64
    assert batch.targets.shape == (3, 1)
    flat = Ragged(torch.ones(5, 2), torch.arange(5), torch.tensor([2, 3]))
    batch = train(flat, 2).at(0)
    assert batch.targets.dtype == torch.int64
    assert batch.targets.shape == (2, 3)


def test_batches_lie_on_the_device_asked_for() -> None:
    meta = torch.device("meta")  # a device without storage: reading any value back from it would raise
    for dataset in (arrays(10), ragged([3, 1, 4])):
        batches = training_batches(dataset, batch_size=2, order_seed=0, device=meta)
        for batch in (*epoch(batches), *evaluation_batches(dataset, batch_size=2, device=meta)):
            assert batch.inputs.device == batch.targets.device == meta
            assert batch.lengths is None or batch.lengths.device == meta


IN_ANOTHER_PROCESS = """
import torch
from harness.training.batches import training_batches
from harness.api.dataset import Arrays, Ragged
lengths = torch.arange(1, 41)
frames = torch.arange(int(lengths.sum())).float()[:, None]
for dataset in (Arrays(torch.arange(40.0)[:, None, None], torch.zeros(40)), Ragged(frames, frames, lengths)):
    batches = training_batches(dataset, batch_size=6, order_seed=5, device=torch.device("cpu"))
    print([batches.at(update).inputs.flatten().tolist() for update in range(9)])
"""


def test_same_seed_gives_the_same_batches_in_other_processes() -> None:
    outputs = {
        subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1000


def test_global_random_state_is_untouched() -> None:
    before = torch.get_rng_state()
    epoch(train(ragged([3, 1, 4]), 2))
    assert torch.equal(before, torch.get_rng_state())
