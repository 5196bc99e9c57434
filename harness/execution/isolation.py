"""Isolation of trials: what a trial changes in the process of its worker does not affect the trials after it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

from harness.execution.worker_settings import WORKER_SETTINGS
from harness.plugin.process_settings import Change, Values, read_settings, restore_settings


class Isolation:
    """Keeps the settings of one worker's process."""

    def __init__(self) -> None:
        self.lost = ""
        """What a trial has changed and cannot be restored, in one line; "" if nothing."""
        self._noted: set[str] = set()
        self._before: Values = {}
        self._changes: list[Change] = []

    @contextlib.contextmanager
    def around(self, code: str, where: str, notes: list[str]) -> Iterator[None]:
        """Restore the settings of the process at the end, and add a note on each change that is new.

        code: the model or the task that runs, with its plugin and version.  where: the method or phase.  May be nested.
        """
        outer = self._before, self._changes
        self._before, self._changes = read_settings(WORKER_SETTINGS), []
        try:
            yield
        finally:
            self.restore()
            notes += self._notes(f"{code} changes settings of the process in {where}")
            self._before, self._changes = outer

    def restore(self) -> None:
        """Restore the settings now: before something that other trials share is made."""
        if self._before:
            self._changes += restore_settings(WORKER_SETTINGS, self._before)

    def _notes(self, changes: str) -> list[str]:
        """Return the notes that are new.  changes: the beginning of each."""
        restored = ", ".join(dict.fromkeys(change.text for change in self._changes if change.restored))
        lost = ", ".join(dict.fromkeys(change.text for change in self._changes if not change.restored))
        if lost:
            self.lost = f"{changes}: {lost}; they cannot be restored"
        notes = {f"{changes}: {restored}; restored": restored, f"{self.lost}, so no other trial runs here": lost}
        new = [note for note, wanted in notes.items() if wanted and note not in self._noted]
        self._noted.update(new)
        return new


@contextlib.contextmanager
def raised_exits() -> Iterator[None]:
    """Make `os._exit` raise SystemExit when third-party code calls it, so that its trial ends and not the process.

    Child processes, Ray and the harness exit as usual.
    """
    process, leave = os.getpid(), os._exit

    def raise_exit(status: int) -> NoReturn:
        caller = str(sys._getframe(1).f_globals.get("__name__", "")).partition(".")[0]
        if os.getpid() != process or caller in ("ray", "harness"):
            leave(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = raise_exit
    try:
        yield
    finally:
        os._exit = leave
