"""The files of a study's folder: their names, the manifest, atomic writes."""

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
"""File beside the manifest if the study is a race: see the package `recommendation`."""

STUDY_FILE = "study.toml"


def read_manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LedgerError(f"{folder / MANIFEST}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise LedgerError(f"{folder / MANIFEST}: cannot be read ({str(error).splitlines()[0]}); use --fresh") from error


def write_atomically(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a reader sees the old text or the new one."""
    with as_ledger_error(path.parent):
        beside = path.with_name(path.name + ".writing")
        with beside.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


@contextlib.contextmanager
def as_ledger_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise LedgerError(
            f"{folder}: the ledger cannot be written ({what}); fix that and run the same command again"
        ) from error
