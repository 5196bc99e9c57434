"""Which trials fit beside one another on the nodes of a cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from harness.errors import ClusterError
from harness.records import Resources

TINY = 1e-9
"""Rounding error of sums of fractions."""


@dataclass(frozen=True)
class Node:
    """The total resources of one machine."""

    name: str
    cpu: float
    gpu: float
    memory_bytes: float


class _FreeResources:
    """The free resources of a node. A fraction of a GPU lies on one GPU, and more than one are whole GPUs: Ray's
    rules.
    """

    def __init__(self, node: Node) -> None:
        self.cpu = node.cpu
        self.memory_bytes = node.memory_bytes
        self.gpus = [1.0] * int(node.gpu)

    def take(self, resources: Resources) -> bool:
        """Reserve these resources; return False and reserve nothing if they are not free."""
        gpus, memory_bytes = self._gpus(resources.gpu), resources.memory_gib * 2**30
        if gpus is None or resources.cpu > self.cpu + TINY or memory_bytes > self.memory_bytes + TINY:
            return False
        self.cpu -= resources.cpu
        self.memory_bytes -= memory_bytes
        for index in gpus:
            self.gpus[index] -= min(resources.gpu, 1)
        return True

    def _gpus(self, wanted: float) -> list[int] | None:
        """Return the indices of GPUs that together provide so many, the fullest first; None if there are none."""
        enough = [index for index, free in enumerate(self.gpus) if free + TINY >= min(wanted, 1)]
        count = math.ceil(wanted)
        divisible = wanted <= 1 or wanted == count
        return sorted(enough, key=self.gpus.__getitem__)[:count] if divisible and len(enough) >= count else None


def fits_beside(running: Sequence[Resources], wanted: Resources, nodes: Sequence[Node]) -> bool:
    """Return whether one more trial fits; a trial cannot span nodes.

    First fit, largest first. GPU trials come first, so that trials without GPUs do not seem to fill the nodes with
    GPUs.
    """
    rooms = [_FreeResources(node) for node in nodes]
    largest_first = sorted((*running, wanted), key=lambda each: (each.gpu, each.cpu, each.memory_gib), reverse=True)
    return all(any(room.take(resources) for room in rooms) for resources in largest_first)


def slots_for(resources: Resources, nodes: Sequence[Node]) -> int:
    """Return how many trials of a class an idle cluster holds."""
    return sum(1 for node in nodes for _ in iter(partial(_FreeResources.take, _FreeResources(node), resources), False))


def all_slots(classes: Sequence[Resources], nodes: Sequence[Node]) -> int:
    for resources in classes:
        if slots_for(resources, nodes) == 0:
            largest = ", ".join(
                f"{node.cpu:g} cpu {node.gpu:g} gpu {node.memory_bytes / 2**30:.1f} GiB" for node in nodes
            )
            wanted = f"{resources.cpu:g} cpu {resources.gpu:g} gpu {resources.memory_gib:g} GiB"
            raise ClusterError(f"a trial wants {wanted}, which no node has (nodes: {largest}); lower [resources]")
    return sum(slots_for(resources, nodes) for resources in classes)
