"""The law of `stack`: several backbones as one are what each of them is by itself."""

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
    """Slice i of a stack computes what the backbone does with slice i of the weights: by every verb, gradients too.

    Its weights have a backbone's names, one more axis in front, its mode and type; dropout draws for each by itself.
    """
    members = [case.backbone(index) for index in range(MEMBERS)]
    if not isinstance(members[0], Stack):
        raise NotApplicableError("offers no stack")
    together = _stacked(members)
    x = torch.stack([case.hidden(case.signature.length, batch=BATCH, stream=index) for index in range(MEMBERS)])
    _same_gradients(together, members, x)
    _same_suffix(together, members, x)
    _same_scan(together, members, x)
    _draws_for_each(case, members[0])


def _stacked(members: Sequence[nn.Module]) -> nn.Module:
    """The members as one, with their weights."""
    together = cast(Stack, members[0]).stack(len(members))
    require(together.training == members[0].training, "stack gives a module of another mode than its backbone's")
    states = [member.state_dict() for member in members]
    weights = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    expected = {name: (tuple(weight.shape), weight.dtype) for name, weight in weights.items()}
    found = {name: (tuple(weight.shape), weight.dtype) for name, weight in together.state_dict().items()}
    other = sorted(str(entry) for entry in found.items() ^ expected.items())
    require(
        not other, f"the weights of a stack are not a backbone's with one more axis in front: {', '.join(other[:2])}"
    )
    together.load_state_dict(weights)
    return together


def _same_gradients(together: nn.Module, members: Sequence[nn.Module], x: Tensor) -> None:
    """Outputs, and gradients of the input and of every parameter."""
    x = x.clone().requires_grad_()
    y = together(x)
    weights = torch.linspace(1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    (y * weights).sum().backward()
    for index, member in enumerate(members):
        own = x[index].detach().clone().requires_grad_()
        expected = member(own)
        require_close(y[index], expected, "a slice of a stack has another output than the backbone")
        (expected * weights[index]).sum().backward()
        require_close(_of(x.grad, index), _of(own.grad), "a slice of a stack gives its input another gradient")
        for name, parameter in member.named_parameters():
            found, right = together.get_parameter(name).grad, parameter.grad
            if found is not None or right is not None:
                what = f"a slice of a stack gives {name} another gradient"
                require_close(_of(found, index, parameter), _of(right, like=parameter), what)


def _of(gradient: Tensor | None, index: int | None = None, like: Tensor | None = None) -> Tensor:
    """A gradient or a member's slice of it; zeros where nothing depends on what it is of."""
    if gradient is None:
        return torch.zeros_like(cast(Tensor, like))
    return gradient if index is None else gradient[index]


def _same_suffix(together: nn.Module, members: Sequence[nn.Module], x: Tensor) -> None:
    require(isinstance(together, Suffix) or not isinstance(members[0], Suffix), "the stack of a suffix has no suffix")
    if not isinstance(together, Suffix):
        return
    steps = (x.shape[2] + 1) // 2
    ends = together.suffix(x, steps)
    for end, member, own in zip(ends, members, x, strict=True):
        require_close(end, member(own)[:, -steps:], "a slice of a stack has another suffix than the backbone")


def _same_scan(together: nn.Module, members: Sequence[nn.Module], x: Tensor) -> None:
    """Two windows, and the state after them."""
    require(isinstance(together, Scan) or not isinstance(members[0], Scan), "the stack of a scan has no scan")
    if not isinstance(together, Scan) or not isinstance(members[0], Scan):
        return
    first = x.shape[2] // 2
    _, state = together.scan(x[:, :, :first]) if first else (None, None)
    y, state = together.scan(x[:, :, first:], state)
    for index, member in enumerate(members):
        expected, after = _scanned(member, x[index], first)
        require_close(y[index], expected, "a slice of a stack scans otherwise than the backbone")
        own = map_state(itemgetter(index), state)
        for found, right in zip(leaves_of(own), leaves_of(after), strict=True):
            require_close(found, right, "a slice of a stack has another state than the backbone")


def _scanned(member: nn.Module, x: Tensor, first: int) -> tuple[Tensor, Any]:
    """Outputs over the second window and the state after it, a tree of tensors (hence Any)."""
    scan = cast(Scan, member).scan
    _, state = scan(x[:, :first]) if first else (None, None)
    return scan(x[:, first:], state)


def _draws_for_each(case: Case, backbone: nn.Module) -> None:
    """Equal members with equal input differ in training where the backbone differs from call to call."""
    x = case.hidden(case.signature.length, batch=BATCH)
    backbone.train()
    if torch.equal(backbone(x), backbone(x)):
        return
    together = _stacked([backbone, backbone])
    one, other = together(torch.stack([x, x]))
    require(not torch.equal(one, other), "dropout of a stack drops the same for all")
