"""Settings of the process, and standard output, while third-party code runs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from harness.plugin.process_settings import SETTINGS, kept_settings, output_to_stderr, read_settings

CHANGES: dict[str, Callable[[], object]] = {
    "torch default dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch default device": lambda: torch.set_default_device("meta"),
    "torch gradients": lambda: torch.set_grad_enabled(False),
    "torch number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch precision of matrix products": lambda: torch.set_float32_matmul_precision("medium"),
    "torch deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "torch anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "cudnn.enabled": lambda: setattr(torch.backends.cudnn, "enabled", False),
    "numpy error handling": lambda: np.seterr(all="raise"),
    "working folder": lambda: os.chdir("/"),
}


def read_all() -> dict[str, object]:
    return read_settings(SETTINGS)


@pytest.mark.parametrize("name", CHANGES)
def test_changed_setting_is_named_and_restored(name: str) -> None:
    before = read_all()
    with kept_settings() as changed:
        CHANGES[name]()
    assert [text.partition(" (")[0] for text in changed] == [name]
    assert read_all() == before


def test_settings_are_restored_after_an_exception() -> None:
    before = read_all()
    for change in CHANGES.values():
        with pytest.raises(ZeroDivisionError), kept_settings():
            _ = change(), 1 / 0
    assert read_all() == before


def test_nothing_is_named_if_nothing_changes() -> None:
    with kept_settings() as changed:
        torch.zeros(3).exp()
    assert changed == []


def test_output_of_python_and_of_c_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with output_to_stderr():
        print("banner")
        ctypes.CDLL(None).printf(b"banner of C\n")
    print("result")
    captured = capfd.readouterr()
    assert captured.out == "result\n"
    assert sorted(captured.err.splitlines()) == ["banner", "banner of C"]


def test_output_works_in_a_process_without_standard_output() -> None:
    code = "from harness.plugin.process_settings import output_to_stderr\nwith output_to_stderr(): print('banner')"
    shell = ["/bin/sh", "-c", f'{sys.executable} -c "{code}" >&-']
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "", "banner")
