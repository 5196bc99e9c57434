"""The common part of the language-modelling tasks: streams of tokens, their loss, and text as tokens."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Arrays,
    Batch,
    Classes,
    DataError,
    Dataset,
    Metric,
    Signature,
    Stream,
    Task,
    Tokens,
    Total,
    bits_of,
    perplexity_of,
)

EOS = "<eos>"
"""Token for the end of a line, and before the first word."""

RELEASED_ROWS = 10
"""Rows on which the released code evaluates (locuslab/TCN)."""

WordIds = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint8]


class Language(Task):
    """The next token, given those before it.

    Raises DataError if the data have more words or characters than `vocabulary()`.
    """

    rows: ClassVar[int] = 10
    """Contiguous rows in evaluation, as in the released code; for a recurrent model up to ten times as fast as one row.
    Each row first reads the tokens before it."""
    before: ClassVar[int] = 0
    """The token before the first one of a split."""

    reading: Literal["carry", "window"] = "carry"
    """How training reads: carry the state from window to window, or start each window with `history` tokens."""
    scored: int = Field(default=40, ge=1)
    """Tokens of a row that an update scores."""
    history: int = Field(default=40, ge=0)
    """Tokens of context before them if `reading` is `window`."""
    embedding: int = Field(ge=1)
    """Size of the embedding, for every model; a published setting has its own."""
    tied: bool = True
    """Whether the decoder shares the embedding's weight, as in the released code."""

    @abstractmethod
    def vocabulary(self) -> int:
        """Return the number of different tokens."""

    @abstractmethod
    def training_tokens(self) -> int:
        """Return the number of tokens of the training split."""

    def signature(self) -> Signature:
        return Signature(
            Tokens(self.vocabulary(), self.embedding),
            Classes(self.vocabulary()),
            length=self.scored + (0 if self.carries() else self.history),
            readout="each",
            tied=self.tied,
        )

    def training_sequences(self) -> int:
        return math.ceil(self.training_tokens() / self.scored)

    def updates_per_epoch(self, batch_size: int) -> int:
        """Return the number of windows of the longest of `batch_size` rows."""
        return math.ceil(math.ceil(self.training_tokens() / batch_size) / self.scored)

    def carries(self) -> bool:
        return self.reading == "carry"

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        """Return `nll`: nats, and the number of tokens (of passages, if each has one target)."""
        nats = F.cross_entropy(output.flatten(0, -2), batch.targets.flatten(), reduction="none")
        mask = batch.mask
        if mask is None:
            return {"nll": Total(nats.sum(dtype=torch.float64), batch.targets.numel())}
        return {"nll": Total(torch.where(mask.flatten(), nats, 0.0).sum(dtype=torch.float64), mask.sum())}

    def sample_floor(self, sample: Dataset, train: Dataset) -> float | None:
        """Return the score of the word frequencies (n + 1/2) / (N + V/2) in the training text; None without a floor."""
        if self.floor() is None or not (isinstance(sample, Stream) and isinstance(train, Stream)):
            return None
        counts = np.bincount(train.tokens.numpy(), minlength=self.vocabulary())
        nats = -np.log((counts + 0.5) / (counts.sum() + self.vocabulary() / 2))[sample.tokens.numpy()]
        return self.metric.of({"nll": (float(nats.sum()), len(nats))})

    def stream(self, tokens: npt.NDArray[np.generic]) -> Stream:
        """Return the tokens of a split with this task's options."""
        return Stream(
            torch.from_numpy(tokens),
            before=self.before,
            scored=self.scored,
            history=self.history if self.reading == "window" else None,
            rows=min(self.rows, len(tokens)),
        )

    def readings(self, test: Dataset) -> dict[str, Dataset]:
        """Return the released code's evaluation, named `80-40` for 40 scored words and 40 of history.

        Its windows do not carry the state.  It cuts ten rows, drops the remainder, and never scores the first `history`
        tokens of a row.  The last window of a row, which is shorter, is not scored here.
        """
        windows = released_windows(test, scored=self.scored, history=self.history) if isinstance(test, Stream) else None
        return {} if windows is None else {f"{self.history + self.scored}-{self.scored}": windows}


def released_windows(test: Stream, *, scored: int, history: int) -> Arrays | None:
    """Return inputs (windows, history + scored) and targets (windows, scored); None if a row is too short for one."""
    length = len(test) // RELEASED_ROWS
    if length <= history + scored:
        return None
    rows = test.tokens[: RELEASED_ROWS * length].reshape(RELEASED_ROWS, length)
    inputs = rows[:, :-1].unfold(1, history + scored, scored)  # (rows, windows, history + scored): a view
    targets = rows[:, 1:].unfold(1, history + scored, scored)[..., history:]
    return Arrays(inputs.flatten(0, 1), targets.flatten(0, 1), prepare=_scored_at_the_end)


def _scored_at_the_end(batch: Batch) -> Batch:
    return Batch(batch.inputs.long(), batch.targets.long(), scored=batch.targets.shape[1])


class WordLanguage(Language):
    """Words, scored by perplexity."""

    def metrics(self) -> tuple[Metric, ...]:
        # 1 %: Table 1's smallest gap between models on words is 7 % (WikiText-103).
        return (Metric("perplexity", "", "lower", perplexity_of("nll"), margin=0.01, scale="log"),)


class CharacterLanguage(Language):
    """Characters, scored in bits."""

    scored: int = Field(default=320, ge=1)
    """Characters of a row that an update scores."""
    history: int = Field(default=80, ge=0)
    """Characters of context before them if `reading` is `window`."""
    embedding: int = Field(default=100, ge=1)
    """Size of the embedding, for every model; a published setting has its own."""

    def metrics(self) -> tuple[Metric, ...]:
        # The smallest gap between models on characters in Table 1: LSTM and GRU on PTB.
        return (Metric("bpc", "bits/character", "lower", bits_of("nll"), margin=0.01),)

    def regularisation(self) -> dict[str, BaseDistribution]:
        """Return dropout around the 0.1 to 0.15 of Tables 2 and 3 for characters; a grid, so that 0 itself is drawn."""
        return {"dropout": FloatDistribution(0.0, 0.3, step=0.05)}


class Vocabulary:
    """Words in the order of their first appearance."""

    def __init__(self, most: int) -> None:
        self.ids: dict[str, int] = {}
        self._most = most

    def read(self, lines: Iterable[str], where: str, *, new: bool) -> WordIds:
        """Return the words of each line and `<eos>`.

        With `new`, unseen words are added; without it, raises DataError for them.
        """
        return np.fromiter(self._ids(lines, where, new=new), dtype=np.int32)

    def _ids(self, lines: Iterable[str], where: str, *, new: bool) -> Iterator[int]:
        ids = self.ids
        for line in lines:
            for word in (*line.split(), EOS):
                number = ids.get(word)
                yield self._add(word, where, new=new) if number is None else number

    def _add(self, word: str, where: str, *, new: bool) -> int:
        if not new:
            raise DataError(f"{where}: the word {word!r} is not among those of the training text")
        if len(self.ids) == self._most:
            raise DataError(f"{where}: more than {self._most:,} different words; the first one too many is {word!r}")
        return self.ids.setdefault(word, len(self.ids))


def stored_words(words: Iterable[str]) -> Codes:
    """Return a list of words as an array: UTF-8, one word per line."""
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8)


def encoded(text: bytes, alphabet: bytes, where: str) -> Codes:
    """Return the place of each character in the alphabet.  Raises DataError if the alphabet lacks one."""
    strange = set(text) - set(alphabet)
    if strange:
        raise DataError(f"{where}: has the character {bytes([min(strange)])!r}, which is not in the alphabet")
    return np.frombuffer(text.translate(bytes.maketrans(alphabet, bytes(range(len(alphabet))))), dtype=np.uint8)
