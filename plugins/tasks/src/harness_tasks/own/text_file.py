"""The task on a user's text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

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
from harness_tasks.language import Language, stored_words
from harness_tasks.own.options import OwnPath
from harness_tasks.own.vocabulary import UNKNOWN, Ids, characters_of, cut_text, words_of

ENDINGS = (".txt", ".text", ".md")
LEAST: dict[Split, int] = {"train": 1000, "validation": 100, "test": 100}
"""Tokens that each split must have."""
PARSED = 3
"""Version of what `_parse` yields."""


class TextFacts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int
    tokens: Mapping[Split, int]
    unknown: int
    """Tokens of the held-out text that are `<unk>`."""
    rare: int = 0
    """Tokens of the training text that are `<unk>`."""
    nats: float
    """Test nats per token of training frequencies."""
    validation_nats: float


class TextFile(Language):
    """The next character or word of your UTF-8 text, given those before it.

    The beginning of the text is for training, the next part for validation, the end for the test.  The vocabulary is
    everything that occurs at least twice in the training text.  Any other word or character is `<unk>`, in training
    too, so that a model learns how frequent it is.  Characters are numbered in the order of their code points, words by
    frequency, with `<eos>` at the end of each line.  Size and floor are computed once for the content of the file
    (SHA-256), and kept in the cache with the tokens, which all workers of a machine map.
    """

    name: ClassVar[str] = "text-file"
    _known: TextFacts | None = PrivateAttr(default=None)
    """Facts of a task that predicts without its files."""
    before: ClassVar[int] = 0
    """`<eos>`, or the first character of the alphabet, which in most texts is the line break."""

    data: OwnPath
    """The file; line breaks of any system are one character."""
    unit: Literal["characters", "words"] = "characters"
    """Unit of a token."""
    most_words: int = Field(default=10_000, ge=3)
    """Words of the vocabulary, including `<eos>` and `<unk>`."""
    validation_data: OwnPath | None = None
    """A separate file for validation."""
    test_data: OwnPath | None = None
    """A separate file for the test."""
    validation: float = Field(default=0.1, gt=0, lt=0.5)
    """Fraction of the text held out for validation, if it has no file."""
    test: float = Field(default=0.1, gt=0, lt=0.5)
    """Fraction of the text held out for the test, if it has no file."""
    embedding: int = Field(default=100, ge=1)
    """Size of the embedding, for every model."""
    scored: int = Field(default=80, ge=1)
    """Tokens of a row that an update scores."""
    margin: float = Field(default=0.01, ge=0)
    """Scores closer than this are equivalent: bits per character, or for words a fraction of the perplexity."""

    @model_validator(mode="after")
    def _something_trains(self) -> TextFile:
        if self.validation + self.test >= 0.95:
            raise ValueError(
                f"validation and test take {self.validation + self.test:.0%} of the text; leave more for training"
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
        """Return the ranges of the language tasks of the paper."""
        return (
            {"dropout": FloatDistribution(0.0, 0.3, step=0.05)}
            if self.unit == "characters"
            else super().regularisation()
        )

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Stream:  # draws nothing
        return self.stream(self._stored()[split])

    def files(self) -> tuple[DataFile, ...]:
        return () if self._known is not None else tuple(own_file(path) for path in self._paths().values())

    def floor(self) -> float:
        """Return the test score of token frequencies (n + 1/2) / (N + V/2) in the training text."""
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
        if not facts.unknown + facts.rare:
            return (text,)
        rare = f"{facts.rare:,} of {facts.tokens['train']:,} training {self.unit}"
        return (text, f"{facts.unknown:,} of {held_out:,} held-out {self.unit} and {rare} are {UNKNOWN}")

    def prediction_facts(self) -> str:
        return self._facts().model_dump_json()

    def with_prediction_facts(self, facts: str) -> TextFile:
        task = self.model_copy()
        task._known = TextFacts.model_validate_json(facts)
        return task

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
        if self._known is not None:
            return self._known
        return _facts_of(self, tuple(file.sha256 for file in self.files()))


@lru_cache(maxsize=64)
def _facts_of(task: TextFile, digests: tuple[str, ...]) -> TextFacts:  # the digests make a changed file a new key
    return TextFacts.model_validate_json(task._stored()["facts"].tobytes())


def _parse(task: TextFile, paths: Mapping[Split, Path]) -> Iterator[tuple[str, Array]]:
    shares: dict[Split, float] = {"validation": task.validation, "test": task.test}
    cut = partial(cut_text, shares={split: share for split, share in shares.items() if split not in paths})
    splits, vocabulary, unknown = (
        words_of(paths, cut, most=task.most_words) if task.unit == "words" else characters_of(paths, cut)
    )
    for split, least in LEAST.items():
        if len(splits[split]) < least:
            raise DataError(
                f"{task.data}: too little text: {len(splits[split]):,} {task.unit} for {split}, but at least {least:,} "
                "are needed; add text, or change validation and test"
            )
    if len(vocabulary) < 3:
        raise DataError(
            f"{task.data}: only {len(vocabulary)} different {task.unit} occur twice in the training text, but at least "
            "3 are needed; add text, or read it by characters"
        )
    facts = TextFacts(
        vocabulary=len(vocabulary),
        tokens={split: len(tokens) for split, tokens in splits.items()},
        unknown=sum(_count(splits[split], unknown) for split in ("validation", "test")),
        rare=_count(splits["train"], unknown),
        nats=_unigram_nats(splits["train"], splits["test"], len(vocabulary)),
        validation_nats=_unigram_nats(splits["train"], splits["validation"], len(vocabulary)),
    )
    yield "facts", np.frombuffer(facts.model_dump_json().encode(), dtype=np.uint8)
    yield from splits.items()
    yield "vocabulary", stored_words(vocabulary)


def _count(tokens: Ids, token: int | None) -> int:
    return 0 if token is None else int((tokens == token).sum())


def _unigram_nats(train: Ids, test: Ids, vocabulary: int) -> float:
    counts = np.bincount(train, minlength=vocabulary)
    nats = -np.log((counts + 0.5) / (len(train) + vocabulary / 2))
    return float((np.bincount(test, minlength=vocabulary) * nats).sum() / len(test))
