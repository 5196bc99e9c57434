"""Placement of trials on nodes, compared with a search over all placements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ClusterError
from harness.execution.placement import ROUNDING, Node, Occupancy, all_slots, slots_for
from harness.records import Resources

GIB = 2**30


def place_all(nodes: Sequence[Node], trials: Sequence[Resources]) -> bool:
    """Return whether any placement holds these trials.  It tries every node, and every GPU for a fraction of one."""
    free = [[node.cpu, node.memory_bytes, *([1.0] * int(node.gpu))] for node in nodes]

    def place(left: Sequence[Resources]) -> bool:
        if not left:
            return True
        trial, rest = left[0], left[1:]
        for node in free:
            for gpus in gpu_choices(node, trial.gpu):
                needs = [(0, trial.cpu), (1, trial.memory_gib * GIB), *((gpu, min(trial.gpu, 1)) for gpu in gpus)]
                if all(need <= node[index] + 1e-6 for index, need in needs):
                    for index, need in needs:
                        node[index] -= need
                    if place(rest):
                        return True
                    for index, need in needs:
                        node[index] += need
        return False

    return place(trials)


def fits_beside(running: Sequence[Resources], wanted: Resources, nodes: Sequence[Node]) -> bool:
    """Ask after every trial has started one by one, and another one has ended."""
    occupancy = Occupancy()
    for resources in (Resources(cpu=7), *running):
        occupancy.add(resources)
    occupancy.remove(Resources(cpu=7))
    return occupancy.fits(wanted, nodes)


def first_fit(running: Sequence[Resources], wanted: Resources, nodes: Sequence[Node]) -> bool:
    """Place the trials one by one, the largest first, each on the first node that holds it."""
    free = [[node.cpu, node.memory_bytes, *([1.0] * int(node.gpu))] for node in nodes]

    def take(node: list[float], trial: Resources) -> bool:
        needs = [(0, trial.cpu), (1, trial.memory_gib * GIB)]
        enough = [index for index in range(2, len(node)) if node[index] + ROUNDING >= min(trial.gpu, 1)]
        count = math.ceil(trial.gpu)
        if (trial.gpu > 1 and trial.gpu != count) or len(enough) < count:
            return False
        fullest = sorted(enough, key=node.__getitem__)[:count]
        needs += [(index, min(trial.gpu, 1)) for index in fullest]
        if any(need > node[index] + ROUNDING for index, need in needs):
            return False
        for index, need in needs:
            node[index] -= need
        return True

    ordered = sorted((*running, wanted), key=lambda trial: (trial.gpu, trial.cpu, trial.memory_gib), reverse=True)
    return all(any(take(node, trial) for node in free) for trial in ordered)


def gpu_choices(node: list[float], gpu: float) -> list[list[int]]:
    """Return the sets of GPUs that a trial may have on a node: any single GPU for a fraction, free ones for whole GPUs.

    node: free cpu, memory and share of each GPU.  A GPU is given by its index in it.
    """
    if gpu == 0:
        return [[]]
    if gpu < 1:
        return [[index] for index in range(2, len(node))]
    whole = [index for index in range(2, len(node)) if node[index] > 1 - 1e-6]
    return [whole[: int(gpu)]] if len(whole) >= gpu else []


NODES = st.lists(
    st.builds(
        Node,
        st.just("n"),
        st.integers(0, 4).map(float),
        st.integers(0, 2).map(float),
        st.sampled_from([0.0, 4.0 * GIB]),
    ),
    max_size=3,
)
TRIALS = st.builds(
    Resources,
    cpu=st.sampled_from([0.5, 1, 1.5, 2, 3]),
    gpu=st.sampled_from([0, 0, 0.25, 0.3, 0.4, 0.5, 0.6, 1, 2]),
    memory_gib=st.sampled_from([0, 0, 1, 3]),
)


@given(
    st.lists(st.tuples(NODES, st.integers(1, 4)), max_size=3),
    st.lists(st.tuples(TRIALS, st.integers(1, 9)), max_size=4),
    TRIALS,
)
@settings(max_examples=300, deadline=None)
def test_counted_trials_fit_where_trials_that_are_placed_one_by_one_do(
    groups: list[tuple[list[Node], int]], classes: list[tuple[Resources, int]], wanted: Resources
) -> None:
    nodes = [node for equal, times in groups for node in equal * times]
    running = [resources for resources, times in classes for _ in range(times)]
    assert fits_beside(running, wanted, nodes) == first_fit(running, wanted, nodes)


@given(NODES, st.lists(TRIALS, max_size=4), TRIALS)
@settings(max_examples=300, deadline=None)
def test_trials_that_fit_have_a_placement(nodes: list[Node], running: list[Resources], wanted: Resources) -> None:
    if fits_beside(running, wanted, nodes):
        assert place_all(nodes, [*running, wanted])


@given(NODES, TRIALS, st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_trials_of_one_class_fit_exactly_where_a_placement_exists(
    nodes: list[Node], wanted: Resources, running: int
) -> None:
    assert fits_beside([wanted] * running, wanted, nodes) == place_all(nodes, [wanted] * (running + 1))


@given(NODES, TRIALS)
@settings(max_examples=200, deadline=None)
def test_slots_for_is_the_maximum_number_that_fits(nodes: list[Node], wanted: Resources) -> None:
    slots = slots_for(wanted, nodes)
    assert slots == 0 or fits_beside([wanted] * (slots - 1), wanted, nodes)
    assert not fits_beside([wanted] * slots, wanted, nodes)


@pytest.mark.parametrize(
    ("gpu", "slots"), [(0.5, 4), (0.4, 4), (0.3, 6), (0.1, 20), (1 / 3, 6), (1, 2), (2, 1), (1.5, 0), (3, 0)]
)
def test_fraction_of_a_gpu_lies_on_a_single_gpu(gpu: float, slots: int) -> None:
    assert slots_for(Resources(gpu=gpu), [Node("n", 64, 2, 0)]) == slots


def test_trial_does_not_span_nodes() -> None:
    nodes = [Node("a", 2, 0, 0), Node("b", 2, 0, 0)]
    assert slots_for(Resources(cpu=3), nodes) == 0
    assert not fits_beside([], Resources(cpu=3), nodes)
    assert not fits_beside([Resources(cpu=1.5)] * 2, Resources(cpu=1), nodes)


def test_trials_without_a_gpu_leave_room_for_a_trial_with_a_gpu() -> None:
    nodes = [Node("gpu", 8, 1, 0), Node("cpu", 8, 0, 0)]
    assert fits_beside([Resources(cpu=8)], Resources(cpu=1, gpu=1), nodes)
    assert not fits_beside([Resources(cpu=8)] * 2, Resources(cpu=1, gpu=1), nodes)


def test_memory_limits_only_trials_that_request_it() -> None:
    node = Node("n", 8, 0, 10 * GIB)
    assert slots_for(Resources(cpu=1, memory_gib=4), [node]) == 2
    assert slots_for(Resources(cpu=1), [node]) == 8


def test_cluster_without_nodes_holds_nothing() -> None:
    assert slots_for(Resources(), []) == 0
    assert not fits_beside([], Resources(), [])


def test_all_slots_is_the_sum_over_the_classes_of_resources() -> None:
    nodes = [Node("a", 4, 1, 0), Node("b", 2, 0, 0)]
    assert all_slots([Resources(cpu=2), Resources(cpu=1, gpu=0.5)], nodes) == 3 + 2


def test_all_slots_rejects_a_trial_larger_than_every_node() -> None:
    nodes = [Node("a", 2, 0, 4 * GIB), Node("b", 4, 0, 0)]
    message = (
        r"\[resources\]: a trial needs 3 cpu 0 gpu 2 GiB, more than any node has "
        r"\(nodes: 2 cpu 0 gpu 4\.0 GiB, 4 cpu 0 gpu 0\.0 GiB\); lower \[resources\]"
    )
    with pytest.raises(ClusterError, match=message):
        all_slots([Resources(cpu=1), Resources(cpu=3, memory_gib=2)], nodes)
