"""Calls of a function in another process: a new interpreter, with other hashes of strings."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from harness.testing.cases import Case
from harness.testing.outcomes import TOLERANCE, CheckError

A = TypeVar("A")
R = TypeVar("R")

SECONDS = 300
"""Time limit of the other process."""


def call_in_subprocess(function: Callable[[A], R], argument: A) -> R:
    """Return function(argument), computed in another process.

    Raises CheckError if function or argument cannot be pickled, or if the call raises.
    """
    with tempfile.TemporaryDirectory(prefix="seqharness-") as folder:
        call_file, result_file = Path(folder, "call"), Path(folder, "result")
        try:
            call_file.write_bytes(pickle.dumps((function, argument)))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise CheckError(f"cannot be pickled: {error}") from error
        command = [sys.executable, "-m", "harness.testing.subprocesses", str(call_file), str(result_file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=_environment(), check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CheckError(f"raises in another process: {last}")
        result: R = pickle.loads(result_file.read_bytes())  # written by `main` below, in a folder of our own
        return result


def _environment() -> dict[str, str]:
    """Return the environment of the other process: the import path of this one, and another hash seed for strings."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry or "." for entry in sys.path), "PYTHONHASHSEED": seed}


@dataclass(frozen=True)
class BackboneSample:
    """A backbone, its weights, an input and the expected output."""

    case: Case
    backbone: nn.Module
    weights: dict[str, Tensor]
    x: Tensor
    y: Tensor


def faults_of_backbones(samples: list[BackboneSample]) -> list[str]:
    """Return one line for each backbone with other outputs or weights than in the process that made the sample.

    Rounding may differ: the number of threads decides the order in which sums are computed.
    """
    return [fault for sample in samples if (fault := _fault(sample)) is not None]


def _fault(sample: BackboneSample) -> str | None:
    if not _equal(sample.backbone(sample.x), sample.y):
        return f"a pickled backbone computes different outputs in another process [{sample.case}]"
    built = sample.case.build().double().state_dict()
    same = built.keys() == sample.weights.keys() and all(map(_equal, built.values(), sample.weights.values()))
    return None if same else f"the same seed gives different weights in another process [{sample.case}]"


def _equal(actual: Tensor, expected: Tensor) -> bool:
    return actual.shape == expected.shape and torch.allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


def main(call_file: str, result_file: str) -> None:
    """Run the pickled call in this process and write its pickled result."""
    torch.set_num_threads(1)
    function, argument = pickle.loads(Path(call_file).read_bytes())  # written above, in a folder of our own
    Path(result_file).write_bytes(pickle.dumps(function(argument)))


if __name__ == "__main__":
    main(*sys.argv[1:])
