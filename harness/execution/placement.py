"""The placement of trials on the nodes of a cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from harness.errors import ClusterError
from harness.records import Resources

ROUNDING = 1e-9
"""Rounding error that sums of fractions may have."""


@dataclass(frozen=True)
class Node:
    """The resources of one machine."""

    name: str
    cpu: float
    gpu: float
    memory_bytes: float


class _FreeResources:
    """The free resources of a node.

    By Ray's rules a fraction of a GPU lies on a single GPU, and a trial with more than one GPU has whole GPUs.
    """

    def __init__(self, node: Node) -> None:
        self.cpu = node.cpu
        self.memory_bytes = node.memory_bytes
        self.gpus = [1.0] * int(node.gpu)
        """Free share of each GPU, from 0 to 1."""

    def take(self, resources: Resources) -> bool:
        """Reserve these resources.  Return False, and reserve nothing, if they are not free."""
        gpus, memory_bytes = self._gpus(resources.gpu), resources.memory_gib * 2**30
        if gpus is None or resources.cpu > self.cpu + ROUNDING or memory_bytes > self.memory_bytes + ROUNDING:
            return False
        self.cpu -= resources.cpu
        self.memory_bytes -= memory_bytes
        for index in gpus:
            self.gpus[index] -= min(resources.gpu, 1)
        return True

    def _gpus(self, wanted: float) -> list[int] | None:
        """Return the indices of GPUs that together provide `wanted`, the fullest first; None if they are not free."""
        enough = [index for index, free in enumerate(self.gpus) if free + ROUNDING >= min(wanted, 1)]
        count = math.ceil(wanted)
        divisible = wanted <= 1 or wanted == count
        return sorted(enough, key=self.gpus.__getitem__)[:count] if divisible and len(enough) >= count else None


def fits_beside(running: Sequence[Resources], wanted: Resources, nodes: Sequence[Node]) -> bool:
    """Return whether one more trial fits on a single node, beside the running ones.

    First fit, largest first.  Trials with GPUs are placed first, because trials without GPUs would otherwise seem to
    fill the nodes that have GPUs.
    """
    free = [_FreeResources(node) for node in nodes]
    largest_first = sorted((*running, wanted), key=lambda trial: (trial.gpu, trial.cpu, trial.memory_gib), reverse=True)
    return all(any(node.take(resources) for node in free) for resources in largest_first)


def slots_for(resources: Resources, nodes: Sequence[Node]) -> int:
    """Return how many trials with these resources an idle cluster holds."""
    return sum(1 for node in nodes for _ in iter(partial(_FreeResources.take, _FreeResources(node), resources), False))


def all_slots(classes: Sequence[Resources], nodes: Sequence[Node]) -> int:
    """Return how many trials an idle cluster holds, summed over the classes of resources.

    The sum is an upper bound on the trials that run at the same time.  Raises ClusterError if no node holds a trial of
    one of the classes.
    """
    for resources in classes:
        if slots_for(resources, nodes) == 0:
            present = ", ".join(
                f"{node.cpu:g} cpu {node.gpu:g} gpu {node.memory_bytes / 2**30:.1f} GiB" for node in nodes
            )
            wanted = f"{resources.cpu:g} cpu {resources.gpu:g} gpu {resources.memory_gib:g} GiB"
            raise ClusterError(
                f"[resources]: a trial needs {wanted}, more than any node has (nodes: {present}); lower [resources]"
            )
    return sum(slots_for(resources, nodes) for resources in classes)
