"""CUDA graphs: the kernels of a computation recorded once and launched together after."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

WARM_UPS = 3
"""Runs before a recording, in which libraries choose their kernels and allocate what they keep."""

Computation = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


def can_record(device: torch.device) -> bool:
    return device.type == "cuda"


class Recorded:
    """A computation that leaves gradients in `parameters`, replayed for inputs of one shape.

    It must read no value back, draw from the default generator alone, and compute the same kernels each time.  The
    inputs are copied to where they were recorded; outputs and gradients are written to the same memory at each call,
    so they hold until the next one.  One thread at a time.
    """

    def __init__(self, computation: Computation, inputs: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = tuple(parameters)
        self._inputs = tuple(given.clone() for given in inputs)
        self._warm_up(computation)
        self._forget_gradients()  # so that the recording allocates those that it writes
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = computation(self._inputs)
        self._gradients = tuple(parameter.grad for parameter in self._parameters)

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        torch._foreach_copy_(self._inputs, tuple(inputs))
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient  # another recording may have left its own there
        return self._outputs

    def _warm_up(self, computation: Computation) -> None:
        """On a stream of its own, as a recording asks for."""
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self._forget_gradients()
                computation(self._inputs)
        torch.cuda.current_stream().wait_stream(beside)

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
