"""The base class of models, and the optional methods of their backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from harness.api.signature import Signature
from harness.records import Optimisation, ParamValue


@dataclass(frozen=True, kw_only=True)
class Published:
    """One complete published setting: what was trained, how, and the source."""

    source: str
    """Paper, table and row."""
    widths: tuple[int, ...]
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    """Architecture parameters by their names in `build`, including `dropout`."""
    optimisation: Optimisation
    batch_size: int
    epochs: int
    embedding: int | None = None
    """Embedding size where the input is tokens."""
    embedding_dropout: float | None = None
    """Share of the embedded numbers that training drops; None: none."""
    tied: bool | None = None
    """Whether the decoder shares the embedding's weight; None: as the task says."""
    assumed: frozenset[str] = frozenset()
    """Names of the values above that the source does not state; they are its released code's defaults.  `decoder_init`:
    the decoder's initial weights are PyTorch's, and the released code draws them otherwise."""


class Model(ABC):
    """A family of causal sequence backbones. Stateless: one instance is registered and shared.

    A backbone is an `nn.Module` with an int attribute `out_features`. Its `forward(x)` maps (batch, time,
    signature.in_features) to (batch, time, out_features) causally: y[:, :t] does not depend on x[:, t:]. It may also
    offer `suffix`, `scan` and `stack` (see `Suffix`, `Scan`, `Stack`), and state its `receptive_field`: the number of
    input steps, the present one included, that an output can depend on; None if it is unlimited.
    """

    name: ClassVar[str]
    """Name in kebab-case, unique among the installed plugins."""

    @abstractmethod
    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        """Return the architecture's own dimensions as Optuna distributions.

        Never widths, which are solved from the parameter budget. Never optimizer, learning rate, clipping or dropout,
        which are the same for every model of a task.
        """

    @abstractmethod
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Return a backbone of these widths (all >= 1, one per level).

        `params` holds one value for each name in `space`, and `dropout` in [0, 1). They are typed Any because each
        model names its own parameters. Initial weights are drawn from the default random state, and nothing else is
        drawn.
        """

    def levels(self, **params: Any) -> int:
        """Return the number of widths that `build` takes at these parameters."""
        return 1

    def published(self, row: str) -> Published | None:
        """Return the published setting for a row of a paper's table (`Task.row`), or None.

        If a table states two settings for one row, the second is requested as `<row>/second`.
        """
        return None

    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        """Return why these parameters cannot serve this task, or None. The search then draws another configuration."""
        return None


@runtime_checkable
class Suffix(Protocol):
    """A backbone that can compute its last outputs without computing the others."""

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        """Return forward(x)[:, -steps:], shape (batch, steps, out_features), for 1 <= steps <= time."""


@runtime_checkable
class Scan(Protocol):
    """A backbone that can continue a sequence from the state after an earlier call."""

    def scan(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs over x and the state after it.

        Law: over consecutive windows, the outputs joined along time equal `forward` over the joined windows. The state
        is a tree (tuples, lists, dicts) of tensors with the batch first, hence Any. It is neither detached nor changed
        in place, and never receives padding.
        """


@runtime_checkable
class Stack(Protocol):
    """A backbone of which several can be computed as one module."""

    def stack(self, count: int) -> nn.Module:
        """Return `count` backbones of this shape as one module, with this one's mode, device and precision, and any
        weights.

        Its parameters and buffers have the same names, with one more leading axis of length `count`. So have the input
        and output of its `forward`, (count, batch, time, features), and of its `suffix` and `scan`, states included, if
        this backbone offers them. For slice i of the input, slice i of the weights gives what this backbone would give,
        gradients included. Dropout is drawn independently for each of the `count`.
        """
