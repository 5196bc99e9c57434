"""Peak memory of a trial, the size of what its network carries, and what counts as out of memory."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from harness.api.model import Scan
from harness.api.signature import Signature, Tokens
from harness.training.network import Network


class PeakMemory:
    """The largest memory of a trial: allocated on the GPU, else resident in the process (Linux)."""

    def __init__(self) -> None:
        self.device_name = ""
        self._device = torch.device("cpu")

    def begin(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            self.device_name = torch.cuda.get_device_name(device)
            torch.cuda.reset_peak_memory_stats(device)
            return
        self.device_name = "cpu"
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark, proc(5)
        except OSError:
            return

    def bytes(self) -> int | None:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        try:
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        except OSError:
            return None
        return int(peak[1]) * 1024 if peak else None


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def state_bytes(network: Network, signature: Signature) -> int | None:
    """Return what `scan` carries for one sequence after one step; None where the backbone offers no `scan`."""
    if not isinstance(network.backbone, Scan):
        return None
    tokens = isinstance(signature.input, Tokens)
    width = () if tokens else (signature.in_features,)
    step = torch.zeros((1, 1, *width), dtype=torch.int64 if tokens else torch.float32)
    with torch.no_grad():
        _, state = network.eval().scan(step)
    return _bytes_of(state)


def _bytes_of(tree: object) -> int:
    if isinstance(tree, torch.Tensor):
        return tree.numel() * tree.element_size()
    if isinstance(tree, dict):
        return sum(_bytes_of(branch) for branch in tree.values())
    if isinstance(tree, list | tuple):
        return sum(_bytes_of(branch) for branch in tree)
    return 0
