"""The whole network of a trial: the task's encoder, a model's backbone, the task's decoder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from harness.api.model import Model, Scan, Stack, Suffix
from harness.api.signature import Signature, Tokens
from harness.errors import PluginError
from harness.plugin.process_settings import kept_settings
from harness.records import ParamValue


class Network(nn.Module):
    """encoder → backbone → decoder, the first and the last the same for every model of a task.

    The encoder is an embedding where the input is tokens, else nothing.  The decoder is linear; where the task ties
    it, its weight is the embedding's too, behind a projection only where the backbone's width differs from it.

    Nothing but its parts counts axes from the front, so that of stacked parts it is a network too (`stacked`).
    """

    def __init__(self, signature: Signature, backbone: nn.Module) -> None:
        super().__init__()
        width = int(cast(Any, backbone).out_features)  # a documented attribute that nn.Module does not declare
        tokens = signature.input if isinstance(signature.input, Tokens) else None
        self.encoder = nn.Embedding(tokens.vocabulary, tokens.embedding) if tokens else nn.Identity()
        self.embedding_dropout = nn.Dropout(tokens.dropout) if tokens and tokens.dropout else nn.Identity()
        self.backbone = backbone
        project = signature.tied and width != signature.in_features
        self.projection = nn.Linear(width, signature.in_features, bias=False) if project else nn.Identity()
        self.decoder = nn.Linear(signature.in_features if signature.tied else width, signature.out_features)
        if signature.tied:
            # With a decoder's initial values: those of an embedding, N(0, 1), begin at 300 nats a word on 600 features.
            self.encoder.weight = self.decoder.weight

    @property
    def tied(self) -> bool:
        """Whether the decoder's weight is the encoder's too."""
        return getattr(self.encoder, "weight", None) is self.decoder.weight

    def encode(self, inputs: Tensor) -> Tensor:
        """(batch, time, channels) as they are, or (batch, time) tokens → (batch, time, embedding), some dropped."""
        return cast(Tensor, self.embedding_dropout(self.encoder(inputs)))

    def decode(self, hidden: Tensor) -> Tensor:
        """(..., out_features of the backbone) → (..., out_features of the task)."""
        return cast(Tensor, self.decoder(self.projection(hidden)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs at every step: (batch, time, n)."""
        return self.decode(self.backbone(self.encode(inputs)))

    def suffix(self, inputs: Tensor, steps: int) -> Tensor:
        """forward(inputs)[:, -steps:], without decoding, and where offered without computing, the rest."""
        x = self.encode(inputs)
        if isinstance(self.backbone, Suffix):
            return self.decode(self.backbone.suffix(x, steps))
        return self.decode(self.backbone(x)[..., -steps:, :])

    def last(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Outputs at the last real step of each sequence: (batch, n)."""
        if lengths is None:
            return self.suffix(inputs, 1)[..., 0, :]
        hidden = self.backbone(self.encode(inputs))  # (batch, time, features)
        ends = hidden.take_along_dim((lengths - 1)[..., None, None], dim=-2)  # (batch, 1, features)
        return self.decode(ends[..., 0, :])

    def scan(self, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Outputs at every step and the state to continue from (a tree of tensors, hence Any)."""
        hidden, state = cast(Scan, self.backbone).scan(self.encode(inputs), state)
        return self.decode(hidden), state


_RANDOM_FILLS = frozenset(
    {
        Tensor.normal_,
        Tensor.uniform_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.uniform_,
        nn.init.xavier_uniform_,
    }
)


class _WithoutInitialValues(TorchFunctionMode):
    """Skips random initial values: on the meta device they have no effect, and they take half of a build's time."""

    # PyTorch's own signature, hence Any.
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _RANDOM_FILLS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextlib.contextmanager
def on_meta_device() -> Iterator[None]:
    """Make every module built inside a skeleton: shapes and names, without memory or initial values."""
    with kept_settings(), torch.device("meta"), _WithoutInitialValues():
        yield


def lazy_fault(backbone: nn.Module) -> str | None:
    """Return why a backbone with lazy modules cannot be used; None if it has none."""
    lazy = [name for name, value in backbone.named_parameters() if is_lazy(value)]
    if not lazy:
        return None
    return f"build returns lazy modules ({lazy[0]} has no shape yet); use signature.in_features, as in nn.Linear"


def build_network(model: Model, signature: Signature, widths: tuple[int, ...], params: dict[str, Any]) -> Network:
    """The network of a trial, initialised from the default random state of its device.

    Raises PluginError for lazy modules, whose parameters cannot be counted.
    """
    with kept_settings():
        backbone = model.build(signature, widths, **params)
    if fault := lazy_fault(backbone):
        raise PluginError(f"model {model.name!r}: {fault}")
    return Network(signature, backbone)


def offers_scan(model: Model, signature: Signature, params: Mapping[str, ParamValue]) -> bool:
    """Whether the backbone of a configuration offers `scan`, from a skeleton of width 1."""
    with on_meta_device():
        return isinstance(model.build(signature, (1,) * model.levels(**params), **params), Scan)


def offers_stack(model: Model, signature: Signature, params: Mapping[str, ParamValue]) -> bool:
    """Whether the backbone of a configuration offers `stack`, from a skeleton of width 1."""
    with on_meta_device():
        return isinstance(model.build(signature, (1,) * model.levels(**params), **params), Stack)


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """A carried state (a tree of tuples, lists and dicts, hence Any) with the function on each of its tensors."""
    if isinstance(state, Tensor):
        return function(state)
    if isinstance(state, dict):
        return {key: map_state(function, branch) for key, branch in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map_state(function, branch) for branch in state)
    return state


def receptive_field(backbone: nn.Module) -> int | None:
    """Steps of input that an output can depend on; None where unlimited or not stated."""
    value = getattr(backbone, "receptive_field", None)
    return None if value is None else int(value)
