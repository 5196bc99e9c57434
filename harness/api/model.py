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
    """One complete published setting: the architecture, its training, and the source of both."""

    source: str
    """Paper, table and row."""
    widths: tuple[int, ...]
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    """Architecture parameters by their names in `build`, including `dropout`."""
    optimisation: Optimisation
    batch_size: int
    epochs: int
    embedding: int | None = None
    """Embedding size, if the input is tokens."""
    tied: bool | None = None
    """Whether the decoder shares the weight of the embedding; None: as the task defines it."""
    assumed: frozenset[str] = frozenset()
    """Names of the values above that the source does not state; they are the defaults of its released code."""


class Model(ABC):
    """A family of causal sequence backbones.  A model has no state: one instance is registered and shared.

    A backbone is an `nn.Module` with an int attribute `out_features`.  Its `forward(x)` maps
    (batch, time, signature.in_features) to (batch, time, out_features) causally: y[:, :t] does not depend on x[:, t:].
    It may also offer `suffix`, `scan` and `stack` (see `Suffix`, `Scan`, `Stack`).  It may state its
    `receptive_field`: the number of input steps, including the present one, that an output can depend on; None if
    the past is unlimited.
    """

    name: ClassVar[str]
    """Name in kebab-case, unique among the installed plugins."""

    @abstractmethod
    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        """Return the search space of the architecture's own parameters.

        Leave out widths: they are solved from the parameter budget.  Leave out optimiser, learning rate, clipping
        and dropout: their spaces are the same for every model of a task.
        """

    @abstractmethod
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Return a backbone with these widths.

        widths: one integer >= 1 per level, see `levels`.
        params: one value for each name in `space`, and `dropout` in [0, 1).  The type is Any because each model
        names its own keywords.

        Draw the initial weights from PyTorch's default generator, and draw nothing else.
        """

    def levels(self, **params: Any) -> int:
        """Return the number of widths that `build` takes with these parameters."""
        return 1

    def published(self, row: str) -> Published | None:
        """Return the published setting for a row of a paper's table (`Task.row`), or None if none is published.

        If a table states two settings for one row, the second is requested as `<row>/second`.
        """
        return None

    def unsupported(self, signature: Signature, **params: Any) -> str | None:
        """Return why these parameters cannot be used for this task, or None.

        The harness rejects such a configuration and draws another one.
        """
        return None


@runtime_checkable
class Suffix(Protocol):
    """A backbone that can compute its last outputs without computing the others."""

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        """Return forward(x)[:, -steps:], shape (batch, steps, out_features), for 1 <= steps <= time."""


@runtime_checkable
class Scan(Protocol):
    """A backbone that can continue a sequence where an earlier call stopped."""

    def scan(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs over x and the state after it.

        state: the state after the previous window; None at the start of a sequence.

        Over consecutive windows, the outputs concatenated along time equal `forward` over the concatenated windows.
        The state is a tree (tuples, lists, dicts) of tensors with the batch first, so its type is Any.  Do not detach
        it or change it in place.  x never contains padding.
        """


@runtime_checkable
class Stack(Protocol):
    """A backbone that can be computed together with others of the same shape, as one module."""

    def stack(self, count: int) -> nn.Module:
        """Return `count` backbones of this shape as one module.

        The module has the mode, device and precision of this backbone; its weights may have any values.  Its
        parameters and buffers have the same names, with an additional first axis of length `count`.  The inputs and
        outputs of its `forward` have this axis too: (count, batch, time, features).  It offers `suffix` and `scan` if
        this backbone does; their inputs, outputs and states have the additional axis as well.

        With slice i of the weights and slice i of the input, it computes what this backbone would compute, including
        gradients.  Dropout draws independently for each of the `count` backbones.
        """
