"""Peak memory of a trial, and the state that a network carries from step to step."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from harness.api.signature import Real, Signature
from harness.execution.memory import PeakMemory, is_out_of_memory, state_bytes
from harness.plugin.registry import Registry
from harness.training.network import build_network

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_counts_what_was_freed_and_starts_again_for_the_next_trial() -> None:
    memory = PeakMemory()
    memory.begin(torch.device("cpu"))
    before = memory.bytes() or 0
    np.ones(64 * MIB, dtype=np.uint8)
    peak = memory.bytes() or 0
    memory.begin(torch.device("cpu"))
    after = memory.bytes() or 0
    assert peak - before >= 60 * MIB
    assert peak - after >= 60 * MIB
    assert memory.device_name == "cpu"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shape '[2]' is invalid"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_only_errors_of_an_allocator_count_as_out_of_memory(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_allocator_of_the_cpu_raises_what_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("width", [1, 5, 32])
def test_state_of_one_sequence_is_a_float_of_four_bytes_for_each_feature(toy_registry: Registry, width: int) -> None:
    signature = Signature(input=Real(2), output=Real(1), length=9, readout="last")
    network = build_network(toy_registry.models["toy-ema"].value, signature, (width,), {})
    assert state_bytes(network, signature) == 4 * width
