"""Reading a study: snapshots, damaged journals, and reading while another process writes."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import LedgerError
from harness.ledger.folder import JOURNAL, MANIFEST, write_atomically
from harness.ledger.journal import read_study
from harness.ledger.ledger import Ledger
from tests.ledger.conftest import make_manifest, make_point, make_trial


@pytest.mark.parametrize("line", [b"garbage\n", b"42\n", b"{}\n", b'{"op_code":99,"worker_id":"x"}\n'])
def test_damage_in_the_middle_is_a_one_line_error_that_names_the_journal(ledger: Ledger, line: bytes) -> None:
    ledger.begin(make_trial())
    journal = ledger.folder / JOURNAL
    journal.write_bytes(line + journal.read_bytes())
    for read in (lambda: Ledger(ledger.folder, make_manifest()), lambda: read_study(ledger.folder)):
        with pytest.raises(LedgerError, match=r"ledger\.log: .*--fresh") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_reading_writes_nothing_and_ignores_an_incomplete_last_record(ledger: Ledger) -> None:
    ledger.begin(make_trial())
    journal = ledger.folder / JOURNAL
    with journal.open("ab") as file:
        file.write(b'{"op_code"')
    before = {path.name: path.read_bytes() for path in ledger.folder.iterdir()}
    assert len(read_study(ledger.folder).entries()) == 1
    assert {path.name: path.read_bytes() for path in ledger.folder.iterdir()} == before


def test_a_study_without_trials_is_empty(tmp_path: Path) -> None:
    Ledger(tmp_path, make_manifest())
    write_atomically(tmp_path / MANIFEST, make_manifest().model_dump_json())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    snapshot = read_study(tmp_path)
    assert (snapshot.manifest, snapshot.entries()) == (make_manifest(), ())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no study"):
        read_study(tmp_path)


WRITER = """
import sys
from pathlib import Path
from harness.ledger.folder import read_manifest
from harness.ledger.ledger import Ledger
from harness.records import Point, Trial
folder, trial, point = Path(sys.argv[1]), Trial.model_validate_json(sys.argv[2]), Point.model_validate_json(sys.argv[3])
ledger = Ledger(folder, read_manifest(folder))
ledger.begin(trial)
for update in range(1, 201):
    ledger.report(trial.key, point.model_copy(update={"update": update}))
"""


def test_a_study_can_be_read_while_another_process_writes_it(tmp_path: Path) -> None:
    Ledger(tmp_path, make_manifest())
    write_atomically(tmp_path / MANIFEST, make_manifest().model_dump_json())
    arguments = [str(tmp_path), make_trial().model_dump_json(), make_point(1).model_dump_json()]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stderr=subprocess.PIPE)
    counts: list[int] = []
    while writer.poll() is None:
        for entry in read_study(tmp_path).entries():
            updates = [point.update for point in entry.points]
            assert updates == list(range(1, len(updates) + 1))
            counts.append(len(updates))
        time.sleep(0.005)
    assert writer.returncode == 0, writer.communicate()[1]
    assert len(read_study(tmp_path).entries()[0].points) == 200
    assert counts == sorted(counts)
    assert len(set(counts)) > 3, "the study was never read while it was written"


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_before_after_a_study_is_read(ledger: Ledger, enabled: bool) -> None:
    try:
        (gc.enable if enabled else gc.disable)()
        read_study(ledger.folder)
        assert gc.isenabled() == enabled
        (ledger.folder / JOURNAL).write_bytes(b"{}\n")
        with pytest.raises(LedgerError):
            read_study(ledger.folder)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
