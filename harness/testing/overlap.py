"""Comparison of splits: their digests, and the sequences that two of them share."""

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
"""Tokens of a stream that count as one sequence."""
MULTIPLIER = np.array([0x9E3779B97F4A7C15], dtype=np.uint64)
"""Base of the polynomial hash: odd, with well-mixed bits (2**64 divided by the golden ratio)."""

Hashes = npt.NDArray[np.uint64]


def digest(dataset: Dataset, *more: Tensor) -> str:
    """Return the SHA-256 of the whole content of a split and of further tensors, in hex."""
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
    """Return how many sequences of the smaller split are also in the larger one, and out of how many.

    The keys are pairs of splits, (smaller, larger).  Inputs alone are compared.  A pair of a stream and a split of
    separate sequences is left out.
    """
    sizes = {split: len(dataset) for split, dataset in splits.items()}
    shared = {}
    for small, large in permutations(splits, 2):
        if (sizes[small], small) > (sizes[large], large):
            continue
        few, many = splits[small], splits[large]
        if isinstance(few, Stream) != isinstance(many, Stream):
            continue  # separate passages and running text have no sequences in common
        hashes = sequence_hashes(few, every=WINDOW)
        shared[small, large] = (int(np.isin(hashes, sequence_hashes(many, every=1)).sum()), len(hashes))
    return shared


def sequence_hashes(dataset: Dataset, *, every: int) -> Hashes:
    """Return one hash per sequence, of its inputs; for a stream one hash per window, which start `every` tokens."""
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
    """Return the polynomial hashes of all windows of `WINDOW` tokens in `MULTIPLIER`, modulo 2**64.

    The hash of a window of 2n tokens is computed from the hashes of its two halves, so `DOUBLINGS` steps are enough.
    """
    hashes, factor = tokens.astype(np.uint64) + np.uint64(1), MULTIPLIER
    for doubling in range(DOUBLINGS):
        half = 1 << doubling
        hashes = hashes[:-half] * factor + hashes[half:]
        factor = factor * factor
    return hashes[::every]
