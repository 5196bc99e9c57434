"""Crash traces: where a worker was when a fatal signal or a hang ended it, in a file of the attempt.

Python code cannot run at that moment, so `faulthandler` writes the trace from C.  The driver, which learns only that a
process is gone, reads it.  An empty file means that the trial had started.
"""

from __future__ import annotations

import contextlib
import faulthandler
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.errors import CheckpointError
from harness.execution.retry_policy import FailureKind
from harness.records import Trial
from harness.training.checkpoint import folder_of

_FRAME = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)')
_TRAINING_FRAME = " in advance"
"""A frame that the training thread always has."""


def trace_path(folder: Path, attempt: int) -> Path:
    """Return the path of an attempt's trace: in the folder of its checkpoint, with which it is deleted."""
    return folder / f"attempt-{attempt:04d}.trace"


class Recorder:
    """Keeps the trace file of one attempt open while its trial trains; fatal signals write to it."""

    def __init__(self, path: Path) -> None:
        """Create the file.  Raises OSError if that is not possible."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._was_enabled = faulthandler.is_enabled()
        self._file: IO[str] = path.open("w")
        faulthandler.enable(self._file)

    @contextlib.contextmanager
    def watch(self, seconds: float) -> Iterator[None]:
        """Write a trace and end this process if the block takes longer than `seconds`, even inside C code."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """Close the file.  If `faulthandler` was enabled before, as by `python -X faulthandler`, enable it again."""
        faulthandler.disable()
        self._file.close()
        if self._was_enabled and sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)


class StackRecorder:
    """Records for all trials of a stack in the trace file of the first that has not ended."""

    def __init__(self, folder: Path) -> None:
        """folder: the study's."""
        self._folder = folder
        self._recorder: Recorder | None = None

    def of(self, trial: Trial, attempt: int) -> Recorder:
        """Return the recorder of the first trial.

        When that trial ends, its trace file is deleted and the next trial gets one.  The file is created before
        anything of the trial runs: a worker that fails without a trace file failed for another reason.
        Raises CheckpointError if it cannot be created.
        """
        folder = folder_of(self._folder, trial.key)
        if self._recorder is None or self._recorder.path != trace_path(folder, attempt):
            self.close()
            try:
                self._recorder = Recorder(trace_path(folder, attempt))
            except OSError as error:
                raise CheckpointError(
                    f"{folder}: cannot be written ({error.strerror}); free disk space, then run the same command "
                    "again to resume"
                ) from error
        return self._recorder

    def close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self._recorder = None


def crashes_before(folder: Path, trial: Trial, attempt: int) -> list[str]:
    """Return how earlier attempts of a trial ended their processes, in one line each.  folder: the study's."""
    earlier = [trace_path(folder_of(folder, trial.key), number) for number in range(1, attempt)]
    found = [read_trace(path, trial.resources.hang_seconds) for path in earlier]
    return [reason for kind, reason in found if kind == "crash"]


def classify_failure(ray_error: str, path: Path, *, hang_seconds: float, node_lost: bool) -> tuple[FailureKind, str]:
    """Return how the worker of an attempt failed, and the reason in one line.

    ray_error: Ray's error text.  path: of the attempt's trace.  hang_seconds: time limit without progress, in seconds.
    node_lost: whether Ray counts the worker's node as dead.
    """
    if "WorkerUnusableError" in ray_error:
        return "unusable", _informative_line(ray_error)
    if "OutOfMemoryError" in ray_error:
        return "memory", _informative_line(ray_error)
    if node_lost or "node has died" in ray_error:
        return "node", _informative_line(ray_error)
    if "RayTaskError" in ray_error:  # raised in the worker outside the trial
        return "crash", _informative_line(ray_error)
    kind, reason = read_trace(path, hang_seconds)
    return kind, reason or _informative_line(ray_error)


def read_trace(path: Path, hang_seconds: float) -> tuple[FailureKind, str]:
    """Return how the worker of an attempt failed according to its trace, and where, in one line; '' if unknown."""
    try:
        trace = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return "early", ""
    except OSError:
        return "silent", ""
    if not trace:
        return "silent", ""
    title = trace.splitlines()[0]
    hung = title.startswith("Timeout")
    reason = f"no progress for {hang_seconds:g} s" if hung else title.removeprefix("Fatal Python error: ")
    return "crash", f"{reason}{_innermost_frame(trace)}"


def _innermost_frame(trace: str) -> str:
    """Return the innermost frame of the training thread in parentheses, '' if the trace has none."""
    threads = trace.split("\n\n")
    thread = next((thread for thread in threads if _TRAINING_FRAME in thread), threads[-1])
    frame = _FRAME.search(thread)
    return f" ({Path(frame['file']).name}:{frame['line']} in {frame['function']})" if frame else ""


def _informative_line(ray_error: str) -> str:
    """Return the line of Ray's long error text that names the error, at most 500 characters of it."""
    lines = [line.strip() for line in ray_error.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line or "died" in line), lines[-1])[:500]
