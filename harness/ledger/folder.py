"""The files in the folder of a study: their names, the manifest, atomic writes."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from harness.errors import LedgerError
from harness.records import Manifest

JOURNAL = "ledger.log"
MANIFEST = "manifest.json"
RACE = "race.json"
"""State of the race, only in studies that `harness recommend` runs."""
STUDY_FILE = "study.toml"
PREDICTION = "prediction"
"""Folder with a file `<task label>.json` for each task that predicts: what it needs to know of its training files."""


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a study, or None if the folder has none.

    Raises LedgerError if it cannot be read.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LedgerError(f"{folder / MANIFEST}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise LedgerError(
            f"{folder / MANIFEST}: cannot be read ({_fault(error)}); restore the file, or install the version of "
            "seqharness that wrote it; `harness run --fresh` starts the study over"
        ) from error


def _fault(error: ValueError) -> str:
    """Return the first fault of a record, with the field that has it."""
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def write_atomically(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a reader sees either the old text or the new one.

    Raises LedgerError if the file cannot be written.
    """
    with as_ledger_error(path.parent):
        temporary = path.with_name(path.name + ".writing")
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def as_ledger_error(folder: Path) -> Iterator[None]:
    """Convert an OSError to a LedgerError that names the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LedgerError(
            f"{folder}: the ledger cannot be written ({reason}); fix that, then run the same command again to resume"
        ) from error


def keep_earlier_study(folder: Path) -> None:
    """Rename the folder of an earlier study to `NAME.ID` and keep it, for --fresh.  The caller holds its lease.

    Raises LedgerError if it cannot be renamed.
    """
    paths = [path for path in folder.iterdir() if not path.name.startswith("lease")]
    if not paths:
        return
    try:
        before = read_manifest(folder)
    except LedgerError:  # its message offers --fresh as the way out
        before = None
    name = before.study_id if before is not None else f"unreadable-{uuid.uuid4().hex[:12]}"
    kept = folder.with_name(f"{folder.name}.{name}")
    try:
        kept.mkdir(exist_ok=True)
        for path in paths:
            path.rename(kept / path.name)
    except OSError as error:
        raise LedgerError(f"{kept}: the earlier study cannot be renamed ({error.strerror})") from error
