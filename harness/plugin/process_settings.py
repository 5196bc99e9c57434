"""Settings of the whole process that third-party code can change: they are kept, and so is standard output."""

from __future__ import annotations

import contextlib
import ctypes
import locale
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch


def _value(before: Any, now: Any) -> str:
    return str(now)


class Setting(NamedTuple):
    """A setting of the process.  Its value is of any type; only these functions handle it."""

    read: Callable[[], Any]
    restore: Callable[[Any], object]
    """Sets it to a value that was read before."""
    show: Callable[[Any, Any], str] = _value
    """The change from one value to another, for messages; "" if it cannot be shown in a few words."""


class Change(NamedTuple):
    """A setting that third-party code has changed."""

    text: str
    """Such as `torch default dtype (torch.float64)`."""
    restored: bool


def _set_default_device(device: torch.device) -> None:
    # None removes the hook that a default device puts into every call of PyTorch.
    torch.set_default_device(None if device.type == "cpu" else device)


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _attribute(owner: Any, name: str) -> Setting:  # modules of PyTorch, which it leaves untyped
    return Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


SETTINGS: dict[str, Setting] = {
    "torch default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
    "torch default device": Setting(torch.get_default_device, _set_default_device),
    "torch gradients": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "torch number of threads": Setting(torch.get_num_threads, torch.set_num_threads),
    "torch precision of matrix products": Setting(
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "torch deterministic algorithms": Setting(
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "torch anomaly detection": Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "cudnn.enabled": _attribute(torch.backends.cudnn, "enabled"),
    "numpy error handling": Setting(np.geterr, lambda value: np.seterr(**value)),
    "locale": Setting(lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    "working folder": Setting(_working_folder, lambda value: None if value is None else os.chdir(value)),
}
"""Settings of the process on which other models and the harness rely."""

Values = dict[str, Any]
"""Name of a setting → its value."""


def read_settings(settings: Mapping[str, Setting]) -> Values:
    return {name: _read(setting) for name, setting in settings.items()}


def _read(setting: Setting) -> Any:
    try:
        return setting.read()
    except RuntimeError:  # PyTorch refuses to describe precisions that were set through both of its interfaces
        return "unreadable"


def restore_settings(settings: Mapping[str, Setting], before: Values) -> list[Change]:
    """Restore the settings to the values that were read before.  Return what had changed."""
    now = read_settings(settings)
    changed = [name for name in settings if now[name] != before[name]]
    for name in changed:
        with contextlib.suppress(Exception):  # reading again below shows whether it worked
            settings[name].restore(before[name])
    changes = []
    for name in changed:
        shown = settings[name].show(before[name], now[name])
        text = f"{name} ({shown})" if shown else name
        changes.append(Change(text, _read(settings[name]) == before[name]))
    return changes


@contextlib.contextmanager
def kept_settings() -> Iterator[list[str]]:
    """Restore the settings of the process at the end; the list then holds what had changed.

    An example of an entry: `torch default dtype (torch.float64)`.
    """
    before = read_settings(SETTINGS)
    changed: list[str] = []
    try:
        yield changed
    finally:
        changed += [change.text for change in restore_settings(SETTINGS, before)]


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
