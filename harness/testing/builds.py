"""Checks of how a model builds its backbones: sizes, random numbers, devices, copies."""

from __future__ import annotations

import copy
import io
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from harness.api.model import Model, Scan, Suffix
from harness.errors import BudgetError
from harness.study.budget import count_at, solve
from harness.testing import subprocesses
from harness.testing.backbones import BATCH, leaves_of
from harness.testing.cases import Case, ModelSubject, each_case, subject_of
from harness.testing.outcomes import (
    CheckError,
    NotApplicableError,
    described,
    moved_generators,
    random_state_kept,
    random_states,
    require,
    require_close,
)
from harness.training.network import map_state

UNKNOWN = "no_such_parameter"
WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 31, 32, 33)
"""Widths, equal for all levels, at which parameters are counted."""
BUDGETS = (100_000, 200_000, 50_000)
TOLERANCE = 0.01
"""Relative deviation from the budget, the default of a study file."""
MANY = 3
"""Configurations per signature, for checks that run no backbone."""
FEW_STEPS = 6
SHORTEST = 24
"""Steps at which every parameter affects the output; recurrent weights do not affect the first step."""


@each_case(draws=MANY)
def check_meta_build(case: Case) -> None:
    """Check that `build` on the meta device allocates no memory and makes the same parameters as on other devices."""
    with torch.device("meta"):
        planned = case.build()
    expected = {name: tuple(parameter.shape) for name, parameter in case.build().named_parameters()}
    shapes = {name: tuple(parameter.shape) for name, parameter in planned.named_parameters()}
    different = sorted(shapes.items() ^ expected.items())
    require(not different, f"build makes different parameters on the meta device: {different[:2]}")
    for name, parameter in planned.named_parameters():
        require(
            parameter.is_meta, f"{name} is on {parameter.device} under the meta device; create it on the default one"
        )


@each_case()
def check_count_grows(case: Case) -> None:
    """Check that the number of parameters grows with the width.

    The width that equals in_features is excepted, because a projection may be left out there.
    """
    levels, special = len(case.widths), case.signature.in_features
    widths = [width for width in sorted({*WIDTHS, special - 1, special + 1}) if width >= 1 and width != special]

    def count(width: int) -> int:
        return count_at(case.model, case.signature, (width,) * levels, case.params).parameters

    for (narrow, fewer), (wide, more) in pairwise((width, count(width)) for width in widths):
        require(fewer < more, f"{fewer:,} parameters at width {narrow}, {more:,} at width {wide}; the count must grow")


@each_case(draws=MANY)
def check_budget(case: Case) -> None:
    """Check that every configuration meets one of three usual parameter budgets, within 1 % or half its smallest step.

    The budgets are 50,000, 100,000 and 200,000 parameters.
    """
    faults = []
    for budget in BUDGETS:
        try:
            solve(case.model, case.signature, case.params, budget=budget, tolerance=TOLERANCE)
        except BudgetError as error:
            faults.append(str(error))
        else:
            return
    raise CheckError("; ".join(faults))


@each_case()
def check_unknown_parameter(case: Case) -> None:
    """Check that `build` rejects an unknown parameter and names it."""
    try:
        case.model.build(case.signature, case.widths, **case.params, **{UNKNOWN: 1})
    # Any exception is fine if it names the parameter.
    except Exception as error:  # noqa: BLE001
        require(
            UNKNOWN in str(error), f"build rejects unknown parameter {UNKNOWN!r} without its name: {described(error)}"
        )
        return
    raise CheckError(f"build silently ignores unknown parameter {UNKNOWN!r}")


@each_case()
def check_seed(case: Case) -> None:
    """Check that the seed of PyTorch's default generator determines the initial weights, whatever was built before."""
    first = _weights(case.build(1))
    second = _weights(case.build(2))
    require(torch.equal(first, _weights(case.build(1))), "two builds with the same seed have different weights")
    require(not torch.equal(first, second), "two seeds give the same weights, so all repetitions would start equally")


def _weights(backbone: nn.Module) -> Tensor:
    weights = [parameter.detach().flatten() for parameter in backbone.parameters()]
    require(bool(weights), "the backbone has no parameters; put layers into nn.ModuleList instead of a plain list")
    return torch.cat(weights)


@each_case()
def check_random_state(case: Case) -> None:
    """Check that weights and dropout draw only from PyTorch's default generator.

    In `eval()` nothing is drawn, and neither `build` nor `forward` sets a seed.
    """
    x, before = case.hidden(case.signature.length), random_states()
    backbone = case.build()
    require(torch.initial_seed() == case.seed, "build seeds PyTorch's default generator")
    backbone.double().train()(x)
    moved = moved_generators(before)
    require(not moved, f"build or forward draws from the global generator of {' and '.join(moved)}")
    state = torch.get_rng_state()
    _all_outputs(backbone.eval(), x)
    require(torch.equal(torch.get_rng_state(), state), "the backbone draws random numbers in eval()")


def _all_outputs(backbone: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the outputs of every method that the backbone offers, including states."""
    outputs = [cast(Tensor, backbone(x))]
    if isinstance(backbone, Suffix):
        outputs.append(backbone.suffix(x, 1))
    if isinstance(backbone, Scan):
        y, state = backbone.scan(x)
        outputs += [y, *(leaf for leaf in leaves_of(state) if isinstance(leaf, Tensor))]
    return outputs


@each_case()
def check_gradients(case: Case) -> None:
    """Check that every parameter gets a gradient that is finite and not all zero."""
    backbone = case.backbone().train()
    x = case.hidden(max(case.signature.length, SHORTEST), batch=BATCH)
    torch.manual_seed(case.seed)
    y = backbone(x)
    generator = torch.Generator().manual_seed(case.seed)
    (y * torch.randn(y.shape, generator=generator, dtype=y.dtype)).sum().backward()
    for name, parameter in backbone.named_parameters():
        if not parameter.requires_grad:
            continue
        gradient = parameter.grad
        require(gradient is not None and bool((gradient != 0).any()), f"{name} gets no gradient")
        require(gradient is not None and bool(gradient.isfinite().all()), f"{name} gets a gradient that is not finite")


@each_case()
def check_dtype(case: Case) -> None:
    """Check that every method returns the dtype of its input: float64 as well as float32."""
    for dtype in (torch.float32, torch.float64):
        backbone = case.build().to(dtype).eval()
        for output in _all_outputs(backbone, case.hidden(case.signature.length).to(dtype)):
            same = output.dtype == dtype or not output.is_floating_point()
            require(same, f"a backbone in {dtype} returns {output.dtype}")


@each_case(draws=1)
def check_device(case: Case) -> None:
    """Check that every method returns tensors on the device of its input: meta, and CUDA if present."""
    x = case.hidden(min(case.signature.length, FEW_STEPS)).float()
    for device in ("meta", *(["cuda"] if torch.cuda.is_available() else [])):
        backbone = case.build().to(device).eval()
        for output in _all_outputs(backbone, x.to(device)):
            require(output.device.type == device, f"a backbone on {device} returns a tensor on {output.device.type}")


@each_case()
def check_copies(case: Case) -> None:
    """Check that a deep copy shares no weights, also after a training step, and that the state dict is complete.

    A new backbone with the stored and loaded state dict must compute the same outputs.
    """
    backbone = case.backbone()
    x = case.hidden(case.signature.length)
    backbone(x).sum().backward()
    expected = backbone(x).detach()
    duplicate = copy.deepcopy(backbone)
    require_close(duplicate(x), expected, "a deep copy computes different outputs")
    with torch.no_grad():
        for parameter in duplicate.parameters():
            parameter.add_(1)
    require_close(backbone(x), expected, "a deep copy shares weights with its original")
    stored = io.BytesIO()
    torch.save(backbone.state_dict(), stored)
    stored.seek(0)
    restored = case.build(case.seed + 1).double().eval()
    restored.load_state_dict(torch.load(stored, weights_only=True))
    require_close(restored(x), expected, "a new backbone with the loaded state dict computes different outputs")


def check_other_process(model: Model | ModelSubject) -> None:
    """Check that model and backbone can be pickled into another process, where `build` gives the same weights."""
    with random_state_kept():
        cases = list(subject_of(model).cases(1))
        if not cases:
            raise NotApplicableError("supports none of the signatures")
        samples = [_sample(case) for case in cases]
        faults = subprocesses.call_in_subprocess(subprocesses.faults_of_backbones, samples)
    require(not faults, "; ".join(faults[:2]))


def _sample(case: Case) -> subprocesses.BackboneSample:
    backbone = case.build().double().eval()
    x = case.hidden(case.signature.length)
    weights = map_state(torch.clone, backbone.state_dict())
    return subprocesses.BackboneSample(case, backbone, weights, x, backbone(x).detach())
