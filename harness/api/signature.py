"""What a task tells a model about its sequences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.errors import PluginError

Readout = Literal["last", "each"]


@dataclass(frozen=True, slots=True)
class Real:
    """Vectors of `size` real numbers per time step; as an output, a regression target."""

    size: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Integers in [0, vocabulary), embedded as vectors of `embedding` numbers before they reach the backbone."""

    vocabulary: int
    embedding: int
    dropout: float = 0.0
    """Share of the embedded numbers that training drops."""


@dataclass(frozen=True, slots=True)
class Classes:
    """One of `size` classes."""

    size: int


@dataclass(frozen=True, slots=True)
class Bits:
    """`size` independent binary variables, such as the keys of a piano roll."""

    size: int


@dataclass(frozen=True, slots=True)
class Signature:
    """The shape of a task, in the terms that a backbone needs."""

    input: Real | Tokens
    output: Real | Classes | Bits
    length: int
    """Time steps of the longest sequence or of a training window, >= 1."""
    readout: Readout
    """Whether the loss reads the output at the last step only, or at each step."""
    dependency: int | None = None
    """Input steps, the present one included, that the solution needs; None if unknown."""
    tied: bool = False
    """Whether the decoder shares its weight with the embedding; needs tokens in and classes out."""

    def __post_init__(self) -> None:
        """Raise PluginError for a value that no task can mean: a misspelt readout would silently count as `each`."""
        if self.readout not in get_args(Readout):
            raise PluginError(f"a signature's readout must be 'last' or 'each', got {self.readout!r}")
        if self.length < 1:
            raise PluginError(f"a signature's length must be 1 step or more, got {self.length!r}")
        if self.tied and not (isinstance(self.input, Tokens) and isinstance(self.output, Classes)):
            raise PluginError(
                f"a tied decoder needs Tokens as input and Classes as output, got {self.input} and {self.output}"
            )

    @property
    def in_features(self) -> int:
        """Features per time step in the input of the backbone."""
        return self.input.size if isinstance(self.input, Real) else self.input.embedding

    @property
    def out_features(self) -> int:
        """Numbers per time step in the output of the decoder, which the loss reads."""
        return self.output.size

    def with_embedding(self, size: int | None, *, tied: bool | None = None, dropout: float | None = None) -> Signature:
        """Return this signature with another embedding; None leaves its size, its tie or its dropout as it is.

        Returns the signature unchanged if the input is not tokens.
        """
        if isinstance(self.input, Real) or (size is None and tied is None and dropout is None):
            return self
        embedded = self.input if size is None else replace(self.input, embedding=size)
        embedded = embedded if dropout is None else replace(embedded, dropout=dropout)
        return replace(self, input=embedded, tied=self.tied if tied is None else tied)
