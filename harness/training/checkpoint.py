"""A training's state on disk: one file, complete or absent, checked before use, never unpickled."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from harness.errors import CheckpointError

State = dict[str, Any]
"""A tree of tensors, numbers, strings, lists and dicts (hence Any)."""


def save(path: Path, state: State, *, trial: str) -> str:
    """Write `state` for the trial of digest `trial`; returns the SHA-256 of the stored tensors.

    Written in full under a temporary name, then renamed: a kill leaves the old file or the new one.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    sha256 = hashlib.sha256(body).hexdigest()
    header = json.dumps({"sha256": sha256, "trial": trial}).encode() + b"\n"
    beside = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(header)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); make space and run again") from error
    return sha256


def load(path: Path, *, trial: str | None = None, sha256: str | None = None) -> State:
    """The state in a file; CheckpointError where it is damaged, or of another trial than digest `trial`.

    sha256: what `save` returned, where that was kept elsewhere."""
    try:
        header, _, body = path.read_bytes().partition(b"\n")
        facts = json.loads(header)
        digest = hashlib.sha256(body).hexdigest()
        if facts["sha256"] != digest or sha256 not in (None, digest):
            raise CheckpointError(f"{path}: is damaged (its digest differs)")
        if trial is not None and facts["trial"] != trial:
            raise CheckpointError(f"{path}: belongs to another trial")
        state: State = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"{path}: is no checkpoint ({what})") from error
    return state


def newest(folder: Path, *, trial: str) -> tuple[State | None, list[str]]:
    """The state of the latest attempt that can be used, and what was passed over on the way, in words."""
    passed: list[str] = []
    for path in sorted(folder.glob("attempt-*.pt"), reverse=True):
        try:
            return load(path, trial=trial), passed
        except CheckpointError as error:
            passed.append(str(error))
    return None, passed


def folder_of(study: Path, key: str) -> Path:
    """Where the trial of this key keeps its files, below its study's folder."""
    return study / "checkpoints" / key


def forget(folder: Path) -> None:
    """Remove the files of every attempt, and what a kill left half written; the final weights stay."""
    for path in folder.glob("attempt-*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it is not there, or holds weights
        folder.rmdir()


def attempt_path(folder: Path, attempt: int) -> Path:
    """Each dealing writes a file of its own, so that a worker believed dead cannot overwrite its successor's."""
    return folder / f"attempt-{attempt:04d}.pt"
