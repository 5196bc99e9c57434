"""The task on a user's own text."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import (
    SPLITS,
    Array,
    DataError,
    DataFile,
    Metric,
    Seeds,
    Split,
    Stream,
    bits_of,
    own_file,
    parsed_arrays,
    perplexity_of,
)
from harness_tasks.language import EOS, Language, stored_words
from harness_tasks.own.options import OwnPath

UNKNOWN = "<unk>"
"""Stands for a word that is not in the vocabulary."""
ENDINGS = (".txt", ".text", ".md")
CHUNK = 1 << 22
"""Characters that are in memory at once."""
LEAST: dict[Split, int] = {"train": 1000, "validation": 100, "test": 100}
"""Tokens that each split must have."""
PARSED = 2
"""Version of what `_parse` yields."""

Ids = npt.NDArray[np.int32]


class TextFacts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int
    tokens: Mapping[Split, int]
    unknown: int
    """Words of the held-out text that stand as `<unk>`."""
    nats: float
    """Test nats a token of training frequencies."""
    validation_nats: float


class TextFile(Language):
    """Your own UTF-8 text, by characters or by words: the next one, given those before it.

    The beginning of the text trains, what follows selects, its end tests.  Characters are numbered in the order of
    their code points, over the whole text; words from the training text alone, the commonest first, the others `<unk>`,
    with `<eos>` at the end of each line.  Size and floor are found once for the content of the file (SHA-256), and kept
    in the cache beside the tokens, which all workers of a machine map.
    """

    name: ClassVar[str] = "text-file"
    before: ClassVar[int] = 0
    """`<eos>`, or the first character of the alphabet, which in most texts is the line break."""

    data: OwnPath
    """The file; line breaks of any system are one character."""
    unit: Literal["characters", "words"] = "characters"
    """What is a token."""
    most_words: int = Field(default=10_000, ge=3)
    """Words of the vocabulary, `<eos>` and `<unk>` included."""
    validation_data: OwnPath | None = None
    """A file of its own for validation."""
    test_data: OwnPath | None = None
    """A file of its own for the test."""
    validation: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the text held out for validation, where no file says."""
    test: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the text held out for the test."""
    embedding: int = Field(default=100, ge=1)
    """Size of the embedding, for every model."""
    scored: int = Field(default=80, ge=1)
    """Tokens of a row that an update scores."""
    margin: float = Field(default=0.01, ge=0)
    """Bits a character, or of words the share of the perplexity, within which scores are equivalent."""

    @model_validator(mode="after")
    def _something_trains(self) -> TextFile:
        if self.validation + self.test >= 0.95:
            raise ValueError(
                f"validation and test take {self.validation + self.test:.0%} of the text; leave more to train"
            )
        return self

    def vocabulary(self) -> int:
        return self._facts().vocabulary

    def training_tokens(self) -> int:
        return self._facts().tokens["train"]

    def metrics(self) -> tuple[Metric, ...]:
        if self.unit == "words":
            return (Metric("perplexity", "", "lower", perplexity_of("nll"), margin=self.margin, scale="log"),)
        return (Metric("bpc", "bits/character", "lower", bits_of("nll"), margin=self.margin),)

    def regularisation(self) -> dict[str, BaseDistribution]:
        """As of the language tasks of the paper."""
        return (
            {"dropout": FloatDistribution(0.0, 0.3, step=0.05)}
            if self.unit == "characters"
            else super().regularisation()
        )

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Stream:  # draws nothing
        return self.stream(self._stored()[split])

    def files(self) -> tuple[DataFile, ...]:
        return tuple(own_file(path) for path in self._paths().values())

    def floor(self) -> float:
        """Test score of token frequencies (n + 1/2) / (N + V/2) in the training text."""
        return self._score_of(self._facts().nats)

    def validation_floor(self) -> float:
        return self._score_of(self._facts().validation_nats)

    def _score_of(self, nats: float) -> float:
        return math.exp(nats) if self.unit == "words" else nats / math.log(2)

    @classmethod
    def reads(cls, file: Path) -> bool:
        return file.suffix.lower() in ENDINGS

    def notes(self) -> tuple[str, ...]:
        facts = self._facts()
        counts = ", ".join(f"{facts.tokens[split]:,} {split}" for split in SPLITS)
        text = f"the text is read as {self.unit}, {facts.vocabulary:,} different ones: {counts}"
        held_out = facts.tokens["validation"] + facts.tokens["test"]
        return (
            (text, f"{facts.unknown:,} of {held_out:,} held-out words stand as {UNKNOWN}") if facts.unknown else (text,)
        )

    def _paths(self) -> dict[Split, str]:
        named: dict[Split, str | None] = {
            "train": self.data,
            "validation": self.validation_data,
            "test": self.test_data,
        }
        return {split: path for split, path in named.items() if path is not None}

    def _stored(self) -> dict[str, Array]:
        options = (self.unit, self.most_words, self.validation, self.test, *self._paths())
        digest = hashlib.sha256(repr(options).encode()).hexdigest()[:16]
        paths = {split: Path(path) for split, path in self._paths().items()}
        return parsed_arrays(f"text-{digest}", list(paths.values()), partial(_parse, self, paths), version=PARSED)

    def _facts(self) -> TextFacts:
        return _facts_of(self, tuple(file.sha256 for file in self.files()))


@lru_cache(maxsize=64)
def _facts_of(task: TextFile, digests: tuple[str, ...]) -> TextFacts:  # digests tell that a file has changed
    return TextFacts.model_validate_json(task._stored()["facts"].tobytes())


def _parse(task: TextFile, paths: Mapping[Split, Path]) -> Iterator[tuple[str, Array]]:
    read = _words if task.unit == "words" else _characters
    splits, vocabulary, unknown = read(task, paths)
    for split, least in LEAST.items():
        if len(splits[split]) < least:
            raise DataError(
                f"{task.data}: too little text: {len(splits[split]):,} {task.unit} to {split}, and at least {least:,} "
                "are needed; bring more, or change validation and test"
            )
    facts = TextFacts(
        vocabulary=len(vocabulary),
        tokens={split: len(tokens) for split, tokens in splits.items()},
        unknown=unknown,
        nats=_unigram_nats(splits["train"], splits["test"], len(vocabulary)),
        validation_nats=_unigram_nats(splits["train"], splits["validation"], len(vocabulary)),
    )
    yield "facts", np.frombuffer(facts.model_dump_json().encode(), dtype=np.uint8)
    yield from splits.items()
    yield "vocabulary", stored_words(vocabulary)


def _unigram_nats(train: Ids, test: Ids, vocabulary: int) -> float:
    counts = np.bincount(train, minlength=vocabulary)
    nats = -np.log((counts + 0.5) / (len(train) + vocabulary / 2))
    return float((np.bincount(test, minlength=vocabulary) * nats).sum() / len(test))


def _characters(task: TextFile, paths: Mapping[Split, Path]) -> tuple[dict[Split, Ids], list[str], int]:
    """Each split as places in the sorted alphabet of all files."""
    alphabet = sorted({character for path in paths.values() for chunk in _chunks(path) for character in set(chunk)})
    points = np.array([ord(character) for character in alphabet], dtype=np.uint32)

    def encoded(path: Path) -> Ids:
        codes = [np.frombuffer(chunk.encode("utf-32-le"), dtype=np.uint32) for chunk in _chunks(path)]
        return np.concatenate([np.searchsorted(points, part).astype(np.int32) for part in codes])

    # One by one on a line of its own, an alphabet could not hold the line break.
    return _cut(task, {split: encoded(path) for split, path in paths.items()}), [repr(one) for one in alphabet], 0


def _words(task: TextFile, paths: Mapping[Split, Path]) -> tuple[dict[Split, Ids], list[str], int]:
    """Each split as places in the vocabulary of the training text: `<eos>`, `<unk>`, then by how often they occur."""
    raw: dict[str, int] = {EOS: 0, UNKNOWN: 1}
    read = {
        split: np.fromiter((raw.setdefault(word, len(raw)) for word in _words_of(path)), dtype=np.int32)
        for split, path in paths.items()
    }
    splits = _cut(task, read)
    counts = Counter(splits["train"].tolist())
    words = list(raw)
    common = sorted((place for place in counts if place > 1), key=lambda place: (-counts[place], words[place]))
    kept = [0, 1, *common[: task.most_words - 2]]
    place_of = np.ones(len(words), dtype=np.int32)  # of `<unk>`
    place_of[kept] = np.arange(len(kept))
    encoded: dict[Split, Ids] = {split: place_of[tokens] for split, tokens in splits.items()}
    unknown = sum(int((encoded[split] == 1).sum()) for split in ("validation", "test"))
    return encoded, [words[place] for place in kept], unknown


def _cut(task: TextFile, read: Mapping[Split, Ids]) -> dict[Split, Ids]:
    """The files as they are; of the first, its end for each split that has no file."""
    text = read["train"]
    shares = {split: 0.0 if split in read else share for split, share in _shares(task).items()}
    test = len(text) - round(shares["test"] * len(text))
    validation = test - round(shares["validation"] * len(text))
    return {
        "train": text[:validation],
        "validation": read.get("validation", text[validation:test]),
        "test": read.get("test", text[test:]),
    }


def _shares(task: TextFile) -> dict[Split, float]:
    return {"validation": task.validation, "test": task.test}


def _words_of(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as lines:
        try:
            for line in lines:
                yield from line.split()
                yield EOS
        except UnicodeDecodeError as error:
            raise _no_text(path, error) from error


def _chunks(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as text:
        try:
            while chunk := text.read(CHUNK):
                yield chunk
        except UnicodeDecodeError as error:
            raise _no_text(path, error) from error


def _no_text(path: Path, error: UnicodeDecodeError) -> DataError:
    return DataError(f"{path}: is no UTF-8 text ({error.reason}); save it as UTF-8")
