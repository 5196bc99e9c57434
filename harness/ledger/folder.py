"""The files in the folder of a study: their names, the manifest, atomic writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import LedgerError
from harness.records import Manifest

JOURNAL = "ledger.log"
MANIFEST = "manifest.json"
RACE = "race.json"
"""State of the race, only in studies that `harness recommend` runs."""
STUDY_FILE = "study.toml"


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
        raise LedgerError(f"{folder / MANIFEST}: cannot be read ({str(error).splitlines()[0]}); use --fresh") from error


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
