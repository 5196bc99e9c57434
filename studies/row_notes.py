"""What the page of results says of rows beside their values: docs/results/row-notes.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import StudyError, fault_text


class RowNotes(BaseModel):
    """Each table: row of the published tables → what is said of it."""

    model_config = ConfigDict(extra="forbid")
    differs: dict[str, str] = {}
    """How the training of the row differs from the paper or its released code."""
    paper: dict[str, str] = {}
    """Why models of the row have no value under protocol `paper`."""
    fair: dict[str, str] = {}
    """Why models of the row have no value under protocol `fair`."""


def read_row_notes(path: Path, rows: Collection[str]) -> RowNotes:
    """Return the notes, without any if there is no such file.

    rows: names of the published rows.  Raises StudyError, with the key at fault, if the file cannot be understood.
    """
    if not path.exists():
        return RowNotes()
    try:
        notes = RowNotes.model_validate(tomllib.loads(path.read_text()), strict=True)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: {error}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        text = fault_text(where, fault["input"], kind=fault["type"], message=fault["msg"], limits=fault.get("ctx", {}))
        raise StudyError(f"{path}: {text}") from error
    for row in (*notes.differs, *notes.paper, *notes.fair):
        if row not in rows:
            raise StudyError(f"{path}: no published row is named {row!r}; known: {', '.join(sorted(rows))}")
    return notes
