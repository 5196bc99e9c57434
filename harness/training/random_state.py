"""Global random state: seeded, saved and restored."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def seeded_random_state(seed: int, device: torch.device) -> dict[str, Tensor]:
    """The default generators' states as `torch.manual_seed` would leave them."""
    state = {"cpu": torch.Generator().manual_seed(seed).get_state()}
    if device.type == "cuda":
        state["cuda"] = torch.Generator(device).manual_seed(seed).get_state()
    return state


def fork_random_state(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The process's random state is put back after."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Put back what `seed_everything` seeds, on every device."""
    drawn, numbers = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(drawn)
        np.random.set_state(numbers)


def seed_everything(seed: int) -> None:
    """torch, numpy and Python alike."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
