"""The manifest of a study and atomic writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import LedgerError
from harness.ledger.folder import MANIFEST, read_manifest, write_atomically
from harness.ledger.ledger import Ledger
from tests.ledger.conftest import make_manifest, no_file_larger_than


def test_manifest_is_read_as_written_and_is_none_before(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "no folder") is None
    assert read_manifest(tmp_path) is None
    write_atomically(tmp_path / MANIFEST, make_manifest().model_dump_json())
    assert read_manifest(tmp_path) == make_manifest()
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 2}', "[]"])
def test_an_unreadable_manifest_is_a_one_line_error_with_advice(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(LedgerError, match=r"manifest\.json: cannot be read .*--fresh") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(LedgerError, match=r"manifest\.json: cannot be read \(Is a directory\)"):
        read_manifest(tmp_path)


def test_a_failed_write_keeps_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with no_file_larger_than(10), pytest.raises(LedgerError, match="File too large"):
        write_atomically(path, "n" * 1000)
    assert path.read_text() == "old"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"cannot be written \(No such file or directory\)"):
        Ledger(tmp_path / "gone", make_manifest())
    with pytest.raises(LedgerError, match=r"cannot be written \(No such file or directory\)"):
        write_atomically(tmp_path / "gone" / "file", "text")
