"""The configurations of a model that its checks use: a few signatures, and a few draws for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.api.distributions import at_unit
from harness.api.model import Model
from harness.api.signature import Bits, Classes, Real, Signature, Tokens
from harness.records import ParamValue
from harness.seeds import derive
from harness.testing.outcomes import CheckError, NotApplicableError, random_state_kept
from harness.training.network import Network, lazy_fault

SIGNATURES = (
    Signature(Real(1), Real(1), length=24, readout="last"),
    Signature(Real(2), Classes(3), length=40, readout="last", dependency=40),
    Signature(Real(88), Bits(88), length=12, readout="each"),
    Signature(Tokens(11, 5), Classes(11), length=17, readout="each"),
    Signature(Tokens(13, 6), Classes(13), length=16, readout="each", tied=True),
    Signature(Real(3), Real(2), length=1, readout="last"),
)
"""One number per step, a known dependency, a piano roll, tokens, tokens with a tied decoder, a single step."""

DRAWS = 2
"""Configurations per signature."""
REDRAWS = 50
"""Successive configurations that a model may reject before a signature counts as unsupported."""
NARROWEST, WIDEST = 9, 13
"""Range of the widths; in narrower backbones of rectifiers, too often all are off and a check has no effect."""
DROPOUTS = (0.0, 0.3)
JITTER = 0.05
"""Standard deviation of the noise added to each parameter; a parameter that is initially zero could hide a defect."""


@dataclass(frozen=True)
class Case:
    """One configuration of a model for one signature."""

    model: Model
    signature: Signature
    widths: tuple[int, ...]
    params: dict[str, Any]  # of several types, as `build` takes them
    seed: int

    def __str__(self) -> str:
        shape = f"{self.signature.input} to {self.signature.output}{' tied' if self.signature.tied else ''}"
        params = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{shape}, widths {self.widths}, {params}"

    def build(self, seed: int | None = None) -> nn.Module:
        """Return the backbone as a trial with this seed initialises it."""
        torch.manual_seed(self.seed if seed is None else seed)
        backbone = self.model.build(self.signature, self.widths, **self.params)
        if fault := lazy_fault(backbone):
            raise CheckError(fault)
        return backbone

    def backbone(self, index: int = 0) -> nn.Module:
        """Return the backbone as after some training: float64, in `eval()`, with noise added to every parameter.

        index: each index gives other weights.
        """
        backbone = self.build(self.seed + index).double().eval()
        generator = torch.Generator().manual_seed(self.seed + index)
        with torch.no_grad():
            for parameter in backbone.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_((JITTER * noise).to(parameter.dtype))
        return backbone

    def network(self) -> Network:
        """Return such a backbone between the encoder and the decoder of its task."""
        return Network(self.signature, self.backbone()).double().eval()

    def random(self, *path: str | int) -> np.random.Generator:
        """Return a generator that depends on the case and the path."""
        return np.random.default_rng(derive(self.seed, *path))

    def inputs(self, time: int, *, batch: int = 2, stream: int = 0) -> Tensor:
        """Return inputs as a task gives them: (batch, time) int64 tokens, or (batch, time, channels) float64."""
        random = self.random("inputs", stream)
        if isinstance(self.signature.input, Tokens):
            return torch.from_numpy(random.integers(self.signature.input.vocabulary, size=(batch, time)))
        return torch.from_numpy(random.standard_normal((batch, time, self.signature.in_features)))

    def hidden(self, time: int, *, batch: int = 2, stream: int = 0) -> Tensor:
        """Return inputs of the backbone: (batch, time, in_features) float64."""
        random = self.random("hidden", stream)
        return torch.from_numpy(random.standard_normal((batch, time, self.signature.in_features)))

    def times(self) -> tuple[int, ...]:
        """Return the lengths to check: one step, the length of the task, a longer one, and a random one."""
        longest = self.signature.length
        return tuple(dict.fromkeys((1, longest, longest + 3, int(self.random("time").integers(2, longest + 9)))))


@dataclass(frozen=True)
class ModelSubject:
    """A model with the signatures and fixed parameters to check it with; a check accepts it instead of the model."""

    model: Model
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    """Arguments of `build` with a fixed value, whether in its search space or not, as in a study file."""
    signatures: tuple[Signature, ...] = SIGNATURES

    @property
    def name(self) -> str:
        """Name of the model and its fixed parameters."""
        return "-".join([self.model.name, *(f"{key}-{value}" for key, value in self.fixed.items())])

    def cases(self, draws: int = DRAWS) -> Iterator[Case]:
        """Yield the configurations, the same ones in every process.

        draws: configurations per signature.  If `Model.unsupported` rejects one, another one is drawn.
        """
        for index, signature in enumerate(self.signatures):
            yielded: set[str] = set()
            for number in range(draws):
                case = self._case(signature, index, number)
                if case is not None and str(case) not in yielded:
                    yielded.add(str(case))
                    yield case

    def _case(self, signature: Signature, index: int, number: int) -> Case | None:
        seed = derive(0, self.model.name, index, number)
        random = np.random.default_rng(seed)
        space = {name: dist for name, dist in self.model.space(signature).items() if name not in self.fixed}
        for redraw in range(REDRAWS):
            # The very first draw is the middle of the space, the configuration that a reader would try first.
            units = [0.5 if number == redraw == 0 else float(unit) for unit in random.random(len(space))]
            sampled = {name: at_unit(dist, unit) for (name, dist), unit in zip(space.items(), units, strict=True)}
            params: dict[str, Any] = {**sampled, **self.fixed, "dropout": DROPOUTS[number % len(DROPOUTS)]}
            if self.model.unsupported(signature, **params) is None:
                widths = random.integers(NARROWEST, WIDEST + 1, size=self.model.levels(**params))
                return Case(self.model, signature, tuple(int(width) for width in widths), params, seed)
        return None


Law = Callable[[Case], None]
ModelCheck = Callable[[Model | ModelSubject], None]


def subject_of(model: Model | ModelSubject) -> ModelSubject:
    """Return a model as a subject with the default signatures; a subject is returned unchanged."""
    return model if isinstance(model, ModelSubject) else ModelSubject(model)


def each_case(draws: int = DRAWS) -> Callable[[Law], ModelCheck]:
    """Convert a check of one configuration to a check of a model, which checks each of its configurations.

    draws: configurations per signature.

    The check raises CheckError with the configuration at the first failure, and NotApplicableError if it applies to no
    configuration.
    """

    def decorate(law: Law) -> ModelCheck:
        @wraps(law)
        def check(model: Model | ModelSubject) -> None:
            subject = subject_of(model)
            reasons = [_inapplicable_reason(law, case) for case in subject.cases(draws)]
            if not reasons:
                raise NotApplicableError(f"{subject.name} supports none of the {len(subject.signatures)} signatures")
            if all(reason is not None for reason in reasons):
                raise NotApplicableError(reasons[0])

        return check

    return decorate


def _inapplicable_reason(law: Law, case: Case) -> str | None:
    """Check one configuration; return None if the law holds, or why it does not apply.

    Exceptions are raised with the configuration.
    """
    try:
        with random_state_kept():
            law(case)
    except NotApplicableError as inapplicable:
        return str(inapplicable)
    except CheckError as failure:
        raise CheckError(f"{failure} [{case}]") from None
    except Exception as error:
        error.add_note(str(case))
        raise
    return None
