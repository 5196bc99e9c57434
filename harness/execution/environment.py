"""The machine, its devices, the code and the library versions of a study."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from harness.errors import ClusterError
from harness.records import Resources


def machine() -> dict[str, str]:
    """Return the machine description that is recorded with timings."""
    facts = {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": _processor(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    """Return the processor's model name, as /proc/cpuinfo has it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def git_commit() -> str:
    """Return the commit of the running code, with `+` if the tree has changes; '' outside a checkout."""
    try:
        description = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return description.stdout.strip()


def environment_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that can change a result."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "numpy", "optuna", "ray", "mlflow", "seqharness"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def device_of(resources: Resources) -> torch.device:
    """Return the device that a trial with these resources trains on.  Raises ClusterError if it has no GPU."""
    if resources.gpu == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ClusterError(
            f"the study asks for a GPU, and torch finds no CUDA device on {socket.gethostname()}; set resources.gpu = 0"
        )
    return torch.device("cuda")
