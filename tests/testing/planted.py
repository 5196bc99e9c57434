"""Models and tasks with one defect each, and what of the conformance kit catches it.

`python -m tests.testing.planted` prints the table of checks against defects.  A defective backbone passes its arguments
on to the sound one, hence Any.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn
from torch.nn import functional as F

from harness import (
    Batch,
    Bits,
    Dataset,
    Metric,
    Model,
    Ragged,
    Real,
    Seeds,
    Signature,
    Split,
    Task,
    Total,
    derive,
    mean_of,
)
from harness.testing import (
    MODEL_CHECKS,
    SIGNATURES,
    TASK_CHECKS,
    CheckResult,
    ModelSubject,
    TaskSubject,
)
from harness.testing.outcomes import run_checks
from harness.training.stacked_network import StackedLinear

IN_ANOTHER_PROCESS = ("check_other_process", "check_data_in_another_process")
"""Checks that start an interpreter, seconds each."""
FEW = (SIGNATURES[0], SIGNATURES[4])
"""Numbers read at the end, and tied tokens: where the planted models are looked at."""


class Taps(nn.Module):
    """y[t] = tanh(W [x[t - d] for d in delays] + b), with every verb and nothing wrong."""

    delays: ClassVar[tuple[int, ...]] = (0, 1)

    def __init__(self, in_features: int, width: int, dropout: float, scale: float) -> None:
        super().__init__()
        self.out_features: Any = width  # an int, but one of the defects states something else
        self.reach = max(self.delays)
        self.receptive_field = self.reach + 1
        self.linear = nn.Linear(len(self.delays) * in_features, width)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.read(F.pad(x, (0, 0, self.reach, 0)))

    def read(self, x: Tensor) -> Tensor:
        """Outputs at all steps of x, (batch, reach + steps, in_features), but the first `reach`."""
        steps = x.shape[-2] - self.reach
        delayed = [x[..., self.reach - delay : self.reach - delay + steps, :] for delay in self.delays]
        y: Tensor = self.dropout(torch.tanh(self.scale * self.linear(torch.cat(delayed, dim=-1))))
        return y

    def suffix(self, x: Tensor, steps: int) -> Tensor:
        return self.read(F.pad(x, (0, 0, self.reach, 0))[..., -(steps + self.reach) :, :])

    def scan(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """state: the last `reach` inputs, (batch, reach, in_features)."""
        before = x.new_zeros(*x.shape[:-2], self.reach, x.shape[-1]) if state is None else state
        joined = torch.cat([before, x], dim=-2)
        return self.read(joined), joined[..., joined.shape[-2] - self.reach :, :].clone()


class Stackable(Taps):
    """Several as one too: x has an axis of members in front then."""

    stacked: ClassVar[type[StackedLinear]] = StackedLinear

    def stack(self, count: int) -> nn.Module:
        together = copy.deepcopy(self)
        together.linear = self.stacked(count, self.linear)  # type: ignore[assignment]  # in the place of one
        return together


class Sound(Model):
    """Nothing is wrong with it."""

    name: ClassVar[str] = "planted"
    backbone: ClassVar[type[nn.Module]] = Stackable

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {"scale": FloatDistribution(0.5, 1.5)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        """Takes `dropout` and `scale`."""
        return self.backbone(signature.in_features, widths[0], **params)


class WidthAsFloat(Taps):
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        self.out_features = float(self.out_features)


class LostAxis(Taps):
    def read(self, x: Tensor) -> Tensor:
        return super().read(x).squeeze(1)


class CentredInTraining(Taps):
    def read(self, x: Tensor) -> Tensor:
        y = super().read(x)
        return y - y.mean(dim=1, keepdim=True) if self.training else y


class LooksAhead(nn.Module):
    """Without suffix and scan, whose laws a look ahead breaks too."""

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
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
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
        together = super().stack(count)
        together.dropout = OneMask(self.dropout.p)
        return together


class CentredOverBatch(Taps):
    def read(self, x: Tensor) -> Tensor:
        y = super().read(x)
        return y - 0.1 * y.mean(dim=0)


class LearnsInForward(Taps):
    """As running statistics do."""

    shift: Tensor

    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
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
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        self.linear.bias = nn.Parameter(torch.rand(self.linear.out_features, device="cpu") - 0.5)


class EvenWidths(Taps):
    def __init__(self, in_features: int, width: int, dropout: float, scale: float) -> None:
        super().__init__(in_features, width + width % 2, dropout, scale)


class LargeTable(Taps):
    """300,000 parameters at any width."""

    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        self.table = nn.Parameter(torch.randn(300_000))

    def read(self, x: Tensor) -> Tensor:
        return super().read(x) + self.table.mean()


class SameWeights(Taps):
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        for parameter in self.parameters():
            parameter.data = torch.linspace(-0.5, 0.5, parameter.numel()).reshape(parameter.shape)


class Unseeded(Taps):
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        generator = torch.Generator()
        generator.seed()
        if not self.linear.bias.is_meta:
            nn.init.uniform_(self.linear.bias, generator=generator)


class DrawsFromPython(Taps):
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        random.random()


class Unused(Taps):
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        self.idle = nn.Linear(3, self.linear.out_features)


class AnswersInDouble(Taps):
    def read(self, x: Tensor) -> Tensor:
        return super().read(x).double()


class MakesOnCpu(Taps):
    def read(self, x: Tensor) -> Tensor:
        return super().read(x) + torch.zeros(1)


class OutsideStateDict(Taps):
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        self.gain = torch.rand(())

    def read(self, x: Tensor) -> Tensor:
        return super().read(x) * self.gain


class HashedWeights(Taps):
    def __init__(self, *given: Any, **params: Any) -> None:
        super().__init__(*given, **params)
        with torch.no_grad():
            self.linear.weight.mul_(1 + hash("taps") % 100_003 / 100_003)


class TakesAnything(Sound):
    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return Taps(signature.in_features, widths[0], params["dropout"], params["scale"])


def planted(backbone: type[nn.Module]) -> Model:
    """A model that is sound but for its backbone; importable under its name, as another process needs it."""
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


class Flips(Task):
    """Coin flips; each step asks for those of two steps ago.  Nothing is wrong with it."""

    name: ClassVar[str] = "planted"
    sequences: int = 64

    def signature(self) -> Signature:
        return Signature(Real(2), Bits(2), length=20, readout="each", dependency=3)

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("nats", "nats", "lower", mean_of("nats")),)

    def training_sequences(self) -> int:
        return self.sequences

    def seed(self, split: Split, seeds: Seeds) -> int:
        return derive(seeds.fixed if split == "test" else seeds.data, self.name, split)

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        generator = torch.Generator().manual_seed(self.seed(split, seeds))
        lengths = torch.randint(12, 21, (self.sequences,), generator=generator)
        pieces = [torch.randint(0, 2, (int(n) + 2, 2), generator=generator).float() for n in lengths]
        inputs, targets = [piece[2:] for piece in pieces], [piece[:-2] for piece in pieces]
        return Ragged(torch.cat(inputs), torch.cat(targets), lengths)

    def nats(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(batch, time) of a loss and of what counts."""
        nats = F.binary_cross_entropy_with_logits(output, batch.targets, reduction="none").sum(-1)
        return nats, torch.ones_like(nats) if batch.mask is None else batch.mask.to(nats.dtype)

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, real = self.nats(output, batch)
        return {"nats": Total((nats * real).sum(), real.sum())}

    def floor(self) -> float | None:
        """Two fair coins."""
        return 1.3862943611198906


class LongerThanStated(Flips):
    def signature(self) -> Signature:
        return Signature(Real(2), Bits(2), length=10, readout="each", dependency=3)


class OtherEpoch(Flips):
    def training_sequences(self) -> int:
        return 1000


class ReadsBack(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, real = self.nats(output, batch)
        return {"nats": Total((nats * real).sum(), int(real.sum().item()))}


class ScoresPadding(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, _ = self.nats(output, batch)
        return {"nats": Total(nats.sum(), nats.numel())}


class MeanOfMeans(Flips):
    def loss(self, output: Tensor, batch: Batch) -> dict[str, Total]:
        nats, real = self.nats(output, batch)
        return {"nats": Total((nats * real).sum() / real.sum(), 1)}


class WrongWay(Flips):
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("nats", "nats", "higher", mean_of("nats")),)


class FloorTooLow(Flips):
    def floor(self) -> float | None:
        return 0.6931471805599453


class FloorTooHigh(Flips):
    def floor(self) -> float | None:
        return 2.0


class ValidatesOnTraining(Flips):
    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        return super().load("train" if split == "validation" else split, seeds, files)


class TestFromData(Flips):
    def seed(self, split: Split, seeds: Seeds) -> int:
        return derive(seeds.data, self.name, split)


class SeedsGlobally(Flips):
    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        torch.manual_seed(self.seed(split, seeds))
        return super().load(split, seeds, files)


class HashedSeed(Flips):
    def seed(self, split: Split, seeds: Seeds) -> int:
        return derive(super().seed(split, seeds), hash("flips"))


class OpensTest(Flips):
    """As one that scales its inputs by statistics of all splits."""

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
        if split == "train":
            self.load("test", seeds, files)
        return super().load(split, seeds, files)


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong, and the check that says so."""

    kind: Literal["model", "task"]
    subject: Callable[[], Model | Task]
    check: str
    what: str
    also: Mapping[str, str] = field(default_factory=dict)
    """Other checks that it cannot but fail → why."""

    @property
    def name(self) -> str:
        return type(self.subject()).__name__.removesuffix("Model")


def _model(backbone: type[nn.Module], check: str, what: str, also: Mapping[str, str] | None = None) -> Defect:
    return Defect("model", lambda: planted(backbone), check, what, also or {})


def _task(task: type[Task], check: str, what: str, also: Mapping[str, str] | None = None) -> Defect:
    return Defect("task", task, check, what, also or {})


_LOST = "where an axis is lost, whatever reads a single step is lost with it"
MODEL_DEFECTS: tuple[Defect, ...] = (
    _model(WidthAsFloat, "check_output_shape", "out_features is a float"),
    _model(
        LostAxis,
        "check_output_shape",
        "a squeeze drops the time axis of a single step",
        {"check_suffix": _LOST, "check_scan": _LOST},
    ),
    _model(CentredInTraining, "check_causality", "in training, outputs are centred over time"),
    _model(LooksAhead, "check_causality", "an output sees the next step"),
    _model(OneStepLate, "check_present_input", "an output sees only what came before its step"),
    _model(SuffixWithoutHistory, "check_suffix", "suffix begins without the steps before"),
    _model(ScanDrifts, "check_scan", "scan adds to every window but the first"),
    _model(StateIsAView, "check_scan_state", "the state is a view of the window"),
    _model(StateIsDetached, "check_scan_gradient", "scan detaches its state"),
    _model(FieldTooShort, "check_receptive_field", "the stated receptive field is one short"),
    _model(StackSharesBias, "check_stack", "all of a stack have the bias of its first"),
    _model(StackSharesDropout, "check_stack", "all of a stack drop the same"),
    _model(CentredOverBatch, "check_batch_independence", "outputs are centred over the batch"),
    _model(LearnsInForward, "check_no_state", "training calls leave a running mean that eval() adds"),
    _model(NeedsContiguousInput, "check_memory_layout", "view on an input that need not be contiguous"),
    _model(BuildsOnCpu, "check_meta_build", "a parameter is made on the CPU"),
    _model(EvenWidths, "check_count_grows", "odd widths are rounded up"),
    _model(LargeTable, "check_budget", "300,000 parameters at any width"),
    Defect("model", TakesAnything, "check_unknown_parameter", "build swallows keywords that it does not know"),
    _model(SameWeights, "check_seed", "initial weights that no seed changes"),
    _model(
        Unseeded,
        "check_seed",
        "initial weights from an unseeded generator",
        {"check_other_process": "weights that no seed decides are others there"},
    ),
    _model(DrawsFromPython, "check_random_state", "build draws from Python's generator"),
    _model(Unused, "check_gradients", "a layer that nothing reads"),
    _model(AnswersInDouble, "check_dtype", "answers in float64 whatever it is asked in"),
    _model(MakesOnCpu, "check_device", "forward makes a tensor on the CPU"),
    _model(OutsideStateDict, "check_copies", "a drawn number that is no buffer"),
    _model(HashedWeights, "check_other_process", "initial weights depend on the hash of a string"),
)
TASK_DEFECTS: tuple[Defect, ...] = (
    _task(LongerThanStated, "check_signature", "sequences are longer than the signature says"),
    _task(OtherEpoch, "check_epoch", "training_sequences is not what there are"),
    _task(ReadsBack, "check_loss", "loss reads a count back from the device"),
    _task(
        ScoresPadding,
        "check_padding",
        "padded steps are scored",
        {"check_batch_size": "a larger batch pads more"},
    ),
    _task(MeanOfMeans, "check_batch_size", "loss gives means, each counted once"),
    _task(WrongWay, "check_metric_direction", "the metric says higher and means lower"),
    _task(FloorTooLow, "check_floor", "a floor that nothing without memory reaches"),
    _task(FloorTooHigh, "check_floor", "a floor that a constant answer beats"),
    _task(ValidatesOnTraining, "check_splits_disjoint", "validation is the training split"),
    _task(TestFromData, "check_seed_axes", "the test split follows from the data seed"),
    _task(SeedsGlobally, "check_global_random_state", "load seeds torch's default generator"),
    _task(HashedSeed, "check_data_in_another_process", "the seed depends on the hash of a string"),
    _task(OpensTest, "check_test_split_unopened", "loading the training split loads the test split"),
)
DEFECTS = MODEL_DEFECTS + TASK_DEFECTS


def found_in(defect: Defect, *, elsewhere: bool) -> list[CheckResult]:
    """What every check of its kind finds.  elsewhere: also those that need another process, where not expected."""
    return results_of(defect.subject(), wanted={defect.check, *defect.also} if not elsewhere else None)


def results_of(subject: Model | Task, wanted: set[str] | None) -> list[CheckResult]:
    """Every check; of those in another process only the wanted ones, or all where that is None."""
    if isinstance(subject, Model):
        return run_checks(ModelSubject(subject, signatures=FEW), subject.name, _chosen(MODEL_CHECKS, wanted))
    return run_checks(TaskSubject(subject), subject.name, _chosen(TASK_CHECKS, wanted))


def _chosen(checks: Sequence[Callable[[Any], None]], wanted: set[str] | None) -> list[Callable[[Any], None]]:
    return [
        check
        for check in checks
        if wanted is None or check.__name__ in wanted or check.__name__ not in IN_ANOTHER_PROCESS
    ]


def caught_by(defect: Defect, *, elsewhere: bool) -> set[str]:
    return {result.check for result in found_in(defect, elsewhere=elsewhere) if result.status == "failed"}


def main() -> None:
    """One line a defect: what is wrong, and all that fail because of it."""
    elsewhere = "--quick" not in sys.argv
    print("| defect | what is wrong | caught by | also, necessarily | also, unforeseen |\n|---|---|---|---|---|")
    for defect in DEFECTS:
        caught = caught_by(defect, elsewhere=elsewhere)
        own = defect.check if defect.check in caught else "NOT CAUGHT"
        also = ", ".join(f"{name} ({why})" for name, why in defect.also.items() if name in caught)
        rest = ", ".join(sorted(caught - {defect.check, *defect.also}))
        print(f"| {defect.name} | {defect.what} | {own} | {also} | {rest} |")


if __name__ == "__main__":
    # Under the name by which another process finds what is planted here.
    from tests.testing import planted as importable

    torch.set_num_threads(1)
    importable.main()
