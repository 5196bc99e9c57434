"""Isolation of trials: what a trial changes in the process of its worker does not affect the trials after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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
