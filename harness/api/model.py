"""What the author of an architecture subclasses."""

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
    """One published setting, whole: what was trained, how, and where that is written."""

    source: str
    """Paper, table and row."""
    widths: tuple[int, ...]
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    """Architecture, under the names `build` takes, `dropout` included."""
    optimisation: Optimisation
    batch_size: int
    epochs: int
    embedding: int | None = None
    """Embedding size where the input is tokens."""
    embedding_dropout: float | None = None
    """Share of the embedded numbers that training drops; None: none."""
    tied: bool | None = None
    """Whether the decoder shares the embedding's weight; None: as the task has it."""
    assumed: frozenset[str] = frozenset()
    """Names of the values above that the source does not state; they are its released code's defaults.  `decoder_init`:
    the decoder's initial weights are PyTorch's, and the released code draws them otherwise."""


class Model(ABC):
    """A family of causal sequence backbones.  Stateless: one instance is registered and shared.

    A backbone is an `nn.Module` with an int attribute `out_features`, whose `forward(x)` maps
    (batch, time, signature.in_features) to (batch, time, out_features) causally: y[:, :t] does not depend on x[:, t:].
    It may also offer `suffix`, `scan` and `stack` (see `Suffix`, `Scan`, `Stack`) and state its `receptive_field`: the
    steps of input, the present one included, that an output can depend on; None where the past is unlimited.
    """

    name: ClassVar[str]
    """kebab-case; unique among the installed plugins."""

    @abstractmethod
    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        """The architecture's own dimensions.

        Never widths, which are solved from the parameter budget, and never optimiser, learning rate, clipping or
        dropout, which are the same for every model of a task.
        """

    @abstractmethod
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """A backbone of these widths (all >= 1, one a level).

        `params` holds one value for each name in `space`, and `dropout` in [0, 1).  Typed Any because each model
        names its own keywords.  The default random state decides the initial weights, and nothing else is drawn.
        """

    def levels(self, **params: Any) -> int:
        """How many widths `build` takes at these parameters."""
        return 1

    def published(self, row: str) -> Published | None:
        """The published setting for a row of a paper's table (`Task.row`), or None where there is none.

        The second of two settings that a table states for one row is asked for as `<row>/second`.
        """
        return None

    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        """Why these parameters cannot serve this task, or None.  Such a configuration is drawn anew."""
        return None


@runtime_checkable
class Suffix(Protocol):
    """A backbone that can compute its last outputs without the rest."""

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        """forward(x)[:, -steps:], for 1 <= steps <= time: (batch, steps, out_features)."""


@runtime_checkable
class Scan(Protocol):
    """A backbone that can continue a sequence where an earlier call stopped."""

    def scan(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Outputs over x and the state after it.

        Over consecutive windows, the outputs joined along time equal `forward` over the windows joined.  The state
        is a tree (tuples, lists, dicts) of tensors with the batch first, hence Any; it is neither detached nor
        changed in place.  Never fed padding.
        """


@runtime_checkable
class Stack(Protocol):
    """A backbone of which several can be computed as one."""

    def stack(self, count: int) -> nn.Module:
        """`count` backbones of this shape as one module, of this one's mode, device and precision, with any weights.

        Its parameters and buffers have the names of this one's, with one more axis in front, of length `count`; so
        have the input and output of its `forward`, (count, batch, time, features), and of its `suffix` and `scan`,
        states included, which it offers where this one does.  Slice i of the weights gives for slice i of the input
        what this backbone would, gradients included; dropout draws for each of the `count` by itself.
        """
