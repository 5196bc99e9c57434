"""LAMBADA of Paperno et al. 2016: the last word of a passage, after training on other novels."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
import torch
from pydantic import Field

from harness import Array, DataError, DataFile, PublishedRow, Ragged, Seeds, Split, Stream, parsed_arrays
from harness_tasks.language import WordIds, WordLanguage
from harness_tasks.paper import published_row

SOURCE = "D. Paperno et al. (2016), The LAMBADA dataset: Word prediction requiring a broad discourse context"
PARSED = 1
"""Version of what the parsers store."""
WORDS = 93_215
"""Number of words of the vocabulary file."""
UNKNOWN = WORDS
"""Token of every other word."""

VOCABULARY = DataFile(
    name="lambada/lambada_vocabulary_sorted.txt",
    bytes=788_353,
    sha256="05ffebd3388cc5272a23a3d93583231506ff6f91443904dd446fdfe4037e333c",
    url="https://github.com/locuslab/TCN/raw/master/TCN/lambada_language/data/lambada_vocabulary_sorted.txt",
    source="the vocabulary used with Bai, Kolter & Koltun 2018 (locuslab/TCN)",
)
NOVELS = DataFile(
    name="lambada/lambada-dataset.tar.gz",
    bytes=334_527_694,
    sha256="8fbe499096ddbdcbbd0cac406861b5026fb451d15b8fe04e0e4f3d082f2ad5d7",
    url="https://zenodo.org/record/2630551/files/lambada-dataset.tar.gz",
    source=f"{SOURCE}; holds the training novels",
)


def _passages(part: str, size: int, sha256: str) -> DataFile:
    name = f"lambada_{part}_plain_text.txt"
    return DataFile(f"lambada/{name}", size, sha256, source=SOURCE, archive=NOVELS, member=name)


PASSAGES: dict[Split, DataFile] = {
    "validation": _passages(
        "development", 1_668_790, "f5b0f1e38fcdad6a1cd3a17bee4b6932a28cd9c5f463ada970c61de0f8679f2f"
    ),
    "test": _passages("test", 1_755_107, "4ab6062b68422bf2e83653d367c9765d42404f7ec21b8b59b6518b45606aaef2"),
}

SPELT: Mapping[str, str] = {"n't": "not", "'s": "is", "'re": "are", "'ve": "have", "wo": "will"}
"""Words that the vocabulary lacks → the words that the released code reads instead."""


class Lambada(WordLanguage):
    """The last word of a passage of 4.6 sentences on average, given all words before it.

    Training is on the running text of 2,662 novels, without line ends, because passages have none.  Words are those of
    the vocabulary file, read as the released code reads them; all others count as one unknown word.  The target is not
    an input of the model; the released code feeds it to the model, and scores the output after it against it.
    Passages whose last word is unknown are left out: 249 of 4,869 in validation and 153 of 5,153 in test.
    """

    name: ClassVar[str] = "lambada"
    before: ClassVar[int] = UNKNOWN

    scored: int = Field(default=50, ge=1)
    """Words of a row that an update scores."""
    history: int = Field(default=50, ge=0)
    """Words of context before them if `reading` is `window`."""
    embedding: int = Field(default=500, ge=1)
    """Size of the embedding, for every model; a published setting has its own."""

    def vocabulary(self) -> int:
        return WORDS + 1

    def training_tokens(self) -> int:
        """Return the number that Paperno et al. state, in millions; reading the novels gives the exact one."""
        return 203_000_000

    def files(self) -> tuple[DataFile, ...]:
        return (VOCABULARY, *PASSAGES.values(), NOVELS)

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Stream | Ragged:  # draws nothing
        vocabulary = files[VOCABULARY.name]
        path = files[NOVELS.name if split == "train" else PASSAGES[split].name]
        parse = partial(_parse_novels if split == "train" else _parse_passages, vocabulary, path)
        stored = parsed_arrays(f"lambada-{split}", [vocabulary, path], parse, version=PARSED)
        if split == "train":
            return self.stream(stored["words"])
        return Ragged(
            torch.from_numpy(stored["words"]),
            torch.from_numpy(stored["targets"]),
            torch.from_numpy(stored["lengths"]),
            last=True,
        )

    def published(self) -> PublishedRow:
        return published_row(
            1,
            "LAMBADA",
            parameters=56_711_216,
            results={"lstm": 4186.0, "rnn": 14725.0, "tcn": 1279.0},
            note="parameters: count of the published TCN at Table 2's setting; Table 1 has none, Table 4 says 56M.  "
            "LSTM: of Grave, Joulin & Usunier 2017",
        )


class _Reader:
    """Words → tokens, as in the released code, except that the released code drops unknown words."""

    def __init__(self, path: Path) -> None:
        words = path.read_text(encoding="utf-8").split()
        if len(words) > WORDS:
            raise DataError(f"{path}: has {len(words):,} words; the vocabulary of LAMBADA has {WORDS:,}")
        self._ids = {word: number for number, word in enumerate(words)}

    def read(self, words: Iterable[str]) -> Iterator[int]:
        return map(self._number, words)

    def _number(self, word: str) -> int:
        word = SPELT.get(word, word)
        number = self._ids.get(word)
        if number is not None:
            return number
        return self._ids.setdefault(word, self._ids.get(re.sub(r"[^\w\s]", "", word), UNKNOWN))


def _parse_passages(vocabulary: Path, path: Path) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of the passages.

    words: all words of each passage except the last, concatenated.  targets: the last words.  lengths: words before the
    last.
    """
    reader = _Reader(vocabulary)
    passages = [list(reader.read(line.split())) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [passage for passage in passages if len(passage) > 1 and passage[-1] != UNKNOWN]
    if not kept:
        raise DataError(f"{path}: holds no passage whose last word is known")
    yield "words", np.array([word for passage in kept for word in passage[:-1]], dtype=np.int64)
    yield "targets", np.array([passage[-1] for passage in kept], dtype=np.int64)
    yield "lengths", np.array([len(passage) - 1 for passage in kept], dtype=np.int64)


def _parse_novels(vocabulary: Path, path: Path) -> Iterator[tuple[str, Array]]:
    """Yield `words`: the novels concatenated, in the order of the archive."""
    reader = _Reader(vocabulary)
    try:
        with tarfile.open(path) as archive:
            words: WordIds = np.fromiter(reader.read(_words(archive)), dtype=np.int32)
    except (tarfile.TarError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not the archive of LAMBADA ({type(error).__name__}: {error})") from error
    if len(words) == 0:
        raise DataError(f"{path}: holds no train-novels/*/*.txt, neither itself nor in a train-novels.tar")
    yield "words", words


def _words(archive: tarfile.TarFile) -> Iterator[str]:
    """Yield the words of the novels in an archive, or in a train-novels.tar inside it, without writing to disk."""
    for member in archive:
        if not member.isfile():
            continue
        stream = archive.extractfile(member)
        assert stream is not None  # a file
        if Path(member.name).name == "train-novels.tar":
            with tarfile.open(fileobj=stream) as novels:
                yield from _words(novels)
        elif Path(member.name).match("train-novels/*/*.txt"):
            yield from _words_of(stream)


def _words_of(novel: IO[bytes]) -> Iterator[str]:
    for line in novel:
        yield from line.decode("utf-8").split()
