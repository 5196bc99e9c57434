"""The laws of what a model builds: `forward`, `suffix`, `scan`, `receptive_field`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.api.model import Scan, Suffix
from harness.api.signature import Tokens
from harness.testing.cases import Case, each_case
from harness.testing.outcomes import TOLERANCE, NotApplicableError, require, require_close
from harness.training.network import map_state, receptive_field

LONGEST_FIELD = 1000
"""Receptive fields beyond so many steps are not looked past."""
BATCH = 8
"""Sequences, where a single one might leave every rectifier shut."""
MANY = 256
"""Sequences that are asked where those show nothing: rectifiers of a few channels are shut for most."""


def scan_of(backbone: nn.Module) -> Callable[..., tuple[Tensor, Any]]:
    """The verb `scan`, whose state is a tree of tensors (hence Any); NotApplicableError where it is not offered."""
    if not isinstance(backbone, Scan):
        raise NotApplicableError("offers no scan")
    return backbone.scan


def suffix_of(backbone: nn.Module) -> Callable[[Tensor, int], Tensor]:
    if not isinstance(backbone, Suffix):
        raise NotApplicableError("offers no suffix")
    return backbone.suffix


def leaves_of(state: Any) -> list[Any]:
    """What a state, a tree of tensors, has at its ends; Any, because a faulty one has other things there."""
    if isinstance(state, dict):
        return [leaf for branch in state.values() for leaf in leaves_of(branch)]
    if isinstance(state, list | tuple):
        return [leaf for branch in state for leaf in leaves_of(branch)]
    return [] if state is None else [state]


@each_case()
def check_output_shape(case: Case) -> None:
    """forward maps (batch, time, in_features) to (batch, time, out_features), at any length from one step on."""
    backbone = case.backbone()
    features = getattr(backbone, "out_features", None)
    require(isinstance(features, int), f"out_features is {features!r}, and it must be an int")
    for time in case.times():
        y = backbone(case.hidden(time))
        kind = type(y).__name__
        require(
            isinstance(y, Tensor), f"forward gives a {kind}, not a tensor: outputs alone; a state is for scan to give"
        )
        right, shape = (2, time, features), tuple(y.shape)
        what = f"forward gives {shape} for 2 sequences of {time} steps, not (batch, time, out_features) = {right}"
        require(shape == right, what)


@each_case()
def check_causality(case: Case) -> None:
    """y[:, :t] does not change when x[:, t:] does: in values and gradients, in training and in `eval()`."""
    network = case.network()
    for training in (False, True):
        network.train(training)
        mode = "in training" if training else "in eval()"
        for time in case.times():
            now = int(case.random("now", time).integers(time))
            _later_input_changes_nothing(case, network, time, now, mode)
            _later_input_gets_no_gradient(case, network.backbone, time, now, mode)


def _later_input_changes_nothing(case: Case, network: nn.Module, time: int, now: int, mode: str) -> None:
    inputs = case.inputs(time, batch=3)
    changed = torch.cat([inputs[:, : now + 1], _altered(case, inputs)[:, now + 1 :]], dim=1)
    before, after = (_drawn_alike(case, network, each)[:, : now + 1] for each in (inputs, changed))
    # What differs from call to call would look like a leak from the future.
    again = _drawn_alike(case, network, inputs)[:, : now + 1]
    require_close(again, before, f"{mode}, the same input gives another output when it is given again")
    require_close(after, before, f"{mode}, the output at step {now} of {time} or before depends on later input")


def _later_input_gets_no_gradient(case: Case, backbone: nn.Module, time: int, now: int, mode: str) -> None:
    x = case.hidden(time, batch=3).requires_grad_()
    gradient = _gradient(_drawn_alike(case, backbone, x)[:, now], x)
    worst = float(gradient[:, now + 1 :].abs().amax()) if now + 1 < time else 0.0
    within = TOLERANCE * max(1.0, float(gradient.abs().amax()))
    require(worst <= within, f"{mode}, the output at step {now} of {time} has a gradient in later input")


def _altered(case: Case, inputs: Tensor) -> Tensor:
    """Other input at every step: other tokens, or numbers ten and more away."""
    if isinstance(case.signature.input, Tokens):
        return (inputs + 1) % case.signature.input.vocabulary
    return inputs + 10 + inputs.abs()


def _drawn_alike(case: Case, module: nn.Module, x: Tensor) -> Tensor:
    """The output with the random numbers of the case: the same dropout at every call with this shape."""
    torch.manual_seed(case.seed)
    return cast(Tensor, module(x))


def _gradient(output: Tensor, x: Tensor) -> Tensor:
    """Of a sum that weighs every output by another number, so that none cancel; zeros where nothing depends on x."""
    weights = torch.linspace(1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
    if not output.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad((output * weights).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


@each_case()
def check_present_input(case: Case) -> None:
    """y[:, t] depends on x[:, t]: the present step is not left out, as a mask that is one too strict does."""
    backbone = case.backbone()
    for time in case.times():
        seen = any(_sees_present(backbone, case.hidden(time, batch=batch)) for batch in (BATCH, MANY))
        require(seen, f"the output at the last of {time} steps ignores its own input")


def _sees_present(backbone: nn.Module, x: Tensor) -> bool:
    x = x.requires_grad_()
    return bool((_gradient(backbone(x)[:, -1], x)[:, -1] != 0).any())


@each_case()
def check_batch_independence(case: Case) -> None:
    """A sequence has the same output in any company, in training and in `eval()`."""
    backbone = case.backbone()
    x = case.hidden(case.signature.length + 1, batch=4)
    alone = torch.cat([backbone(row[None]) for row in x])
    require_close(backbone(x), alone, "a sequence has another output in a batch than alone")
    others = torch.cat([x[:1], 3 * x[1:] + 5])
    backbone.train()
    before, after = (_drawn_alike(case, backbone, each)[0] for each in (x, others))
    require_close(after, before, "in training, a sequence's output depends on the others of its batch")


@each_case()
def check_memory_layout(case: Case) -> None:
    """Input that lies otherwise in memory gives the same output."""
    backbone = case.backbone()
    x = case.hidden(case.signature.length + 2)
    transposed = x.transpose(1, 2).contiguous().transpose(1, 2)
    sliced = torch.stack([x, x], dim=2).flatten(1, 2)[:, ::2]
    expected = backbone(x)
    require_close(backbone(transposed), expected, "a transposed input gives another output")
    require_close(backbone(sliced), expected, "a strided input gives another output")


@each_case()
def check_no_state(case: Case) -> None:
    """A call leaves nothing behind: the same input gives the same output after any other call, in training too."""
    backbone = case.backbone()
    x = case.hidden(case.signature.length + 1)
    # A state that is kept may be dropped where the next batch has another size, so there is one of the same size too.
    others = [case.hidden(case.signature.length + 2, batch=batch, stream=1) for batch in (3, len(x))]
    expected = backbone(x)
    calls: list[Callable[[Tensor], object]] = [backbone, *([backbone.scan] if isinstance(backbone, Scan) else [])]
    for call, other in product(calls, others):
        call(other)
        require_close(backbone(x), expected, "the output depends on an earlier call")
    backbone.train()(others[0])
    require_close(backbone.eval()(x), expected, "the output in eval() depends on a call in training")


@each_case()
def check_suffix(case: Case) -> None:
    """suffix(x, steps) equals forward(x)[:, -steps:]."""
    backbone = case.backbone()
    suffix = suffix_of(backbone)
    for time in case.times():
        x = case.hidden(time)
        expected = backbone(x)
        for steps in sorted({1, time, int(case.random("steps", time).integers(1, time + 1))}):
            what = f"suffix({time} steps, {steps}) is not the end of forward"
            require_close(suffix(x, steps), expected[:, -steps:], what)


@each_case()
def check_scan(case: Case) -> None:
    """The state carried over consecutive windows, of any lengths, gives what forward gives over them joined."""
    backbone = case.backbone()
    scan = scan_of(backbone)
    for time in case.times():
        x = case.hidden(time)
        cuts = sorted({0, time, *case.random("cuts", time).integers(0, time + 1, size=4).tolist()})
        state: Any = None
        windows = []
        for start, stop in pairwise(cuts):
            y, state = scan(x[:, start:stop], state)
            windows.append(y)
        require_close(torch.cat(windows, dim=1), backbone(x), f"scan, cut at {cuts}, is not forward")


@each_case()
def check_scan_state(case: Case) -> None:
    """The state is a tree of tensors with the batch first, in memory of their own, and scan changes nothing in place.

    A view would keep its whole window alive, and a checkpoint would store it.
    """
    scan = scan_of(case.backbone())
    x, batch = case.hidden(case.signature.length, batch=5), 5
    _, state = scan(case.hidden(case.signature.length + 8, batch=batch, stream=1))
    for leaf in leaves_of(state):
        require(isinstance(leaf, Tensor), f"the state holds a {type(leaf).__name__}, not tensors alone")
        right, shape = leaf.ndim > 0 and len(leaf) == batch, tuple(leaf.shape)
        require(right, f"the state holds {shape} for a batch of {batch}, and the batch comes first in it")
        stored, held = leaf.untyped_storage().nbytes(), leaf.numel() * leaf.element_size()
        require(stored == held, f"a state of {held} bytes keeps {stored} alive; clone what it is cut from")
    kept, given = map_state(torch.clone, state), x.clone()
    scan(x, state)
    require(torch.equal(x, given), "scan changes its input in place")
    unchanged = all(map(torch.equal, leaves_of(state), leaves_of(kept)))
    require(unchanged, "scan changes the state it was given in place")


@each_case()
def check_scan_gradient(case: Case) -> None:
    """The state carries the gradient of earlier windows; the training loop detaches it, not scan."""
    backbone = case.backbone()
    scan = scan_of(backbone)
    time = case.signature.length + 7
    first = time - 4
    joined = case.hidden(time).requires_grad_()
    expected = _gradient(backbone(joined)[:, first:], joined)[:, :first]
    if not bool((expected.abs() > TOLERANCE).any()):
        raise NotApplicableError("its outputs see no earlier window")
    early = case.hidden(time)[:, :first].clone().requires_grad_()
    _, state = scan(early)
    y, _ = scan(case.hidden(time)[:, first:], state)
    require_close(_gradient(y, early), expected, "the gradient does not pass through the state as through forward")


@each_case()
def check_receptive_field(case: Case) -> None:
    """An output sees no further back than the stated receptive field.

    Streams are scored in windows whose history is that long; an understated one scores tokens without their past.
    """
    backbone = case.backbone()
    field = receptive_field(backbone)
    if field is None or field > LONGEST_FIELD:
        raise NotApplicableError(
            "states no receptive field" if field is None else f"sees more than {LONGEST_FIELD} steps"
        )
    x = case.hidden(field + 5, batch=BATCH).requires_grad_()
    gradient = _gradient(backbone(x)[:, -1], x)[:, :-field]
    worst = float(gradient.abs().amax())
    require(worst <= TOLERANCE, f"receptive_field is {field}, but an output depends on input before that")
