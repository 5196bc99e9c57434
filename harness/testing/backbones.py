"""Checks of the backbones that a model builds: `forward`, `suffix`, `scan`, `receptive_field`."""

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
"""Longest receptive field, in steps, that is checked."""
BATCH = 8
"""Batch size of a check of gradients; with a single sequence, all rectifiers might be off."""
MANY = 256
"""Batch size of a second attempt; rectifiers of a few channels are off for most sequences."""


def scan_of(backbone: nn.Module) -> Callable[..., tuple[Tensor, Any]]:
    """Return the method `scan`, whose state is a tree of tensors, hence Any.

    Raises NotApplicableError if the backbone does not offer it.
    """
    if not isinstance(backbone, Scan):
        raise NotApplicableError("offers no scan")
    return backbone.scan


def suffix_of(backbone: nn.Module) -> Callable[[Tensor, int], Tensor]:
    """Return the method `suffix`; raise NotApplicableError if the backbone does not offer it."""
    if not isinstance(backbone, Suffix):
        raise NotApplicableError("offers no suffix")
    return backbone.suffix


def leaves_of(state: Any) -> list[Any]:
    """Return the leaves of a state, which is a tree of tensors; Any, because a faulty state has other leaves."""
    if isinstance(state, dict):
        return [leaf for branch in state.values() for leaf in leaves_of(branch)]
    if isinstance(state, list | tuple):
        return [leaf for branch in state for leaf in leaves_of(branch)]
    return [] if state is None else [state]


@each_case()
def check_output_shape(case: Case) -> None:
    """Check that `forward` maps (batch, time, in_features) to (batch, time, out_features), for any length >= 1."""
    backbone = case.backbone()
    features = getattr(backbone, "out_features", None)
    require(isinstance(features, int), f"out_features is {features!r}; it must be an int")
    for time in case.times():
        y = backbone(case.hidden(time))
        kind = type(y).__name__
        require(
            isinstance(y, Tensor),
            f"forward returns a {kind}; it must return one tensor, the outputs (scan returns a state)",
        )
        expected, shape = (2, time, features), tuple(y.shape)
        require(
            shape == expected,
            f"forward returns {shape} for 2 sequences of {time} steps; "
            f"it must return (batch, time, out_features) = {expected}",
        )


@each_case()
def check_causality(case: Case) -> None:
    """Check that y[:, :t] does not depend on x[:, t:]: in values and gradients, in training and in `eval()`."""
    network = case.network()
    for training in (False, True):
        network.train(training)
        mode = "in training" if training else "in eval()"
        for time in case.times():
            step = int(case.random("now", time).integers(time))
            _check_values(case, network, time, step, mode)
            _check_gradient(case, network.backbone, time, step, mode)


def _check_values(case: Case, network: nn.Module, time: int, step: int, mode: str) -> None:
    """Check that the outputs up to `step` keep their values when later input changes."""
    inputs = case.inputs(time, batch=3)
    changed = torch.cat([inputs[:, : step + 1], _altered(case, inputs)[:, step + 1 :]], dim=1)
    before, after = (_seeded_output(case, network, x)[:, : step + 1] for x in (inputs, changed))
    # An output that differs from call to call would otherwise be reported as a dependence on later input.
    repeated = _seeded_output(case, network, inputs)[:, : step + 1]
    require_close(repeated, before, f"{mode}, a second call with the same input gives another output")
    require_close(after, before, f"{mode}, an output at or before step {step} of {time} depends on later input")


def _check_gradient(case: Case, backbone: nn.Module, time: int, step: int, mode: str) -> None:
    """Check that the output at `step` has no gradient with respect to later input."""
    x = case.hidden(time, batch=3).requires_grad_()
    gradient = _gradient(_seeded_output(case, backbone, x)[:, step], x)
    worst = float(gradient[:, step + 1 :].abs().amax()) if step + 1 < time else 0.0
    limit = TOLERANCE * max(1.0, float(gradient.abs().amax()))
    require(worst <= limit, f"{mode}, the output at step {step} of {time} has a gradient with respect to later input")


def _altered(case: Case, inputs: Tensor) -> Tensor:
    """Return input that differs at every step: other tokens, or numbers that are larger by at least 10."""
    if isinstance(case.signature.input, Tokens):
        return (inputs + 1) % case.signature.input.vocabulary
    return inputs + 10 + inputs.abs()


def _seeded_output(case: Case, module: nn.Module, x: Tensor) -> Tensor:
    """Return the output under the seed of the case, which gives the same dropout at every call with this shape."""
    torch.manual_seed(case.seed)
    return cast(Tensor, module(x))


def _gradient(output: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of a weighted sum of the outputs with respect to x; zeros if nothing depends on x.

    All weights differ, so that gradients do not cancel.
    """
    weights = torch.linspace(1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
    if not output.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad((output * weights).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


@each_case()
def check_present_input(case: Case) -> None:
    """Check that y[:, t] depends on x[:, t]; a causal mask that is too strict by one step excludes it."""
    backbone = case.backbone()
    for time in case.times():
        depends = any(_depends_on_present(backbone, case.hidden(time, batch=batch)) for batch in (BATCH, MANY))
        require(depends, f"the output at the last of {time} steps does not depend on the input of that step")


def _depends_on_present(backbone: nn.Module, x: Tensor) -> bool:
    x = x.requires_grad_()
    return bool((_gradient(backbone(x)[:, -1], x)[:, -1] != 0).any())


@each_case()
def check_batch_independence(case: Case) -> None:
    """Check that the output of a sequence does not depend on its batch, in training and in `eval()`."""
    backbone = case.backbone()
    x = case.hidden(case.signature.length + 1, batch=4)
    alone = torch.cat([backbone(row[None]) for row in x])
    require_close(backbone(x), alone, "a sequence has different outputs in a batch and alone")
    changed = torch.cat([x[:1], 3 * x[1:] + 5])
    backbone.train()
    before, after = (_seeded_output(case, backbone, batch)[0] for batch in (x, changed))
    require_close(after, before, "in training, the output of a sequence depends on the other sequences of its batch")


@each_case()
def check_memory_layout(case: Case) -> None:
    """Check that the output does not depend on the memory layout of the input."""
    backbone = case.backbone()
    x = case.hidden(case.signature.length + 2)
    transposed = x.transpose(1, 2).contiguous().transpose(1, 2)
    sliced = torch.stack([x, x], dim=2).flatten(1, 2)[:, ::2]
    expected = backbone(x)
    require_close(backbone(transposed), expected, "a transposed input gives another output")
    require_close(backbone(sliced), expected, "a strided input gives another output")


@each_case()
def check_no_state(case: Case) -> None:
    """Check that a call keeps no state: the same input gives the same output after any other call, also in training."""
    backbone = case.backbone()
    x = case.hidden(case.signature.length + 1)
    # A stored state may be dropped if the next batch has another size, so one batch has the same size.
    others = [case.hidden(case.signature.length + 2, batch=batch, stream=1) for batch in (3, len(x))]
    expected = backbone(x)
    calls: list[Callable[[Tensor], object]] = [backbone, *([backbone.scan] if isinstance(backbone, Scan) else [])]
    for call, other in product(calls, others):
        call(other)
        require_close(backbone(x), expected, "the output depends on an earlier call")
    backbone.train()(others[0])
    require_close(backbone.eval()(x), expected, "the output in eval() depends on an earlier call in training")


@each_case()
def check_suffix(case: Case) -> None:
    """Check that suffix(x, steps) equals forward(x)[:, -steps:]."""
    backbone = case.backbone()
    suffix = suffix_of(backbone)
    for time in case.times():
        x = case.hidden(time)
        expected = backbone(x)
        for steps in sorted({1, time, int(case.random("steps", time).integers(1, time + 1))}):
            message = f"suffix(x, {steps}) differs from the last {steps} of {time} outputs of forward"
            require_close(suffix(x, steps), expected[:, -steps:], message)


@each_case()
def check_scan(case: Case) -> None:
    """Check that `scan` over consecutive windows of any lengths gives the outputs of `forward` over all of them."""
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
        require_close(torch.cat(windows, dim=1), backbone(x), f"scan over windows cut at {cuts} differs from forward")


@each_case()
def check_scan_state(case: Case) -> None:
    """Check that the state is a tree of tensors with the batch first, and that `scan` changes nothing in place.

    The tensors must not be views.  A view would keep its whole window in memory, and a checkpoint would store it.
    """
    scan = scan_of(case.backbone())
    x, batch = case.hidden(case.signature.length, batch=5), 5
    _, state = scan(case.hidden(case.signature.length + 8, batch=batch, stream=1))
    for leaf in leaves_of(state):
        require(isinstance(leaf, Tensor), f"the state contains a {type(leaf).__name__}; it must contain only tensors")
        batch_first, shape = leaf.ndim > 0 and len(leaf) == batch, tuple(leaf.shape)
        require(
            batch_first, f"the state contains shape {shape} for a batch of {batch}; its first axis must be the batch"
        )
        stored, used = leaf.untyped_storage().nbytes(), leaf.numel() * leaf.element_size()
        require(stored == used, f"a state of {used} bytes keeps {stored} bytes in memory; clone it instead of a view")
    state_before, x_before = map_state(torch.clone, state), x.clone()
    scan(x, state)
    require(torch.equal(x, x_before), "scan changes its input in place")
    unchanged = all(map(torch.equal, leaves_of(state), leaves_of(state_before)))
    require(unchanged, "scan changes the given state in place")


@each_case()
def check_scan_gradient(case: Case) -> None:
    """Check that the state carries the gradient of earlier windows; the training loop detaches it, not `scan`."""
    backbone = case.backbone()
    scan = scan_of(backbone)
    time = case.signature.length + 7
    first = time - 4
    joined = case.hidden(time).requires_grad_()
    expected = _gradient(backbone(joined)[:, first:], joined)[:, :first]
    if not bool((expected.abs() > TOLERANCE).any()):
        raise NotApplicableError("no output depends on an earlier window")
    early = case.hidden(time)[:, :first].clone().requires_grad_()
    _, state = scan(early)
    y, _ = scan(case.hidden(time)[:, first:], state)
    require_close(_gradient(y, early), expected, "the gradient through the state differs from that through forward")


@each_case()
def check_receptive_field(case: Case) -> None:
    """Check that no output depends on input before the stated receptive field.

    Streams are scored in windows with a history of that length.  If it is too short, tokens are scored without a part
    of their context.
    """
    backbone = case.backbone()
    field = receptive_field(backbone)
    if field is None or field > LONGEST_FIELD:
        raise NotApplicableError(
            "states no receptive field" if field is None else f"has a receptive field above {LONGEST_FIELD} steps"
        )
    x = case.hidden(field + 5, batch=BATCH).requires_grad_()
    gradient = _gradient(backbone(x)[:, -1], x)[:, :-field]
    worst = float(gradient.abs().amax())
    require(worst <= TOLERANCE, f"receptive_field is {field}, but an output depends on earlier input")
