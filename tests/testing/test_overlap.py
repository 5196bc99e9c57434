"""Digests of splits, and the number of sequences that two splits share."""

from __future__ import annotations

import pytest
import torch

from harness import Arrays, Dataset, Ragged, Split, Stream
from harness.testing.overlap import MULTIPLIER, WINDOW, digest, sequence_hashes, shared_sequences


def arrays(*first_numbers: float) -> Arrays:
    """Return one sequence of three steps for each number."""
    inputs = torch.tensor(first_numbers)[:, None, None] + torch.arange(3.0)[None, :, None]
    return Arrays(inputs, torch.zeros(len(first_numbers)))


def stream(tokens: torch.Tensor) -> Stream:
    return Stream(tokens, before=0, scored=10, history=None)


def random_tokens(count: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 50, (count,), generator=torch.Generator().manual_seed(seed))


def test_digest_changes_with_values_targets_dtype_shape_and_further_tensors() -> None:
    data = arrays(1, 2)
    others = [
        digest(arrays(1, 3)),
        digest(Arrays(data.inputs, data.targets + 1)),
        digest(Arrays(data.inputs.double(), data.targets)),
        digest(Arrays(data.inputs.reshape(2, 1, 3), data.targets)),
        digest(data, torch.zeros(1)),
    ]
    assert len({digest(data), *others}) == 6


def test_digest_does_not_depend_on_the_memory_layout() -> None:
    data = arrays(1, 2, 3)
    transposed = data.inputs.transpose(0, 1).contiguous().transpose(0, 1)
    assert not transposed.is_contiguous()
    assert digest(Arrays(transposed, data.targets)) == digest(data)


def test_digest_of_a_stream_includes_the_token_before_it() -> None:
    tokens = torch.arange(20)
    assert digest(stream(tokens)) != digest(Stream(tokens, before=1, scored=10, history=None))


def test_shared_sequences_are_counted_over_the_smaller_split() -> None:
    splits: dict[Split, Dataset] = {"train": arrays(1, 2, 3, 4, 5), "validation": arrays(2, 5, 9), "test": arrays(7, 8)}
    assert shared_sequences(splits) == {
        ("validation", "train"): (2, 3),
        ("test", "train"): (0, 2),
        ("test", "validation"): (0, 2),
    }


def test_ragged_sequences_are_shared_only_as_a_whole() -> None:
    frames = torch.arange(9.0)[:, None]
    train = Ragged(frames, frames, torch.tensor([2, 4, 3]))  # 0-1, 2-5, 6-8
    test = Ragged(frames[2:8], frames[2:8], torch.tensor([4, 2]))  # 2-5, 6-7
    assert shared_sequences({"train": train, "test": test}) == {("test", "train"): (1, 2)}


@pytest.mark.parametrize("offset", [0, 1, 77])
def test_window_of_a_stream_is_found_at_any_offset(offset: int) -> None:
    train = random_tokens(2000, seed=1)
    test = torch.cat([train[offset : offset + WINDOW], random_tokens(3 * WINDOW, seed=2)])
    shared = shared_sequences({"train": stream(train), "test": stream(test)})
    assert shared == {("test", "train"): (1, 4)}


def test_stream_and_separate_sequences_are_not_compared() -> None:
    assert shared_sequences({"train": stream(random_tokens(500, seed=1)), "test": arrays(1)}) == {}


def test_hash_of_a_window_is_a_polynomial_modulo_2_to_the_64() -> None:
    tokens = random_tokens(WINDOW + 1, seed=3)
    base = int(MULTIPLIER[0])
    for start, actual in enumerate(sequence_hashes(stream(tokens), every=1).tolist()):
        expected = 0
        for token in tokens[start : start + WINDOW].tolist():
            expected = (expected * base + token + 1) % 2**64
        assert actual == expected
