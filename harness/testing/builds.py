"""The laws of how a model builds: sizes, random numbers, devices, copies."""

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
"""Uniform widths that are counted."""
BUDGETS = (100_000, 200_000, 50_000)
TOLERANCE = 0.01
"""Of a study file, where it says nothing else."""
MANY = 3
"""Configurations at each signature, where none is run."""
FEW_STEPS = 6
SHORTEST = 24
"""Steps at which every parameter has something to do: a recurrent weight has nothing at the first."""


@each_case(draws=MANY)
def check_meta_build(case: Case) -> None:
    """build on the meta device allocates nothing, and makes the parameters that it makes elsewhere."""
    with torch.device("meta"):
        planned = case.build()
    real = {name: tuple(parameter.shape) for name, parameter in case.build().named_parameters()}
    shapes = {name: tuple(parameter.shape) for name, parameter in planned.named_parameters()}
    require(shapes == real, f"other parameters on the meta device: {sorted(shapes.items() ^ real.items())[:2]}")
    for name, parameter in planned.named_parameters():
        require(parameter.is_meta, f"{name} is on {parameter.device}, whichever device is the default one")


@each_case()
def check_count_grows(case: Case) -> None:
    """The count grows with the width, except where width equals in_features and a projection vanishes."""
    levels, special = len(case.widths), case.signature.in_features
    widths = [width for width in sorted({*WIDTHS, special - 1, special + 1}) if width >= 1 and width != special]

    def count(width: int) -> int:
        return count_at(case.model, case.signature, (width,) * levels, case.params).parameters

    for (narrow, fewer), (wide, more) in pairwise((width, count(width)) for width in widths):
        require(fewer < more, f"{fewer:,} parameters at width {narrow}, {more:,} at width {wide}")


@each_case(draws=MANY)
def check_budget(case: Case) -> None:
    """Every configuration meets a parameter budget of some usual size, within 1 % or half its smallest step."""
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
    """build refuses a parameter that it does not know, by name."""
    try:
        case.model.build(case.signature, case.widths, **case.params, **{UNKNOWN: 1})
    # Any kind of refusal will do, as long as it names what was wrong.
    except Exception as error:  # noqa: BLE001
        require(UNKNOWN in str(error), f"build refuses {UNKNOWN!r} without naming it: {described(error)}")
        return
    raise CheckError(f"build takes {UNKNOWN!r} and says nothing")


@each_case()
def check_seed(case: Case) -> None:
    """The seed of torch's default generator decides the initial weights, whatever was built before."""
    one = _weights(case.build(1))
    other = _weights(case.build(2))
    require(torch.equal(one, _weights(case.build(1))), "two builds from one seed have different weights")
    require(not torch.equal(one, other), "two seeds give the same weights, so repetitions would all begin alike")


def _weights(backbone: nn.Module) -> Tensor:
    weights = [parameter.detach().flatten() for parameter in backbone.parameters()]
    require(
        bool(weights), "the backbone has no parameters; layers in a plain list count as none, in nn.ModuleList they do"
    )
    return torch.cat(weights)


@each_case()
def check_random_state(case: Case) -> None:
    """Weights and dropout draw from torch's default generator alone, eval() draws nothing, nothing is seeded."""
    x, before = case.hidden(case.signature.length), random_states()
    backbone = case.build()
    require(torch.initial_seed() == case.seed, "build seeds torch's default generator")
    backbone.double().train()(x)
    moved = moved_generators(before)
    require(not moved, f"build or forward draws from the global generator of {' and '.join(moved)}")
    state = torch.get_rng_state()
    _every_verb(backbone.eval(), x)
    require(torch.equal(torch.get_rng_state(), state), "eval() draws random numbers")


def _every_verb(backbone: nn.Module, x: Tensor) -> list[Tensor]:
    """What each verb that is offered gives, states included."""
    given = [cast(Tensor, backbone(x))]
    if isinstance(backbone, Suffix):
        given.append(backbone.suffix(x, 1))
    if isinstance(backbone, Scan):
        y, state = backbone.scan(x)
        given += [y, *(leaf for leaf in leaves_of(state) if isinstance(leaf, Tensor))]
    return given


@each_case()
def check_gradients(case: Case) -> None:
    """Every parameter gets a gradient that is finite and not all zero."""
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
    """Every verb answers in the type it was asked in: float64 as well as float32."""
    for dtype in (torch.float32, torch.float64):
        backbone = case.build().to(dtype).eval()
        for given in _every_verb(backbone, case.hidden(case.signature.length).to(dtype)):
            right = given.dtype == dtype or not given.is_floating_point()
            require(right, f"a backbone of {dtype} answers in {given.dtype}")


@each_case(draws=1)
def check_device(case: Case) -> None:
    """No verb makes a tensor elsewhere than its input: on the meta device, and on CUDA where there is one."""
    x = case.hidden(min(case.signature.length, FEW_STEPS)).float()
    for device in ("meta", *(["cuda"] if torch.cuda.is_available() else [])):
        backbone = case.build().to(device).eval()
        for given in _every_verb(backbone, x.to(device)):
            require(given.device.type == device, f"a backbone on {device} answers on {given.device.type}")


@each_case()
def check_copies(case: Case) -> None:
    """A deep copy after a training step shares nothing, and a state_dict, stored and loaded, is the whole function."""
    backbone = case.backbone()
    x = case.hidden(case.signature.length)
    backbone(x).sum().backward()
    expected = backbone(x).detach()
    twin = copy.deepcopy(backbone)
    require_close(twin(x), expected, "a deep copy is another function")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    require_close(backbone(x), expected, "a deep copy shares weights with what it was copied from")
    stored = io.BytesIO()
    torch.save(backbone.state_dict(), stored)
    stored.seek(0)
    fresh = case.build(case.seed + 1).double().eval()
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    require_close(fresh(x), expected, "a state_dict, loaded into a fresh build, is another function")


def check_other_process(model: Model | ModelSubject) -> None:
    """Model and backbone pass through pickle into another process, where build gives the same weights."""
    with random_state_kept():
        cases = list(subject_of(model).cases(1))
        if not cases:
            raise NotApplicableError("supports none of the signatures")
        faults = subprocesses.ask(subprocesses.faults_of_backbones, [_parcel(case) for case in cases])
    require(not faults, "; ".join(faults[:2]))


def _parcel(case: Case) -> subprocesses.Parcel:
    backbone = case.build().double().eval()
    x = case.hidden(case.signature.length)
    return subprocesses.Parcel(case, backbone, map_state(torch.clone, backbone.state_dict()), x, backbone(x).detach())
