"""Datasets: stored forms that differ from the network's input, first sequences, devices."""

from __future__ import annotations

import pytest
import torch

from harness import Arrays, Batch, Optimisation, Ragged, Seeds, Stream
from harness.api.dataset import resident, sample
from harness.records import Training
from harness.training.batches import evaluation_batches, training_batches
from harness.training.evaluation import evaluate
from harness.training.network import build_network
from harness.training.run import TrainingData, TrainingRun
from tests.support.toys import ToyEma, ToySum

CPU = torch.device("cpu")
SEEDS = Seeds.of(3, 0)


def from_bytes(batch: Batch) -> Batch:
    return Batch(batch.inputs.float() / 255, batch.targets)


def stored(count: int = 40) -> Arrays:
    inputs = torch.randint(0, 256, (count, 6, 1), generator=torch.Generator().manual_seed(count), dtype=torch.uint8)
    return Arrays(inputs, (inputs.float() / 255).mean(1), from_bytes)


def as_seen(data: Arrays) -> Arrays:
    """The same data, prepared in advance and as a whole."""
    batch = from_bytes(Batch(data.inputs, data.targets))
    return Arrays(batch.inputs, batch.targets)


def test_arrays_reject_inputs_without_targets() -> None:
    with pytest.raises(ValueError, match="3 input sequences but 2 targets"):
        Arrays(torch.zeros(3, 1, 1), torch.zeros(2, 1))


def test_every_batch_is_prepared_once() -> None:
    data = stored()
    plain, seen = (training_batches(which, batch_size=16, order_seed=1, device=CPU) for which in (data, as_seen(data)))
    for update in range(2 * plain.per_epoch):
        assert torch.equal(plain.at(update).inputs, seen.at(update).inputs)
        assert torch.equal(plain.at(update).targets, seen.at(update).targets)
    pairs = zip(
        evaluation_batches(data, batch_size=16, device=CPU),
        evaluation_batches(as_seen(data), batch_size=16, device=CPU),
        strict=True,
    )
    assert all(torch.equal(first.inputs, second.inputs) for first, second in pairs)


def test_stored_inputs_are_not_changed() -> None:
    data = stored()
    before = data.inputs.clone()
    for batch in evaluation_batches(data, batch_size=16, device=CPU):
        batch.inputs.zero_()
    assert torch.equal(data.inputs, before)


def trained(train: Arrays, validation: Arrays) -> TrainingRun:
    task = ToySum()
    torch.manual_seed(0)
    run = TrainingRun(
        build_network(ToyEma(), task.signature(), (8,), {}),
        task,
        training=Training(updates=12, batch_size=16, evaluate_every=4),
        optimisation=Optimisation(learning_rate=0.01),
        data=TrainingData(train, validation),
        seeds=SEEDS,
    )
    run.advance(60)
    return run


def test_training_on_stored_bytes_equals_training_on_prepared_arrays() -> None:
    plain = trained(stored(), stored(20))
    seen = trained(as_seen(stored()), as_seen(stored(20)))
    assert plain.outcome == "complete"
    assert [point.metrics for point in plain.points] == [point.metrics for point in seen.points]
    assert [point.train_loss for point in plain.points] == [point.train_loss for point in seen.points]
    assert all(torch.equal(value, seen.best[name]) for name, value in plain.best.items())
    test = stored(24)
    assert evaluate(plain.network, ToySum(), test, CPU) == evaluate(seen.network, ToySum(), as_seen(test), CPU)


def test_sample_of_arrays_is_drawn_once_each_in_order_and_prepared_alike() -> None:
    data = Arrays(torch.arange(40)[:, None], torch.arange(40), prepare=stored().prepare)
    part = sample(data, 7, seed=1)
    assert isinstance(part, Arrays)
    assert (len(part), part.prepare) == (7, data.prepare)
    drawn = part.targets.tolist()
    assert drawn == sorted(set(drawn))
    assert drawn != list(range(7))
    assert torch.equal(part.inputs[:, 0], part.targets)
    assert sample(data, 40, seed=1) is data
    assert sample(data, 10**6, seed=1) is data


def test_sample_is_of_the_seed_and_every_sequence_may_be_drawn() -> None:
    data = Arrays(torch.arange(12)[:, None], torch.arange(12))

    def drawn(seed: int) -> tuple[int, ...]:
        part = sample(data, 3, seed)
        assert isinstance(part, Arrays)
        return tuple(part.targets.tolist())

    assert drawn(5) == drawn(5)
    counts = torch.bincount(torch.tensor([drawn(seed) for seed in range(400)]).flatten(), minlength=12)
    assert counts.sum() == 1200
    assert int(counts.min()) > 65  # 100 expected, with a standard deviation of 9
    assert int(counts.max()) < 135


@pytest.mark.parametrize("last", [False, True])
def test_sample_of_ragged_sequences_is_of_whole_ones(last: bool) -> None:
    lengths = torch.tensor([2, 4, 3, 1])
    frames = torch.arange(4).repeat_interleave(lengths)[:, None]  # which sequence each frame is of
    data = Ragged(frames, torch.arange(4) if last else frames[:, 0], lengths, last=last)
    for seed in range(20):
        part = sample(data, 2, seed)
        assert isinstance(part, Ragged)
        first, second = sorted(set(part.inputs.flatten().tolist()))
        assert part.lengths.tolist() == [lengths[first], lengths[second]]
        assert part.inputs.flatten().tolist() == [first] * int(lengths[first]) + [second] * int(lengths[second])
        assert part.targets.tolist() == ([first, second] if last else part.inputs.flatten().tolist())


def test_sample_of_a_stream_is_one_piece_with_the_token_before_it() -> None:
    stream = Stream(torch.arange(1, 101), before=0, scored=10, history=None, rows=50)
    firsts = set()
    for seed in range(30):
        part = sample(stream, 3, seed)
        assert isinstance(part, Stream)
        first = int(part.tokens[0])
        firsts.add(first)
        assert part.tokens.tolist() == list(range(first, first + 30))
        assert (part.rows, part.before, part.scored) == (30, first - 1, 10)
    assert len(firsts) > 15
    assert sample(stream, 10, seed=0) is stream


def test_resident_moves_data_to_the_device_and_keeps_lengths_on_the_host() -> None:
    meta = torch.device("meta")
    arrays = resident(Arrays(torch.zeros(3, 2, 1), torch.zeros(3, 1)), meta)
    ragged = resident(Ragged(torch.zeros(3, 1), torch.zeros(3, 1), torch.tensor([1, 2])), meta)
    stream = resident(Stream(torch.zeros(3, dtype=torch.int64), before=0, scored=1, history=None), meta)
    assert isinstance(arrays, Arrays)
    assert isinstance(ragged, Ragged)
    assert isinstance(stream, Stream)
    on_device = [arrays.inputs, arrays.targets, ragged.inputs, ragged.targets, stream.tokens]
    assert {tensor.device.type for tensor in on_device} == {"meta"}
    assert ragged.lengths.device.type == "cpu"


def test_resident_does_not_copy_data_that_are_on_the_device() -> None:
    data = Arrays(torch.zeros(3, 2, 1), torch.zeros(3, 1))
    kept = resident(data, CPU)
    assert isinstance(kept, Arrays)
    assert kept.inputs is data.inputs
