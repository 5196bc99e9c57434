"""The machine, the code and the library versions of a study."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch


def machine() -> dict[str, str]:
    """Return the machine description that is recorded with timings."""
    found = {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": _processor(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def git_commit() -> str:
    """Return the commit of the running code, with `+` if the tree has changes; '' outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip()


def environment_versions() -> dict[str, str]:
    """Versions of what can alter a result."""
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "optuna", "ray", "mlflow", "seqharness"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
