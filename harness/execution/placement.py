"""The placement of trials on the nodes of a cluster."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

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


class _Request(NamedTuple):
    """What a trial needs of a node.  The largest request is the greatest tuple."""

    gpu: float
    cpu: float
    memory_gib: float


class _Free(NamedTuple):
    """The free resources of a node.

    By Ray's rules a fraction of a GPU lies on a single GPU, and a trial with more than one GPU has whole GPUs.
    """

    cpu: float
    memory_bytes: float
    gpus: tuple[float, ...]
    """Free share of each GPU, from 0 to 1."""

    def after(self, request: _Request) -> _Free | None:
        """Return what is left beside a trial; None if it does not fit."""
        gpus, memory_bytes = self._gpus(request.gpu), request.memory_gib * 2**30
        if gpus is None or request.cpu > self.cpu + ROUNDING or memory_bytes > self.memory_bytes + ROUNDING:
            return None
        share = min(request.gpu, 1)
        left = tuple(free - share if index in gpus else free for index, free in enumerate(self.gpus))
        return _Free(self.cpu - request.cpu, self.memory_bytes - memory_bytes, left)

    def _gpus(self, wanted: float) -> list[int] | None:
        """Return the indices of GPUs that together provide `wanted`, the fullest first; None if they are not free."""
        enough = [index for index, free in enumerate(self.gpus) if free + ROUNDING >= min(wanted, 1)]
        count = math.ceil(wanted)
        divisible = wanted <= 1 or wanted == count
        return sorted(enough, key=self.gpus.__getitem__)[:count] if divisible and len(enough) >= count else None


class Occupancy:
    """The running trials of a cluster, counted by their resources."""

    def __init__(self, running: Iterable[Resources] = ()) -> None:
        self._counts = Counter(map(_request, running))

    def add(self, resources: Resources) -> None:
        """Count one more running trial."""
        self._counts[_request(resources)] += 1

    def remove(self, resources: Resources) -> None:
        """Count one running trial less."""
        request = _request(resources)
        self._counts[request] -= 1
        if not self._counts[request]:
            del self._counts[request]

    def fits(self, wanted: Resources, nodes: Sequence[Node]) -> bool:
        """Return whether one more trial fits on a single node, beside the running ones.

        First fit, largest first.  Trials with GPUs are placed first, because trials without GPUs would otherwise seem
        to fill the nodes that have GPUs.  The time depends on the number of different resources and of different nodes
        in a row, not on the number of trials.
        """
        groups = _groups(tuple(nodes))
        counts = self._counts + Counter([_request(wanted)])
        for request in sorted(counts, reverse=True):
            groups, unplaced = _placed(groups, request, counts[request])
            if unplaced:
                return False
        return True


def slots_for(resources: Resources, nodes: Sequence[Node]) -> int:
    """Return how many trials with these resources an idle cluster holds."""
    return sum(count * _filled(free, _request(resources), None)[0] for free, count in _groups(tuple(nodes)))


def _request(resources: Resources) -> _Request:
    return _Request(resources.gpu, resources.cpu, resources.memory_gib)


_Groups = tuple[tuple[_Free, int], ...]
"""Nodes with equal free resources that follow one another, and how many they are."""


@lru_cache(maxsize=8)
def _groups(nodes: tuple[Node, ...]) -> _Groups:
    free = (_Free(node.cpu, node.memory_bytes, (1.0,) * int(node.gpu)) for node in nodes)
    return tuple((first, sum(1 for _ in equal)) for first, equal in groupby(free))


@lru_cache(maxsize=4096)
def _filled(free: _Free, request: _Request, most: int | None) -> tuple[int, _Free]:
    """Return how many trials, and at most `most`, fit on a node, and what they leave."""
    count = 0
    while (most is None or count < most) and (left := free.after(request)) is not None:
        free, count = left, count + 1
    return count, free


@lru_cache(maxsize=4096)
def _placed(groups: _Groups, request: _Request, count: int) -> tuple[_Groups, int]:
    """Place trials on the first nodes that hold them.  Return what they leave, and how many trials have no place."""
    placed: list[tuple[_Free, int]] = []
    for free, nodes in groups:
        each, full = _filled(free, request, None)
        whole = min(count // each, nodes) if each else 0
        count -= whole * each
        rest, partly = (_filled(free, request, count), 1) if each and count and whole < nodes else ((0, free), 0)
        count -= rest[0]
        placed += [(full, whole), (rest[1], partly), (free, nodes - whole - partly)]
    return tuple((free, nodes) for free, nodes in placed if nodes), count


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
