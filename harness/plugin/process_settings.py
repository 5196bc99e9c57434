"""Settings of the whole process that third-party code can change: they are kept, and so is standard output."""

from __future__ import annotations

import contextlib
import ctypes
import locale
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

Setting = tuple[Callable[[], Any], Callable[[Any], object]]  # a value of any type, which only the two functions handle
"""Reads a setting, and sets it to a value that was read before."""


def _set_default_device(device: torch.device) -> None:
    # None removes the hook that a default device puts into every call of PyTorch.
    torch.set_default_device(None if device.type == "cpu" else device)


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _attribute(owner: Any, name: str) -> Setting:  # modules of PyTorch, which it leaves untyped
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


SETTINGS: dict[str, Setting] = {
    "torch default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch default device": (torch.get_default_device, _set_default_device),
    "torch gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "torch deterministic algorithms": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "torch anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "cudnn.enabled": _attribute(torch.backends.cudnn, "enabled"),
    "numpy error handling": (np.geterr, lambda value: np.seterr(**value)),
    "locale": (lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    "working folder": (_working_folder, lambda value: None if value is None else os.chdir(value)),
}
"""Settings of the process on which other models and the harness rely."""


@contextlib.contextmanager
def kept_settings() -> Iterator[list[str]]:
    """Restore the settings of the process at the end; the list then holds what had changed.

    An example of an entry: `torch default dtype (torch.float64)`.
    """
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    changed: list[str] = []
    try:
        yield changed
    finally:
        for name, (read, restore) in SETTINGS.items():
            value = read()
            if value != before[name]:
                changed.append(f"{name} ({value})")
                restore(before[name])


@contextlib.contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send what is printed to standard error, so that standard output holds results alone.

    This includes what C code prints.
    """
    if sys.stdout is not None:  # None if the process was started with it closed
        sys.stdout.flush()
    try:
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # the process was started with one of the two closed
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C code printed and its library still holds
        os.dup2(saved, 1)
        os.close(saved)
