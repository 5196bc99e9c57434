"""The check of `stack`: several backbones as one module compute what each of them computes alone."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.api.model import Scan, Stack, Suffix
from harness.testing.backbones import leaves_of
from harness.testing.cases import Case, each_case
from harness.testing.outcomes import NotApplicableError, require, require_close
from harness.training.network import map_state

MEMBERS = 3
BATCH = 2


@each_case()
def check_stack(case: Case) -> None:
    """Check that slice i of a stack computes what the backbone computes with slice i of the weights.

    This holds for every method that the backbone offers, and for gradients.  The weights have the backbone's names and
    dtypes, with one more first axis; the stack has the backbone's mode.  Dropout draws independently for each member.
    """
    members = [case.backbone(index) for index in range(MEMBERS)]
    if not isinstance(members[0], Stack):
        raise NotApplicableError("offers no stack")
    stack = _stacked(members)
    x = torch.stack([case.hidden(case.signature.length, batch=BATCH, stream=index) for index in range(MEMBERS)])
    _check_gradients(stack, members, x)
    _check_suffix(stack, members, x)
    _check_scan(stack, members, x)
    _check_dropout(case, members[0])


def _stacked(members: Sequence[nn.Module]) -> nn.Module:
    """Return the members as one module with their weights; raise CheckError if its mode or its weights do not match."""
    stack = cast(Stack, members[0]).stack(len(members))
    require(stack.training == members[0].training, "stack returns a module in another mode than the backbone")
    states = [member.state_dict() for member in members]
    weights = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    expected = {name: (tuple(weight.shape), weight.dtype) for name, weight in weights.items()}
    actual = {name: (tuple(weight.shape), weight.dtype) for name, weight in stack.state_dict().items()}
    different = sorted(str(entry) for entry in actual.items() ^ expected.items())
    message = f"the weights of a stack must be the backbone's with one more first axis; different: {different[:2]}"
    require(not different, message)
    stack.load_state_dict(weights)
    return stack


def _check_gradients(stack: nn.Module, members: Sequence[nn.Module], x: Tensor) -> None:
    """Check outputs, and the gradients of the input and of every parameter."""
    x = x.clone().requires_grad_()
    y = stack(x)
    weights = torch.linspace(1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    (y * weights).sum().backward()
    for index, member in enumerate(members):
        own = x[index].detach().clone().requires_grad_()
        expected = member(own)
        require_close(y[index], expected, "the outputs of a slice of a stack differ from the backbone's")
        (expected * weights[index]).sum().backward()
        message = "the gradient of the input of a slice of a stack differs from the backbone's"
        require_close(_slice_of(x.grad, index), _slice_of(own.grad), message)
        for name, parameter in member.named_parameters():
            actual, gradient = stack.get_parameter(name).grad, parameter.grad
            if actual is not None or gradient is not None:
                message = f"the gradient of {name} in a slice of a stack differs from the backbone's"
                require_close(_slice_of(actual, index, parameter), _slice_of(gradient, like=parameter), message)


def _slice_of(gradient: Tensor | None, index: int | None = None, like: Tensor | None = None) -> Tensor:
    """Return a gradient or a member's slice of it; zeros of the shape of `like` if there is no gradient."""
    if gradient is None:
        return torch.zeros_like(cast(Tensor, like))
    return gradient if index is None else gradient[index]


def _check_suffix(stack: nn.Module, members: Sequence[nn.Module], x: Tensor) -> None:
    offered = isinstance(stack, Suffix) or not isinstance(members[0], Suffix)
    require(offered, "the backbone offers suffix, but its stack does not")
    if not isinstance(stack, Suffix):
        return
    steps = (x.shape[2] + 1) // 2
    suffixes = stack.suffix(x, steps)
    for suffix, member, own in zip(suffixes, members, x, strict=True):
        require_close(suffix, member(own)[:, -steps:], "the suffix of a slice of a stack differs from the backbone's")


def _check_scan(stack: nn.Module, members: Sequence[nn.Module], x: Tensor) -> None:
    """Check the outputs over two windows, and the state after them."""
    offered = isinstance(stack, Scan) or not isinstance(members[0], Scan)
    require(offered, "the backbone offers scan, but its stack does not")
    if not isinstance(stack, Scan) or not isinstance(members[0], Scan):
        return
    first = x.shape[2] // 2
    _, state = stack.scan(x[:, :, :first]) if first else (None, None)
    y, state = stack.scan(x[:, :, first:], state)
    for index, member in enumerate(members):
        expected, expected_state = _scanned(member, x[index], first)
        require_close(y[index], expected, "the scan of a slice of a stack differs from the backbone's")
        own = map_state(itemgetter(index), state)
        for leaf, expected_leaf in zip(leaves_of(own), leaves_of(expected_state), strict=True):
            require_close(leaf, expected_leaf, "the state of a slice of a stack differs from the backbone's")


def _scanned(member: nn.Module, x: Tensor, first: int) -> tuple[Tensor, Any]:
    """Return the outputs over the second window and the state after it, a tree of tensors, hence Any."""
    scan = cast(Scan, member).scan
    _, state = scan(x[:, :first]) if first else (None, None)
    return scan(x[:, first:], state)


def _check_dropout(case: Case, backbone: nn.Module) -> None:
    """Check that equal members with equal input differ in training, if the backbone's outputs vary between calls."""
    x = case.hidden(case.signature.length, batch=BATCH)
    backbone.train()
    if torch.equal(backbone(x), backbone(x)):
        return
    stack = _stacked([backbone, backbone])
    first, second = stack(torch.stack([x, x]))
    require(not torch.equal(first, second), "all members of a stack have the same dropout mask")
