"""The trace that a worker leaves when a fatal signal or a hang ends it, in a file of the attempt.

Python cannot run then, so `faulthandler` writes the file from C. The driver, which only learns that a process is gone,
reads it. An empty file means that the trial had started.
"""

from __future__ import annotations

import contextlib
import faulthandler
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.records import Death

_FRAME = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)')
_WATCHED = " in advance"
"""A frame that the thread which trains always has."""


def trace_path(folder: Path, attempt: int) -> Path:
    """Return the path of the trace, beside the attempt's checkpoint; both are deleted together."""
    return folder / f"attempt-{attempt:04d}.trace"


class Recorder:
    """Keeps the trace file of one attempt open while its trial trains; fatal signals write to it."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError if it cannot be created."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[str] = path.open("w")
        faulthandler.enable(self._file)

    @contextlib.contextmanager
    def watch(self, seconds: float) -> Iterator[None]:
        """End this process if the block takes longer, even inside C code."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        faulthandler.disable()
        self._file.close()


def death_of(told: str, path: Path, *, hang_seconds: float, machine_gone: bool) -> tuple[Death, str]:
    """Return how the worker of an attempt failed, and the reason in one line.

    told: Ray's error text. path: the attempt's trace. machine_gone: whether Ray lists its node as dead.
    """
    if "OutOfMemoryError" in told:
        return "memory", _telling_line(told)
    if machine_gone or "node has died" in told:
        return "node", _telling_line(told)
    if "RayTaskError" in told:  # raised in the worker outside the trial
        return "crash", _telling_line(told)
    death, words = last_words(path, hang_seconds)
    return death, words or _telling_line(told)


def last_words(path: Path, hang_seconds: float) -> tuple[Death, str]:
    """Return how the worker of an attempt failed according to its trace, and its last position in one line, or ''."""
    try:
        text = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return "early", ""
    except OSError:
        return "silent", ""
    if not text:
        return "silent", ""
    first = text.splitlines()[0]
    hung = first.startswith("Timeout")
    what = f"no progress for {hang_seconds:g} s" if hung else first.removeprefix("Fatal Python error: ")
    return "crash", f"{what}{_place(text)}"


def _place(text: str) -> str:
    """The innermost frame of the thread that trained."""
    threads = text.split("\n\n")
    thread = next((thread for thread in threads if _WATCHED in thread), threads[-1])
    found = _FRAME.search(thread)
    return f" ({Path(found['file']).name}:{found['line']} in {found['function']})" if found else ""


def _telling_line(text: str) -> str:
    """Return the informative line of Ray's long error text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line or "died" in line), lines[-1])[:500]
