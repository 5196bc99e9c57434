"""Settings of a worker's process that are kept between slices of trials: of PyTorch, of Python, of the process."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch.overrides import _get_current_function_mode_stack, _pop_mode

from harness.plugin.process_settings import SETTINGS, Setting

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGUSR1", "SIGUSR2")
LIBRARY_VARIABLES = frozenset({"CUDA_MODULE_LOADING", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"})
"""Environment variables that PyTorch itself sets at first use."""


def _nothing(before: Any, now: Any) -> str:
    return ""


def _changed_names(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the names whose values differ, without the values, which may be secrets."""
    return ", ".join(sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)))


# ---- PyTorch

_DEVICES = ("cpu", "cuda")
_PRECISIONS = [
    *product(("cuda", "mkldnn"), ("all", "matmul", "conv", "rnn")),
    ("generic", "all"),
]
"""Backends and operations, as PyTorch names them, whose precision of float32 has a setting."""
_held: list[object] = []
"""Contexts that were entered and must not be left: PyTorch leaves a context that is garbage-collected."""


def _autocast_nesting() -> int:
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _autocast() -> tuple[object, ...]:
    """Return how deeply autocast is nested, and what it does on each device."""
    devices = [(device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in _DEVICES]
    return _autocast_nesting(), torch.is_autocast_cache_enabled(), *devices


def _restore_autocast(before: tuple[Any, ...]) -> None:
    nesting, cache, *devices = before
    while _autocast_nesting() > nesting:
        torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(cache)
    for device, enabled, dtype in devices:
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)


def _restore_modes(before: list[Any]) -> None:
    while len(_get_current_function_mode_stack()) > len(before):  # type: ignore[no-untyped-call]
        _pop_mode()  # type: ignore[no-untyped-call]


def _restore_inference_mode(before: bool) -> None:
    context = torch.inference_mode(before)
    context.__enter__()
    _held.append(context)


def _precisions() -> dict[tuple[str, str], str]:
    read = getattr(torch._C, "_get_fp32_precision_getter", None)  # absent in older versions of PyTorch
    return {} if read is None else {pair: read(*pair) for pair in _PRECISIONS}


def _restore_precisions(before: Mapping[tuple[str, str], str]) -> None:
    for pair, value in before.items():
        torch._C._set_fp32_precision_setter(*pair, value)


# ---- the interpreter and the process


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in LIBRARY_VARIABLES}


def _restore_environment(before: Mapping[str, str]) -> None:
    for name in _environment().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _handlers() -> dict[str, Any]:  # functions, numbers, or None for a handler in C
    """Return the signal handlers; only the main thread can change them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS}


def _restore_handlers(before: Mapping[str, Any]) -> None:
    for name, handler in before.items():
        number = getattr(signal, name)
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _general(filters: list[Any]) -> list[Any]:
    """Return the filters without those that a library adds for warnings of its own, at its import."""
    return [entry for entry in filters if entry[0] == "error" or entry[2].__module__ == "builtins"]


class _Filters:
    """The list of warnings filters and its content.

    The comparison uses this list, not the present `warnings.filters`: another thread may be inside `catch_warnings`.
    """

    __hash__ = None  # type: ignore[assignment]  # its content changes

    def __init__(self) -> None:
        self._filters: Any = warnings.filters  # a list, which typeshed declares as a sequence
        self._content = list(self._filters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Filters) and self._unchanged() and other._unchanged()

    def _unchanged(self) -> bool:
        return _general(self._filters) == _general(self._content)

    def restore(self) -> None:
        self._filters[:] = self._content
        with warnings.catch_warnings():
            """Entering it makes modules forget the warnings that they have decided about."""


def _root_logger() -> tuple[int, int, list[logging.Handler]]:
    root = logging.getLogger()
    return root.level, root.manager.disable, list(root.handlers)


def _restore_root_logger(before: tuple[int, int, list[logging.Handler]]) -> None:
    root = logging.getLogger()
    level, root.manager.disable, root.handlers[:] = before
    root.setLevel(level)


def _timer_runs() -> bool:
    return signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)


def _restore_timer(ran: bool) -> None:
    if not ran:
        signal.setitimer(signal.ITIMER_REAL, 0)


_tiny = 2.0**-1074
"""The smallest number above zero; arithmetic that flushes denormal numbers makes it zero."""


def _flushes_denormal_numbers() -> bool:
    return _tiny * 1.0 == 0


_CUDA = torch.backends.cuda

WORKER_SETTINGS: dict[str, Setting] = {
    **SETTINGS,
    "torch function modes": Setting(_get_current_function_mode_stack, _restore_modes, _nothing),
    "torch autocast": Setting(_autocast, _restore_autocast, _nothing),
    "torch inference mode": Setting(torch.is_inference_mode_enabled, _restore_inference_mode),
    "torch number of interop threads": Setting(torch.get_num_interop_threads, torch.set_num_interop_threads),
    "torch flushing of denormal numbers": Setting(_flushes_denormal_numbers, torch.set_flush_denormal),
    "torch precision of float32": Setting(_precisions, _restore_precisions, _nothing),
    "mkldnn.enabled": Setting(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    "flash attention": Setting(_CUDA.flash_sdp_enabled, _CUDA.enable_flash_sdp),
    "mathematical attention": Setting(_CUDA.math_sdp_enabled, _CUDA.enable_math_sdp),
    "memory-efficient attention": Setting(_CUDA.mem_efficient_sdp_enabled, _CUDA.enable_mem_efficient_sdp),
    "cudnn attention": Setting(_CUDA.cudnn_sdp_enabled, _CUDA.enable_cudnn_sdp),
    "attention fast path": Setting(torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    "environment": Setting(_environment, _restore_environment, _changed_names),
    "signal handlers": Setting(_handlers, _restore_handlers, _changed_names),
    "interval timer": Setting(_timer_runs, _restore_timer, _nothing),
    "warnings filters": Setting(_Filters, _Filters.restore, _nothing),
    "root logger": Setting(_root_logger, _restore_root_logger, _nothing),
    "recursion limit": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "garbage collection": Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
}
"""Settings on which other trials of the process rely.  Reading and comparing all of them takes about 0.3 ms."""
