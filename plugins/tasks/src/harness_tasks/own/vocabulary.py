"""Convert a user's text to tokens: the vocabulary of its training part, and each split as places in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import DataError, Split
from harness_tasks.language import EOS

UNKNOWN = "<unk>"
"""Token for a word or character that is not in the vocabulary."""
COMMON = 2
"""Number of times that a word or character must occur in the training text to be in the vocabulary.

The fraction of a text that occurs once estimates the fraction of new text that is unseen (Good 1953).  In new text,
`<unk>` is less than 2x as frequent as in training, because it also replaces what occurred once.
"""
CHUNK = 1 << 22
"""Characters that are in memory at once, in addition to the codes of the text."""
POINTS = 0x110000
"""Code points of Unicode."""

Ids = npt.NDArray[np.int32]
Cut = Callable[[Mapping[Split, npt.NDArray[Any]]], dict[Split, npt.NDArray[Any]]]
"""Codes of each file → of each split."""
Encoded = tuple[dict[Split, Ids], list[str], int | None]
"""Each split, the vocabulary, and the place of `<unk>`, if it has one."""


def characters_of(paths: Mapping[Split, Path], cut: Cut) -> Encoded:
    """Read characters: places in the sorted alphabet of the training text, then `<unk>` if a text needs it."""
    splits = cut(
        {split: np.concatenate([_codes(chunk) for chunk in _chunks_of(path)]) for split, path in paths.items()}
    )
    counts = np.zeros(POINTS, dtype=np.int64)
    for first in range(0, len(splits["train"]), CHUNK):
        counts += np.bincount(splits["train"][first : first + CHUNK], minlength=POINTS)
    points = np.flatnonzero(counts >= COMMON)
    place_of = np.full(POINTS, len(points), dtype=np.int32)
    place_of[points] = np.arange(len(points))
    ids = {split: place_of[codes] for split, codes in splits.items()}
    # As literals: the alphabet is stored one per line, and one of its characters is the line break.
    alphabet = [repr(chr(point)) for point in points]
    if not any((tokens == len(points)).any() for tokens in ids.values()):
        return ids, alphabet, None
    return ids, [*alphabet, UNKNOWN], len(points)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def words_of(paths: Mapping[Split, Path], cut: Cut, *, most: int) -> Encoded:
    """Read words: places in the training vocabulary, `<eos>`, `<unk>`, then the most frequent words, `most` in all."""
    raw: dict[str, int] = {EOS: 0, UNKNOWN: 1}
    read = {
        split: np.fromiter((raw.setdefault(word, len(raw)) for word in _words_in(path)), dtype=np.int32)
        for split, path in paths.items()
    }
    splits = cut(read)
    counts = Counter(splits["train"].tolist())
    words = list(raw)
    common = sorted(
        (place for place, count in counts.items() if place > 1 and count >= COMMON),
        key=lambda place: (-counts[place], words[place]),
    )
    kept = [0, 1, *common[: most - 2]]
    place_of = np.ones(len(words), dtype=np.int32)  # of `<unk>`
    place_of[kept] = np.arange(len(kept))
    return {split: place_of[tokens] for split, tokens in splits.items()}, [words[place] for place in kept], 1


def cut_text(read: Mapping[Split, npt.NDArray[Any]], *, shares: Mapping[Split, float]) -> dict[Split, npt.NDArray[Any]]:
    """Return the splits: files unchanged, and the end of the first file for splits without one.

    shares: the fractions of the splits without a file.
    """
    text = read["train"]
    test = len(text) - round(shares.get("test", 0.0) * len(text))
    validation = test - round(shares.get("validation", 0.0) * len(text))
    return {
        "train": text[:validation],
        "validation": read.get("validation", text[validation:test]),
        "test": read.get("test", text[test:]),
    }


def _words_in(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as lines:
        try:
            for line in lines:
                yield from line.split()
                yield EOS
        except UnicodeDecodeError as error:
            raise _no_text(path, error) from error


def _chunks_of(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as text:
        try:
            while chunk := text.read(CHUNK):
                yield chunk
        except UnicodeDecodeError as error:
            raise _no_text(path, error) from error


def _no_text(path: Path, error: UnicodeDecodeError) -> DataError:
    return DataError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8")
