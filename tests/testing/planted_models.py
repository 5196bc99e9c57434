"""Sound backbones and a sound model, and copies of them with one defect each.

A defective backbone passes its arguments on to the sound one, hence Any.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Model, Signature
from harness.training.stacked_network import StackedLinear


class Taps(nn.Module):
    """y[t] = tanh(W [x[t - d] for d in delays] + b), with every optional method and no defect."""

    delays: ClassVar[tuple[int, ...]] = (0, 1)

    def __init__(self, in_features: int, width: int, dropout: float, scale: float) -> None:
        super().__init__()
        self.out_features: Any = width  # an int, except in one of the defects
        self.reach = max(self.delays)
        self.receptive_field = self.reach + 1
        self.linear = nn.Linear(len(self.delays) * in_features, width)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.read(F.pad(x, (0, 0, self.reach, 0)))

    def read(self, x: Tensor) -> Tensor:
        """Return the outputs at all steps of x, (batch, reach + steps, in_features), except the first `reach`."""
        steps = x.shape[-2] - self.reach
        delayed = [x[..., self.reach - delay : self.reach - delay + steps, :] for delay in self.delays]
        y: Tensor = self.dropout(torch.tanh(self.scale * self.linear(torch.cat(delayed, dim=-1))))
        return y

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        return self.read(F.pad(x, (0, 0, self.reach, 0))[..., -(steps + self.reach) :, :])

    def scan(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return outputs and state; the state is the last `reach` inputs, (batch, reach, in_features)."""
        before = x.new_zeros(*x.shape[:-2], self.reach, x.shape[-1]) if state is None else state
        joined = torch.cat([before, x], dim=-2)
        return self.read(joined), joined[..., joined.shape[-2] - self.reach :, :].clone()


class Stackable(Taps):
    """Taps with `stack`; the input of a stack has a first axis of members."""

    stacked: ClassVar[type[StackedLinear]] = StackedLinear

    def stack(self, count: int) -> nn.Module:
        stack = copy.deepcopy(self)
        stack.linear = self.stacked(count, self.linear)  # type: ignore[assignment]  # replaces an nn.Linear
        return stack


class Sound(Model):
    """A model without a defect."""

    name: ClassVar[str] = "planted"
    backbone: ClassVar[type[nn.Module]] = Stackable

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {"scale": FloatDistribution(0.5, 1.5)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Return the backbone; the parameters are `dropout` and `scale`."""
        return self.backbone(signature.in_features, widths[0], **params)


class WidthAsFloat(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.out_features = float(self.out_features)


class LostAxis(Taps):
    def read(self, x: Tensor) -> Tensor:
        return super().read(x).squeeze(1)


class CentredInTraining(Taps):
    def read(self, x: Tensor) -> Tensor:
        y = super().read(x)
        return y - y.mean(dim=1, keepdim=True) if self.training else y


class LooksAhead(nn.Module):
    """A backbone that reads one future step; it has no suffix and scan, whose checks would fail too."""

    def __init__(self, in_features: int, width: int, dropout: float, scale: float) -> None:
        super().__init__()
        self.out_features = width
        self.linear = nn.Linear(in_features, width)

    def forward(self, x: Tensor) -> Tensor:
        ahead = F.pad(x, (0, 0, 0, 1))[:, 1:]
        return torch.tanh(self.linear(x + 0.1 * ahead))


class OneStepLate(Taps):
    delays: ClassVar[tuple[int, ...]] = (1, 2)


class SuffixWithoutHistory(Taps):
    def suffix(self, x: Tensor, steps: int) -> Tensor:
        return self(x[:, -steps:])  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class ScanDrifts(Taps):
    def scan(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, after = super().scan(x, state)
        return (y if state is None else y + 1e-3), after


class StateIsAView(Taps):
    def scan(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, _ = super().scan(x, state)
        before = x.new_zeros(len(x), self.reach, x.shape[2]) if state is None else state
        return y, torch.cat([before, x], dim=1)[:, -self.reach :]


class StateIsDetached(Taps):
    def scan(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, after = super().scan(x, state)
        return y, after.detach()


class FieldTooShort(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.receptive_field = self.reach


class OneBias(StackedLinear):
    def forward(self, x: Tensor) -> Tensor:
        own = self.bias if self.bias is not None else x.new_zeros(len(x), 1)
        return super().forward(x) + (own[:1] - own)[:, None, None]


class StackSharesBias(Stackable):
    stacked = OneBias


class OneMask(nn.Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(torch.ones_like(x[:1]))


class StackSharesDropout(Stackable):
    def stack(self, count: int) -> nn.Module:
        stack = super().stack(count)
        stack.dropout = OneMask(self.dropout.p)
        return stack


class CentredOverBatch(Taps):
    def read(self, x: Tensor) -> Tensor:
        y = super().read(x)
        return y - 0.1 * y.mean(dim=0)


class LearnsInForward(Taps):
    """A backbone that updates a running mean in forward, as running statistics do."""

    shift: Tensor

    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.register_buffer("shift", torch.zeros(()))

    def read(self, x: Tensor) -> Tensor:
        if self.training:
            self.shift += 0.1 * x.detach().mean()
            return super().read(x)
        return super().read(x) + self.shift


class NeedsContiguousInput(Taps):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(-1).view(x.shape))


class BuildsOnCpu(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.linear.bias = nn.Parameter(torch.rand(self.linear.out_features, device="cpu") - 0.5)


class EvenWidths(Taps):
    def __init__(self, in_features: int, width: int, dropout: float, scale: float) -> None:
        super().__init__(in_features, width + width % 2, dropout, scale)


class LargeTable(Taps):
    """A backbone with 300,000 parameters at any width."""

    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.table = nn.Parameter(torch.randn(300_000))

    def read(self, x: Tensor) -> Tensor:
        return super().read(x) + self.table.mean()


class SameWeights(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        for parameter in self.parameters():
            parameter.data = torch.linspace(-0.5, 0.5, parameter.numel()).reshape(parameter.shape)


class Unseeded(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        generator = torch.Generator()
        generator.seed()
        if not self.linear.bias.is_meta:
            nn.init.uniform_(self.linear.bias, generator=generator)


class DrawsFromPython(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        random.random()


class Unused(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.idle = nn.Linear(3, self.linear.out_features)


class AnswersInDouble(Taps):
    def read(self, x: Tensor) -> Tensor:
        return super().read(x).double()


class MakesOnCpu(Taps):
    def read(self, x: Tensor) -> Tensor:
        return super().read(x) + torch.zeros(1)


class OutsideStateDict(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.gain = torch.rand(())

    def read(self, x: Tensor) -> Tensor:
        return super().read(x) * self.gain


class HashedWeights(Taps):
    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        with torch.no_grad():
            self.linear.weight.mul_(1 + hash("taps") % 100_003 / 100_003)


class TakesAnything(Sound):
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return Taps(signature.in_features, widths[0], params["dropout"], params["scale"])


def planted(backbone: type[nn.Module]) -> Model:
    """Return the model with this defective backbone; its class can be imported by name, as another process requires."""
    return PLANTED_MODELS[backbone.__name__]()


BACKBONES: tuple[type[nn.Module], ...] = (
    WidthAsFloat,
    LostAxis,
    CentredInTraining,
    LooksAhead,
    OneStepLate,
    SuffixWithoutHistory,
    ScanDrifts,
    StateIsAView,
    StateIsDetached,
    FieldTooShort,
    StackSharesBias,
    StackSharesDropout,
    CentredOverBatch,
    LearnsInForward,
    NeedsContiguousInput,
    BuildsOnCpu,
    EvenWidths,
    LargeTable,
    SameWeights,
    Unseeded,
    DrawsFromPython,
    Unused,
    AnswersInDouble,
    MakesOnCpu,
    OutsideStateDict,
    HashedWeights,
)
PLANTED_MODELS: Mapping[str, type[Sound]] = {
    kind.__name__: type(f"{kind.__name__}Model", (Sound,), {"backbone": kind, "__module__": __name__})
    for kind in BACKBONES
}
globals().update({kind.__name__: kind for kind in PLANTED_MODELS.values()})
