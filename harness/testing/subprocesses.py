"""Asking a question in another process: a fresh interpreter, with other hashes of strings."""

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
from harness.testing.outcomes import CheckError

Q = TypeVar("Q")
A = TypeVar("A")

SECONDS = 300
"""After which the other process counts as hung."""


def ask(function: Callable[[Q], A], question: Q) -> A:
    """The function's answer in another process.  CheckError where the question cannot be sent or raises there."""
    with tempfile.TemporaryDirectory(prefix="seqharness-") as folder:
        asked, answered = Path(folder, "question"), Path(folder, "answer")
        try:
            asked.write_bytes(pickle.dumps((function, question)))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise CheckError(f"cannot be pickled: {error}") from error
        command = [sys.executable, "-m", "harness.testing.subprocesses", str(asked), str(answered)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=_environment(), check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CheckError(f"raises in another process: {last}")
        answer: A = pickle.loads(answered.read_bytes())  # written by `main` below, in a folder of our own
        return answer


def _environment() -> dict[str, str]:
    """This process's path, so that what it can import the other one can; another order of sets of strings."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry or "." for entry in sys.path), "PYTHONHASHSEED": seed}


@dataclass(frozen=True)
class Parcel:
    """A backbone and what it should do elsewhere."""

    case: Case
    backbone: nn.Module
    weights: dict[str, Tensor]
    x: Tensor
    y: Tensor


def faults_of_backbones(parcels: list[Parcel]) -> list[str]:
    """What is not as it was where these were packed."""
    return [fault for parcel in parcels if (fault := _fault(parcel)) is not None]


def _fault(parcel: Parcel) -> str | None:
    if not torch.equal(parcel.backbone(parcel.x), parcel.y):
        return f"a pickled backbone is another function in another process [{parcel.case}]"
    built = parcel.case.build().double().state_dict()
    same = built.keys() == parcel.weights.keys() and all(map(torch.equal, built.values(), parcel.weights.values()))
    return None if same else f"one seed gives other weights in another process [{parcel.case}]"


def main(asked: str, answered: str) -> None:
    torch.set_num_threads(1)
    function, question = pickle.loads(Path(asked).read_bytes())  # written by `ask`, in a folder of its own
    Path(answered).write_bytes(pickle.dumps(function(question)))


if __name__ == "__main__":
    main(*sys.argv[1:])
