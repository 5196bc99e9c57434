"""Checksums of the journal: each line holds the SHA-256 of itself and of all lines before it.

A line is written at once with its checksum, so a kill leaves a whole record with its checksum or half a line, which
`repair` cuts.  Optuna ignores the additional key, and so do versions of the harness that wrote no checksums.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from harness.errors import LedgerError

KEY = "checksum"
_SUMMED = re.compile(rb'(?P<content>.*),"%b":"(?P<checksum>[0-9a-f]{64})"}\n' % KEY.encode(), re.DOTALL)


class Chain:
    """The checksum after some lines of a journal, from which the next one follows."""

    def __init__(self) -> None:
        self.last = ""
        self.lines = 0
        self.unprotected = 0
        """Lines without a checksum that no later checksum covers."""

    def add(self, line: bytes) -> bool:
        """Add a whole line; return whether its checksum, if it has one, is that of the lines so far."""
        summed = _SUMMED.fullmatch(line)
        self.lines += 1
        self.last = self._after(line if summed is None else summed["content"])
        if summed is None:
            self.unprotected += 1
            return True
        self.unprotected = 0
        return summed["checksum"].decode() == self.last

    def signed(self, log: dict[str, Any]) -> dict[str, Any]:  # a record of Optuna
        """Return the next record with its checksum."""
        content = json.dumps(log, separators=(",", ":"))[:-1].encode()  # without the brace, as in the line to come
        self.last = self._after(content)
        self.lines += 1
        self.unprotected = 0
        return {**log, KEY: self.last}

    def _after(self, content: bytes) -> str:
        return hashlib.sha256(self.last.encode() + content).hexdigest()


class SignedBackend(JournalFileBackend):
    """Writes each record with its checksum."""

    def __init__(self, file_path: str, lock: Any, chain: Chain) -> None:  # a lock of Optuna, whose class is private
        super().__init__(file_path, lock)
        self._chain = chain

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        super().append_logs([self._chain.signed(log) for log in logs])


def verified(path: Path) -> Chain:
    """Return the checksum after all whole lines of a journal.

    Raises LedgerError at the first line whose checksum is not that of the lines up to it.
    """
    chain = Chain()
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # another process is writing it, or `repair` has not been called
            if not chain.add(line):
                raise LedgerError(
                    f"{path}: line {chain.lines} does not follow from the lines before it (SHA-256 differs): it was "
                    "changed or moved, or lines before it were; restore the file from a copy, or use --fresh"
                )
    return chain
