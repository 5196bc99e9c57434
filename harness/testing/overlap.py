"""What splits hold, compared: digests of them, and sequences that two of them share."""

from __future__ import annotations

import hashlib
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.api.dataset import Dataset, Ragged, Split, Stream

DOUBLINGS = 7
WINDOW = 1 << DOUBLINGS
"""Tokens of a stream that count as a sequence."""
MULTIPLIER = np.array([0x9E3779B97F4A7C15], dtype=np.uint64)
"""Odd, with bits all over (2**64 over the golden ratio): a polynomial in it tells windows apart."""

Hashes = npt.NDArray[np.uint64]


def digest(dataset: Dataset, *more: Tensor) -> str:
    """SHA-256 over all that a split holds, and over what else is given."""
    if isinstance(dataset, Stream):
        parts = [dataset.tokens, torch.tensor(dataset.before)]
    else:
        parts = [dataset.inputs, dataset.targets, *([dataset.lengths] if isinstance(dataset, Ragged) else [])]
    sha = hashlib.sha256()
    for part in (*parts, *more):
        sha.update(f"{part.dtype}{tuple(part.shape)}".encode())
        sha.update(part.contiguous().numpy().tobytes())
    return sha.hexdigest()


def shared_sequences(splits: dict[Split, Dataset]) -> dict[tuple[Split, Split], tuple[int, int]]:
    """(one, other) → how many sequences of the smaller split `one` the other has too, and of how many."""
    sizes = {split: len(dataset) for split, dataset in splits.items()}
    pairs = [(one, other) for one, other in permutations(splits, 2) if (sizes[one], one) < (sizes[other], other)]
    found = {}
    for one, other in pairs:
        few, many = splits[one], splits[other]
        if isinstance(few, Stream) != isinstance(many, Stream):
            continue  # passages against running text: no sequence of the one is one of the other
        sought = sequence_hashes(few, every=WINDOW)
        found[one, other] = (int(np.isin(sought, sequence_hashes(many, every=1)).sum()), len(sought))
    return found


def sequence_hashes(dataset: Dataset, *, every: int) -> Hashes:
    """One number a sequence, of its inputs alone; of a stream, one a window, begun `every` so many tokens."""
    if isinstance(dataset, Stream):
        return _window_hashes(dataset.tokens.numpy(), every)
    if isinstance(dataset, Ragged):
        pieces = torch.split(dataset.inputs, dataset.lengths.tolist())
    else:
        pieces = tuple(dataset.inputs)
    return np.array([_hash(piece) for piece in pieces], dtype=np.uint64)


def _hash(piece: Tensor) -> int:
    return hash(piece.contiguous().numpy().tobytes()) & (2**64 - 1)


def _window_hashes(tokens: npt.NDArray[np.generic], every: int) -> Hashes:
    """Polynomials of the tokens in `MULTIPLIER`, modulo 2**64: those of twice as many tokens from those of as many."""
    hashes, factor = tokens.astype(np.uint64) + np.uint64(1), MULTIPLIER
    for doubling in range(DOUBLINGS):
        half = 1 << doubling
        hashes = hashes[:-half] * factor + hashes[half:]
        factor = factor * factor
    return hashes[::every]
