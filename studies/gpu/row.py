"""The planned trials of one published cell, as a file that goes to another machine and back into a ledger."""

from __future__ import annotations

from pathlib import Path

from harness.errors import StudyError
from harness.records import Manifest, Record, Trial


class Row(Record):
    """One cell of a study under protocol `paper`."""

    manifest: Manifest
    study: str
    """The study as TOML."""
    trials: tuple[Trial, ...]


def read_row(path: Path) -> Row:
    """Return a row.  Raises StudyError if the file cannot be read."""
    try:
        return Row.model_validate_json(path.read_text())
    except (OSError, ValueError) as error:
        raise StudyError(
            f"{path}: is not a planned row ({str(error).splitlines()[0]}); write it with studies/gpu/plan_row.py"
        ) from error
